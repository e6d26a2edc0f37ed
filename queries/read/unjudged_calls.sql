-- Answered calls that not every judge of a set has judged, oldest first: what the evaluator plans its work from.
-- Parameters: tenants; from_ns <= start < until_ns (nanoseconds since the epoch); judges (each `name@version`); sampled (rules of tenant, route
-- ('' any) and share in millionths; the first that fits counts, and the last fits all); skipped_keys (ids of keys whose calls are never
-- judged); rows (how many at most).
-- `done`: which of the judges have judged it. The sample is taken by a hash of the span's id, so it is the same whoever takes it.
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    trace_id, span_id, done
FROM calls
LEFT JOIN
(
    SELECT tenant_id, trace_id, span_id, groupUniqArray(concat(judge, '@', version)) AS done
    FROM evaluations
    WHERE tenant_id IN {tenants:Array(String)}
      AND call_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
      AND call_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
      AND source = ''
      AND concat(judge, '@', version) IN {judges:Array(String)}
    GROUP BY tenant_id, trace_id, span_id
) AS judged USING (tenant_id, trace_id, span_id)
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
  AND error_type = ''
  AND operation IN ('chat', 'text_completion', 'generate_content')
  AND key_id NOT IN {skipped_keys:Array(String)}
  AND sipHash64(span_id) % 1000000 < arrayFirst(
          rule -> rule.1 IN ('', tenant_id) AND rule.2 IN ('', route), {sampled:Array(Tuple(String, String, UInt32))}).3
  AND length(done) < length({judges:Array(String)})
ORDER BY start_time, tenant_id, trace_id, span_id
LIMIT {rows:UInt32}
