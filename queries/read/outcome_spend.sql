-- All that calls of a range cost, judging included, by the groups of outcomes: what no action accounts for is overhead.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); skipped_keys: keys of our own judges, whose calls are in
-- the cost of judging already.
-- Each time that a judge looked at a call was paid for: verdicts of one judge on one call differ by when they were reached, and only one that
-- was written twice has the same. What judging cost beside verdicts belongs to the time at which it was paid.
-- `saved` is what answers that were given again would have cost; it is in no sum of costs.
-- Units: money US dollars.
SELECT
    calls.tenant_id AS tenant_id, route, request_model AS model, prompt_name, prompt_version,
    experiment_name AS experiment, experiment_variant AS variant,
    count() AS calls, sum(cost_total) AS calls_cost, sum(judged.cost) AS judges_cost, sum(cache_saved) AS saved
FROM calls
LEFT JOIN
(
    SELECT tenant_id, trace_id, span_id, sum(cost) AS cost
    FROM
    (
        SELECT tenant_id, trace_id, span_id, judge, version, judged_at, max(cost) AS cost
        FROM evaluations
        WHERE tenant_id IN {tenants:Array(String)} AND source = ''
          AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 1 DAY
          AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
        GROUP BY tenant_id, trace_id, span_id, judge, version, judged_at
    )
    GROUP BY tenant_id, trace_id, span_id
) AS judged ON judged.tenant_id = calls.tenant_id AND judged.trace_id = calls.trace_id AND judged.span_id = calls.span_id
WHERE calls.tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND key_id NOT IN {skipped_keys:Array(String)}
GROUP BY tenant_id, route, model, prompt_name, prompt_version, experiment, variant
UNION ALL
SELECT tenant_id, route, request_model AS model, '', '', '', '', 0, toDecimal128(0, 12), sum(cost), toDecimal128(0, 12)
FROM judging_costs
WHERE tenant_id IN {tenants:Array(String)}
  AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY tenant_id, route, model
