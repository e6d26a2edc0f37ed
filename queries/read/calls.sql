-- A page of calls, newest first, after a cursor: the Calls page. It begins with parts/picked_calls.sql.
-- Parameters: the filter and range of picked_calls.sql; before_ns, before_trace, before_span (the last row shown; the greatest values for the
-- first page); rows (how many).
-- Units: *_ns nanoseconds, start_ns since the epoch, cost US dollars.
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    trace_id, span_id, request_id, operation, key_id, route, request_model, response_model, provider, tier, stream,
    http_status, error_type, finish_reason, duration_ns, ttft_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, cache_status, cache_saved, attempts, cascade_score
FROM picked
WHERE start_time <= fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
  AND (start_time, trace_id, span_id)
      < (fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC'), {before_trace:String}, {before_span:String})
ORDER BY start_time DESC, trace_id DESC, span_id DESC
LIMIT {rows:UInt32}
