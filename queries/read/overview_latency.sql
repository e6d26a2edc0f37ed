-- Quantiles of duration and of time to first token over a range and the one before it: in total, by bucket, by model, by tenant.
-- Parameters: tenants; routes, models (empty: any); latency (latency_minute or latency_hour); bucket_s (width of a bucket, seconds, a multiple
-- of the table's minute or hour); previous_ms, from_ms, to_ms (the two ranges, milliseconds since the epoch); previous_up, from_down,
-- from_up, to_down (their bounds rounded to the table's unit, seconds since the epoch): the unit-aligned middle comes from the rollup,
-- the edges from calls, so the sums are exact for any range.
-- Units: milliseconds, right to 1 %; duration_ms at 0.5, 0.95, 0.99, ttft_ms at 0.5, 0.95. kind as in overview_usage.sql.
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
        SELECT tenant_id, request_model,
               start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
               intDiv(toUnixTimestamp(start_time), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket,
               duration_ms, ttft_ms
        FROM {latency:Identifier}
        WHERE tenant_id IN {tenants:Array(String)}
          AND (start_time >= toDateTime({previous_up:Int64}, 'UTC') AND start_time < toDateTime({from_down:Int64}, 'UTC')
               OR start_time >= toDateTime({from_up:Int64}, 'UTC') AND start_time < toDateTime({to_down:Int64}, 'UTC'))
          AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
          AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})

        UNION ALL

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
              AND (start_time >= fromUnixTimestamp64Milli({previous_ms:Int64}, 'UTC') AND start_time < toDateTime({previous_up:Int64}, 'UTC')
                   OR start_time >= toDateTime({from_down:Int64}, 'UTC') AND start_time < toDateTime({from_up:Int64}, 'UTC')
                   OR start_time >= toDateTime({to_down:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
              AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
              AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
        )
        GROUP BY tenant_id, request_model, previous, start_bucket
    ) AS state
    GROUP BY GROUPING SETS ((previous, start_bucket), (previous, tenant_id, request_model))
) AS part
ARRAY JOIN if(of_bucket, [('total', ''), ('bucket', '')], [('model', toString(request_model)), ('tenant', toString(tenant_id))]) AS key
WHERE kind = 'total' OR NOT previous
GROUP BY kind, previous, bucket_s, name
