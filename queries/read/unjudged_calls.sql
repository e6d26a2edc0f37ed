-- Answered calls that not every judge of a set has judged, oldest first: what the evaluator plans its work from.
-- Parameters: tenants; by_end (whether calls are taken by their end, otherwise by their start); from_ns <= that < until_ns (nanoseconds
-- since the epoch); start_from_ns <= start (as from_ns, or so much earlier as a call may last); judges (each `name@version`);
-- sampled (rules of tenant, route ('' any) and share in millionths; the first that fits counts, and the last fits all); skipped_keys
-- (ids of keys whose calls are never judged); errors_since_ns (a judge that failed on a call before then has not judged it); rows (how many at
-- most).
-- `at_ns`: end or start. `done`: which of the judges have judged it. The sample is taken by a hash of the span's id, so it is the same whoever
-- takes it. A verdict's call_time is the start of its call, by which it is found without reading those of other calls.
WITH wanted AS
(
    SELECT tenant_id, start_time, ended_at, trace_id, span_id
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Nano({start_from_ns:Int64}, 'UTC')
      AND start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
      AND ended_at >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
      AND (NOT {by_end:Bool} OR ended_at < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC'))
      AND error_type = ''
      AND operation IN ('chat', 'text_completion', 'generate_content')
      AND key_id NOT IN {skipped_keys:Array(String)}
      AND sipHash64(span_id) % 1000000 < arrayFirst(
              rule -> rule.1 IN ('', tenant_id) AND rule.2 IN ('', route), {sampled:Array(Tuple(String, String, UInt32))}).3
)
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    toUnixTimestamp64Nano(if({by_end:Bool}, ended_at, start_time)) AS at_ns,
    trace_id, span_id, done
FROM wanted
LEFT JOIN
(
    SELECT tenant_id, trace_id, span_id, groupUniqArray(concat(judge, '@', version)) AS done
    FROM evaluations
    WHERE tenant_id IN {tenants:Array(String)}
      AND call_time >= fromUnixTimestamp64Nano({start_from_ns:Int64}, 'UTC')
      AND call_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
      AND (tenant_id, call_time) IN (SELECT tenant_id, start_time FROM wanted)
      AND source = ''
      AND (label != 'error' OR judged_at >= fromUnixTimestamp64Nano({errors_since_ns:Int64}, 'UTC'))
      AND concat(judge, '@', version) IN {judges:Array(String)}
    GROUP BY tenant_id, trace_id, span_id
) AS judged USING (tenant_id, trace_id, span_id)
WHERE length(done) < length({judges:Array(String)})
ORDER BY at_ns, tenant_id, trace_id, span_id
LIMIT {rows:UInt32}
