-- Calls answered in full with their messages, newest first: a truth set made of production. Those of which something was cut off when they were
-- recorded are left out.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); routes, models (empty: any); prompt_version ('' any);
-- judge ('' any: otherwise only calls of which this judge's score lies within min_score..=max_score); rows (how many).
-- Units: start_ns nanoseconds since the epoch. Messages are JSON.
SELECT
    trace_id, span_id, toUnixTimestamp64Nano(start_time) AS start_ns, route, response_model, prompt_version,
    system_instructions, input_messages, output_messages,
    retrieval_documents AS context
FROM spans
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND record = 'call' AND error_type = '' AND http_status = 200 AND input_messages NOT IN ('', '[]')
  AND toUInt64OrZero(span_attributes['control_tower.content.truncated_bytes']) = 0
  AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
  AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
  AND ({prompt_version:String} = '' OR prompt_version = {prompt_version:String})
  AND ({judge:String} = '' OR (trace_id, span_id) IN (
        SELECT trace_id, span_id
        FROM evaluations
        WHERE tenant_id IN {tenants:Array(String)}
          AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND judge = {judge:String} AND source = ''
          AND score >= {min_score:Float64} AND score <= {max_score:Float64}))
ORDER BY start_time DESC, trace_id, span_id
LIMIT {rows:UInt32}
