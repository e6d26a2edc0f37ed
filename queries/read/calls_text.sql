-- A page of calls as in calls.sql, of those whose prompt or answer contains a text, or whose trace, request or response id it is.
-- Parameters: text (as it stands in JSON, case-insensitive), and as in calls.sql: tenants; from_ms, to_ms; routes, models, keys; outcome;
-- min_cost; min_duration_ns; before_ns, before_trace, before_span; rows.
-- Units: as in calls.sql.
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
  AND (trace_id = {text:String} OR request_id = {text:String} OR response_id = {text:String}
       OR (tenant_id, span_id) IN (
               SELECT tenant_id, if(record = 'attempt', parent_span_id, span_id)
               FROM spans
               WHERE tenant_id IN {tenants:Array(String)}
             AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
             AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
             AND record IN ('call', 'attempt')
             AND (positionCaseInsensitiveUTF8(input_messages, {text:String}) > 0
                  OR positionCaseInsensitiveUTF8(output_messages, {text:String}) > 0)))
ORDER BY start_time DESC, trace_id DESC, span_id DESC
LIMIT {rows:UInt32}
