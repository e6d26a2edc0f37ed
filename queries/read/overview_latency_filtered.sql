-- Quantiles as in overview_latency.sql, but over single calls: for filters that the rollups cannot answer.
-- It begins with parts/picked_calls.sql.
-- Parameters: the filter of picked_calls.sql, and its range, which holds both ranges; from_ms (where the second one begins, milliseconds
-- since the epoch); bucket_s (width of a bucket, seconds).
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
            FROM picked
        )
        GROUP BY tenant_id, request_model, previous, start_bucket
    ) AS state
    GROUP BY GROUPING SETS ((previous, start_bucket), (previous, tenant_id, request_model))
) AS part
ARRAY JOIN if(of_bucket, [('total', ''), ('bucket', '')], [('model', toString(request_model)), ('tenant', toString(tenant_id))]) AS key
WHERE kind = 'total' OR NOT previous
GROUP BY kind, previous, bucket_s, name
