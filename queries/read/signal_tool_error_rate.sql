-- Golden signal, tool error rate: tool executions that ended in an error, a timeout or a violation of the tool's schema (a span whose
-- status is error, or that names a class of error) / tool executions.
-- With a filter, only executions in the traces of calls that it picks; it begins with parts/picked_calls.sql.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); filtered and the filter of picked_calls.sql.
-- Units: spans; the signal is hits / of.
SELECT countIf(failed) AS hits, count() AS of
FROM steps
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND operation = 'execute_tool'
  AND (NOT {filtered:Bool} OR (tenant_id, trace_id) IN (SELECT tenant_id, trace_id FROM picked))
