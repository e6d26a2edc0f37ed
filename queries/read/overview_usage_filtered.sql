-- Counts, tokens and cost as in overview_usage.sql, but over single calls: for filters that the rollups cannot answer.
-- It begins with parts/picked_calls.sql.
-- Parameters: the filter of picked_calls.sql, and its range, which holds both ranges; from_ms (where the second one begins, milliseconds
-- since the epoch); bucket_s (width of a bucket, seconds).
-- Units: as in overview_usage.sql.
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
    SELECT tenant_id, request_model, error_type, previous, start_bucket,
           count() AS calls,
           countIf(usage_source IN ('estimated', 'partial')) AS estimated,
           countIf(usage_source != '' AND price_book_version = '') AS unpriced,
           sum(one.input_tokens) AS input_tokens,
           sum(one.output_tokens) AS output_tokens,
           sum(one.cache_read_tokens) AS cache_read_tokens,
           sum(one.cache_write_tokens) AS cache_write_tokens,
           sum(one.cache_write_1h_tokens) AS cache_write_1h_tokens,
           sum(one.reasoning_tokens) AS reasoning_tokens,
           sum(one.audio_input_tokens) AS audio_input_tokens,
           sum(one.audio_output_tokens) AS audio_output_tokens,
           sum(one.cost_total) AS cost_total
    FROM
    (
        SELECT *,
               start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
               intDiv(toUnixTimestamp(start_time), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket
        FROM picked
    ) AS one
    GROUP BY tenant_id, request_model, error_type, previous, start_bucket
) AS part
GROUP BY GROUPING SETS
    ((previous), (previous, start_bucket), (previous, request_model), (previous, tenant_id), (previous, error_type))
HAVING (kind = 'total' OR NOT previous) AND NOT (kind = 'error' AND name = '')
