-- A page of calls, newest first, after a cursor: the Calls page.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); routes, models, keys (empty: any);
-- outcome ('' any, 'ok', 'error'); min_cost (US dollars); min_duration_ns; before_ns, before_trace, before_span (the last row
-- shown; the greatest values for the first page); rows (how many).
-- Units: *_ns nanoseconds, start_ns since the epoch, cost US dollars.
SELECT
    tenant_id,
    toUnixTimestamp64Nano(start_time) AS start_ns,
    trace_id, span_id, request_id, operation, key_id, route, request_model, response_model, provider, tier, stream,
    http_status, error_type, finish_reason, duration_ns, ttft_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, cache_status, attempts
FROM calls
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
  AND (start_time, trace_id, span_id)
      < (fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC'), {before_trace:String}, {before_span:String})
  AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
  AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
  AND (empty({keys:Array(String)}) OR key_id IN {keys:Array(String)})
  AND ({outcome:String} = '' OR (error_type = '') = ({outcome:String} = 'ok'))
  AND ({min_cost:Decimal(38, 12)} <= 0 OR cost_total >= {min_cost:Decimal(38, 12)})
  AND duration_ns >= {min_duration_ns:UInt64}
ORDER BY start_time DESC, trace_id DESC, span_id DESC
LIMIT {rows:UInt32}
