-- Golden signal, time to first token: from the request's last byte in to the first content byte out, per request (scope = request) and
-- per attempt (scope = attempt). Exact quantiles; requests and attempts without content are not in it.
-- With a filter, only calls that it picks and their attempts; it begins with parts/picked_calls.sql.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); filtered and the filter of picked_calls.sql.
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
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND ttft_ns > 0
      AND (NOT {filtered:Bool} OR (tenant_id, trace_id, span_id) IN (SELECT tenant_id, trace_id, span_id FROM picked))
    UNION ALL
    SELECT 'attempt', ttft_ns FROM attempts
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND ttft_ns > 0
      AND (NOT {filtered:Bool} OR (tenant_id, trace_id, call_span_id) IN (SELECT tenant_id, trace_id, span_id FROM picked))
)
GROUP BY scope
ORDER BY scope
