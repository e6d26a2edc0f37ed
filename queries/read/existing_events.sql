-- Which of these events are stored? A superset: the caller keeps the exact combinations that it asked for.
-- Parameters: tenants, events (the ids asked for); from_ns <= time <= to_ns (nanoseconds since the epoch).
-- Units: time_ns nanoseconds since the epoch.
SELECT DISTINCT tenant_id, toUnixTimestamp64Nano(time) AS time_ns, event_id
FROM events
WHERE tenant_id IN {tenants:Array(String)}
  AND time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
  AND event_id IN {events:Array(String)}
