-- What calls of a run cost, as the gateway metered them: the check of a run's own account.
-- Parameters: tenants; traces (those of the run's rows); from_ns <= start <= to_ns (nanoseconds since the epoch).
-- Units: cost US dollars.
SELECT request_id, trace_id, any(cost_total) AS cost
FROM calls
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
  AND trace_id IN {traces:Array(String)}
GROUP BY request_id, trace_id
