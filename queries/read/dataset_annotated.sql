-- Calls by their ids with their messages: a truth set made of what people labelled. Columns as in dataset_calls.sql.
-- Parameters: tenants; traces, spans (ids of the calls); until_ns (they started before; nanoseconds since the epoch).
-- Units: start_ns nanoseconds since the epoch. Messages are JSON.
SELECT
    trace_id, span_id, toUnixTimestamp64Nano(start_time) AS start_ns, route, response_model, prompt_version,
    system_instructions, input_messages, output_messages,
    retrieval_documents AS context
FROM spans
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
  AND trace_id IN {traces:Array(String)}
  AND span_id IN {spans:Array(String)}
  AND record = 'call'
