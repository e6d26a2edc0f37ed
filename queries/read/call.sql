-- One call by its trace, and by its span where several calls share the trace (the earliest is taken otherwise).
-- Parameters: tenants; trace; span ('' any); after_ns <= start <= until_ns (nanoseconds since the epoch; wide when unknown).
-- Units: as in calls.sql.
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    trace_id, span_id, request_id, operation, key_id, route, request_model, response_model, provider, tier, stream,
    http_status, error_type, finish_reason, duration_ns, ttft_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, cache_status, cache_saved, attempts, cascade_score
FROM calls
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
  AND trace_id = {trace:String}
  AND ({span:String} = '' OR span_id = {span:String})
ORDER BY start_time, span_id
LIMIT 1
