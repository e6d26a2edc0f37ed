-- Golden signal, tool error rate: tool executions that ended in an error, a timeout or a violation of the tool's schema (a span whose
-- status is error, or that names a class of error) / tool executions.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch).
-- Units: spans; the signal is hits / of.
SELECT countIf(failed) AS hits, count() AS of
FROM steps
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND operation = 'execute_tool'
