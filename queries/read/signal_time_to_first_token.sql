-- Golden signal, time to first token: from the request's last byte in to the first content byte out, per request (scope = request) and
-- per attempt (scope = attempt). Exact quantiles; requests and attempts without content are not in it.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch).
-- Units: milliseconds; measured counts requests or attempts.
SELECT
    scope,
    count() AS measured,
    quantileExactInclusive(0.5)(ttft_ns / 1e6) AS p50_ms,
    quantileExactInclusive(0.95)(ttft_ns / 1e6) AS p95_ms,
    quantileExactInclusive(0.99)(ttft_ns / 1e6) AS p99_ms
FROM
(
    SELECT 'request' AS scope, ttft_ns FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') AND ttft_ns > 0
    UNION ALL
    SELECT 'attempt', ttft_ns FROM attempts
    WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') AND ttft_ns > 0
)
GROUP BY scope
ORDER BY scope
