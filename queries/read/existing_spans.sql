-- Which of these spans are stored? A superset: the caller keeps the exact combinations that it asked for.
-- Parameters: tenants, traces, spans (the ids asked for); from_ns <= start <= to_ns (nanoseconds since the epoch).
-- Units: start_ns nanoseconds since the epoch.
SELECT DISTINCT tenant_id, toUnixTimestamp64Nano(start_time) AS start_ns, trace_id, span_id
FROM spans
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
  AND trace_id IN {traces:Array(String)}
  AND span_id IN {spans:Array(String)}
