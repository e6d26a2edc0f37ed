-- Quantiles of duration and of time to first token over a range and the one before it: in total, by bucket, by tenant.
-- Parameters: tenants; routes, models (empty: any); latency (latency_5min or latency_hour); per (which of its rows: 'tenant', or 'model' when
-- there are routes or models); bucket_s (width of a bucket, seconds, a multiple of the table's unit); previous_ms, from_ms, to_ms (the two
-- ranges, milliseconds since the epoch); previous_up, from_down, from_up, to_down (their bounds rounded to the table's unit, seconds since
-- the epoch): the unit-aligned middle comes from the rollup, the edges from calls, so every call of the range counts, and no other.
-- Units: milliseconds, right to 1 %; duration_ms at 0.5, 0.95, 0.99, ttft_ms at 0.5, 0.95. kind as in overview_usage.sql.
SELECT
    multiIf(grouping(start_bucket) = 0, 'bucket', grouping(tenant_id) = 0, 'tenant', 'total') AS kind,
    previous,
    start_bucket AS bucket_s,
    toString(tenant_id) AS name,
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(part.duration_ms) AS duration_ms,
    quantilesDDIfMerge(0.01, 0.5, 0.95)(part.ttft_ms) AS ttft_ms
FROM
(
    SELECT tenant_id, previous, start_bucket,
           quantilesDDMergeState(0.01, 0.5, 0.95, 0.99)(rollup.duration_ms) AS duration_ms,
           quantilesDDIfMergeState(0.01, 0.5, 0.95)(rollup.ttft_ms) AS ttft_ms
    FROM
    (
        SELECT tenant_id, duration_ms, ttft_ms,
               start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
               intDiv(toInt64(toUnixTimestamp(start_time)), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket
        FROM {latency:Identifier}
        WHERE tenant_id IN {tenants:Array(String)}
          AND per = {per:String}
          AND (start_time >= toDateTime({previous_up:Int64}, 'UTC') AND start_time < toDateTime({from_down:Int64}, 'UTC')
               OR start_time >= toDateTime({from_up:Int64}, 'UTC') AND start_time < toDateTime({to_down:Int64}, 'UTC'))
          AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
          AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
    ) AS rollup
    GROUP BY tenant_id, previous, start_bucket

    UNION ALL

    SELECT tenant_id, previous, start_bucket,
           quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
           quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms
    FROM
    (
        SELECT tenant_id, duration_ns, ttft_ns,
               start_time < fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS previous,
               intDiv(toInt64(toUnixTimestamp(start_time)), {bucket_s:UInt32}) * {bucket_s:UInt32} AS start_bucket
        FROM calls
        WHERE tenant_id IN {tenants:Array(String)}
          AND (start_time >= fromUnixTimestamp64Milli({previous_ms:Int64}, 'UTC') AND start_time < toDateTime({previous_up:Int64}, 'UTC')
               OR start_time >= toDateTime({from_down:Int64}, 'UTC') AND start_time < toDateTime({from_up:Int64}, 'UTC')
               OR start_time >= toDateTime({to_down:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
          AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
          AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
    )
    GROUP BY tenant_id, previous, start_bucket
) AS part
GROUP BY GROUPING SETS ((previous), (previous, start_bucket), (previous, tenant_id))
HAVING kind = 'total' OR NOT previous
