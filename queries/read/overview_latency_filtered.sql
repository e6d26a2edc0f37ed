-- Quantiles as in overview_latency.sql, but over single calls: for filters that the rollups cannot answer.
-- Parameters: tenants; routes, models, keys (empty: any); outcome ('' any, 'ok', 'error'); min_cost (US dollars); min_duration_ns;
-- text ('' any; contained in a prompt or an answer, or a trace, request or response id); bucket_s (width of a bucket, seconds);
-- previous_ms, from_ms, to_ms (the two ranges, milliseconds since the epoch).
-- Units: as in overview_latency.sql.
SELECT
    key.1 AS kind,
    previous,
    if(kind = 'bucket', start_bucket, 0) AS bucket_s,
    key.2 AS name,
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(part.duration_ms) AS duration_ms,
    quantilesDDIfMerge(0.01, 0.5, 0.95)(part.ttft_ms) AS ttft_ms
FROM
(
    SELECT previous, toInt64(start_bucket) AS start_bucket, tenant_id, request_model,
           grouping(start_bucket) = 0 AS of_bucket,
           quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(state.duration_ms) AS duration_ms,
           quantilesDDIfMergeState(0.01, 0.5, 0.95)(state.ttft_ms) AS ttft_ms
    FROM
    (
        SELECT tenant_id, request_model, previous, start_bucket,
               quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
               quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms
        FROM
        (
            SELECT tenant_id, request_model, duration_ns, ttft_ns,
                   start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
                   intDiv(toUnixTimestamp(start_time), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket
            FROM calls
            WHERE tenant_id IN {tenants:Array(String)}
              AND start_time >= fromUnixTimestamp64Milli({previous_ms:Int64}, 'UTC')
              AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
              AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
              AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
              AND (empty({keys:Array(String)}) OR key_id IN {keys:Array(String)})
              AND ({outcome:String} = '' OR (error_type = '') = ({outcome:String} = 'ok'))
              AND ({min_cost:Decimal(38, 12)} <= 0 OR cost_total >= {min_cost:Decimal(38, 12)})
              AND duration_ns >= {min_duration_ns:UInt64}
              AND ({text:String} = ''
                   OR trace_id = {text:String} OR request_id = {text:String} OR response_id = {text:String}
                   OR (tenant_id, span_id) IN (
                       SELECT tenant_id, if(record = 'attempt', parent_span_id, span_id)
                       FROM spans
                       WHERE {text:String} != ''
                         AND tenant_id IN {tenants:Array(String)}
                         AND start_time >= fromUnixTimestamp64Milli({previous_ms:Int64}, 'UTC')
                         AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
                         AND record IN ('call', 'attempt')
                         AND (positionCaseInsensitiveUTF8(input_messages, {text:String}) > 0
                              OR positionCaseInsensitiveUTF8(output_messages, {text:String}) > 0)))
        )
        GROUP BY tenant_id, request_model, previous, start_bucket
    ) AS state
    GROUP BY GROUPING SETS ((previous, start_bucket), (previous, tenant_id, request_model))
) AS part
ARRAY JOIN if(of_bucket, [('total', ''), ('bucket', '')], [('model', toString(request_model)), ('tenant', toString(tenant_id))]) AS key
WHERE kind = 'total' OR NOT previous
GROUP BY kind, previous, bucket_s, name
