-- Quantiles of duration and of time to first token over a range, by model.
-- Parameters: tenants; routes, models (empty: any); from_ms, to_ms (the range, milliseconds since the epoch); hours_from_ms, days_from_ms,
-- days_to_ms, hours_to_ms (in this order within the range; whole days between the inner two come from the rollup by day, whole hours
-- around them from the one by hour, the edges from calls, so every call of the range counts, and no other).
-- Units: milliseconds, right to 1 %; duration_ms at 0.5, 0.95, 0.99, ttft_ms at 0.5, 0.95. kind is always model, previous and bucket_s are always 0.
SELECT
    'model' AS kind,
    toUInt8(0) AS previous,
    toInt64(0) AS bucket_s,
    toString(request_model) AS name,
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(part.duration_ms) AS duration_ms,
    quantilesDDIfMerge(0.01, 0.5, 0.95)(part.ttft_ms) AS ttft_ms
FROM
(
    SELECT request_model, duration_ms, ttft_ms
    FROM latency_day
    WHERE tenant_id IN {tenants:Array(String)}
      AND per = 'model'
      AND start_time >= fromUnixTimestamp64Milli({days_from_ms:Int64}, 'UTC')
      AND start_time < fromUnixTimestamp64Milli({days_to_ms:Int64}, 'UTC')
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})

    UNION ALL

    SELECT request_model, duration_ms, ttft_ms
    FROM latency_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND per = 'model'
      AND (start_time >= fromUnixTimestamp64Milli({hours_from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({days_from_ms:Int64}, 'UTC')
           OR start_time >= fromUnixTimestamp64Milli({days_to_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({hours_to_ms:Int64}, 'UTC'))
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})

    UNION ALL

    SELECT request_model,
           quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
           quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
      AND (start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({hours_from_ms:Int64}, 'UTC')
           OR start_time >= fromUnixTimestamp64Milli({hours_to_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND (empty({routes:Array(String)}) OR route IN {routes:Array(String)})
      AND (empty({models:Array(String)}) OR request_model IN {models:Array(String)})
    GROUP BY request_model
) AS part
GROUP BY request_model
