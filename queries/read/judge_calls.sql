-- Calls by their ids with everything that a judge looks at, and which of a set of judges have judged them already in one batch.
-- Parameters: tenants, traces, spans (ids of the calls); from_ns <= start <= to_ns (nanoseconds since the epoch); judges (each `name@version`);
-- judged_ns (the time of the batch's verdicts).
-- `truncated_bytes`: how much of messages, instructions and tools was cut off when they were recorded.
-- `context` (what the request's `control_tower.context` or `documents` held), `response_format`, `logprobs`: JSON that the gateway captured.
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    trace_id, span_id, response_id, route, request_model, response_model,
    input_messages, output_messages, system_instructions, tool_definitions, retention_days,
    retrieval_documents AS context,
    span_attributes['control_tower.response_format'] AS response_format,
    span_attributes['control_tower.logprobs'] AS logprobs,
    toUInt64OrZero(span_attributes['control_tower.content.truncated_bytes']) AS truncated_bytes,
    done
FROM spans
LEFT JOIN
(
    SELECT tenant_id, trace_id, span_id, groupUniqArray(concat(judge, '@', version)) AS done
    FROM evaluations
    WHERE tenant_id IN {tenants:Array(String)}
      AND call_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
      AND call_time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
      AND span_id IN {spans:Array(String)}
      AND source = ''
      AND judged_at = fromUnixTimestamp64Nano({judged_ns:Int64}, 'UTC')
      AND concat(judge, '@', version) IN {judges:Array(String)}
    GROUP BY tenant_id, trace_id, span_id
) AS judged USING (tenant_id, trace_id, span_id)
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
  AND trace_id IN {traces:Array(String)}
  AND span_id IN {spans:Array(String)}
  AND record = 'call'
