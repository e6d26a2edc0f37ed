-- Verdicts of a range of time, newest call first.
-- Parameters: tenants; from_ms <= start of the call < to_ms (milliseconds since the epoch); judges (names; empty: any); labels (empty: any);
-- rows (how many).
-- Units: as in evaluations_call.sql.
SELECT
    tenant_id, toUnixTimestamp64Nano(call_time) AS call_ns, trace_id, span_id, response_id, judge, version, score, label, explanation,
    details, cost, toUnixTimestamp64Nano(judged_at) AS judged_ns, source
FROM evaluations
WHERE tenant_id IN {tenants:Array(String)}
  AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND (empty({judges:Array(String)}) OR judge IN {judges:Array(String)})
  AND (empty({labels:Array(String)}) OR label IN {labels:Array(String)})
ORDER BY call_time DESC, trace_id DESC, span_id DESC, judge, version
LIMIT {rows:UInt32}
