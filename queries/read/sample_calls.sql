-- Judged calls of a range of time, those whose span's hash is smallest: a sample that does not depend on who takes it, nor on how many verdicts
-- a call has.
-- Parameters: tenants; from_ms <= start of the call < to_ms (milliseconds since the epoch); judges (names; empty: any); labels (empty: any);
-- rows (how many).
-- Units: start_ns nanoseconds since the epoch.
SELECT trace_id, span_id, toUnixTimestamp64Nano(min(call_time)) AS start_ns
FROM evaluations
WHERE tenant_id IN {tenants:Array(String)}
  AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND source = ''
  AND (empty({judges:Array(String)}) OR judge IN {judges:Array(String)})
  AND (empty({labels:Array(String)}) OR label IN {labels:Array(String)})
GROUP BY trace_id, span_id
ORDER BY sipHash64(span_id), trace_id, span_id
LIMIT {rows:UInt32}
