-- Counts, tokens and cost over a range and the one before it: in total, by bucket, by model, by tenant, by error class.
-- Parameters: tenants; routes, models (empty: any); usage (usage_5min or usage_hour); bucket_s (width of a bucket, seconds, a multiple
-- of the table's unit); previous_ms, from_ms, to_ms (the two ranges, milliseconds since the epoch); previous_up, from_down,
-- from_up, to_down (their bounds rounded to the table's unit, seconds since the epoch): the unit-aligned middle comes from the rollup,
-- the edges from calls, so the sums are exact for any range.
-- Units: tokens; cost US dollars; bucket_s seconds since the epoch. kind is total, bucket, model, tenant or error; only totals have previous rows.
SELECT
    multiIf(grouping(start_bucket) = 0, 'bucket', grouping(request_model) = 0, 'model', grouping(tenant_id) = 0, 'tenant',
            grouping(error_type) = 0, 'error', 'total') AS kind,
    previous,
    toInt64(start_bucket) AS bucket_s,
    multiIf(kind = 'model', request_model, kind = 'tenant', tenant_id, kind = 'error', error_type, '') AS name,
    sum(part.calls) AS calls,
    sum(part.estimated) AS estimated,
    sum(part.unpriced) AS unpriced,
    sum(part.input_tokens) AS input_tokens,
    sum(part.output_tokens) AS output_tokens,
    sum(part.cache_read_tokens) AS cache_read_tokens,
    sum(part.cache_write_tokens) AS cache_write_tokens,
    sum(part.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(part.reasoning_tokens) AS reasoning_tokens,
    sum(part.audio_input_tokens) AS audio_input_tokens,
    sum(part.audio_output_tokens) AS audio_output_tokens,
    sum(part.cost_total) AS cost_total,
    sumIf(part.calls, error_type != '') AS errors
FROM
(
    SELECT tenant_id, request_model, error_type,
           start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
           intDiv(toUnixTimestamp(start_time), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket,
           calls, estimated, unpriced, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_total
    FROM {usage:Identifier}
    WHERE tenant_id IN {tenants:Array(String)}
      AND (start_time >= toDateTime({previous_up:Int64}, 'UTC') AND start_time < toDateTime({from_down:Int64}, 'UTC')
           OR start_time >= toDateTime({from_up:Int64}, 'UTC') AND start_time < toDateTime({to_down:Int64}, 'UTC'))
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})

    UNION ALL

    SELECT tenant_id, request_model, error_type,
           start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
           intDiv(toUnixTimestamp(start_time), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket,
           toUInt64(1) AS calls, toUInt64(usage_source IN ('estimated', 'partial')) AS estimated,
           toUInt64(usage_source != '' AND price_book_version = '') AS unpriced,
           input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_total
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
      AND (start_time >= fromUnixTimestamp64Milli({previous_ms:Int64}, 'UTC') AND start_time < toDateTime({previous_up:Int64}, 'UTC')
           OR start_time >= toDateTime({from_down:Int64}, 'UTC') AND start_time < toDateTime({from_up:Int64}, 'UTC')
           OR start_time >= toDateTime({to_down:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
) AS part
GROUP BY GROUPING SETS
    ((previous), (previous, start_bucket), (previous, request_model), (previous, tenant_id), (previous, error_type))
HAVING (kind = 'total' OR NOT previous) AND NOT (kind = 'error' AND name = '')
