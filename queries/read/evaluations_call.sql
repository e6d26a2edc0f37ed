-- What judges say of one call, by judge, ours before those of others of the same name, the newest first.
-- Parameters: tenants; trace; span; after_ns <= start of the call <= until_ns (nanoseconds since the epoch; wide when unknown).
-- Units: judged_ns nanoseconds since the epoch; cost US dollars; details JSON.
SELECT
    tenant_id, toUnixTimestamp64Nano(call_time) AS call_ns, trace_id, span_id, response_id, judge, version, score, label, explanation,
    details, cost, toUnixTimestamp64Nano(judged_at) AS judged_ns, source
FROM evaluations
WHERE tenant_id IN {tenants:Array(String)}
  AND call_time >= fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC')
  AND call_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
  AND trace_id = {trace:String}
  AND span_id = {span:String}
ORDER BY judge, notEmpty(source), judged_at DESC
LIMIT 1000
