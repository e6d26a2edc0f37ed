-- Golden signals of tools and retrievals over a range: executions and how many failed, retrievals and how many returned a document.
-- Tool error rate = tools_failed / tools; retrieval hit rate = retrievals_hit / retrievals.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch).
-- Units: spans.
SELECT
    countIf(operation = 'execute_tool') AS tools,
    countIf(operation = 'execute_tool' AND failed) AS tools_failed,
    countIf(operation = 'retrieval') AS retrievals,
    countIf(operation = 'retrieval' AND documents > 0) AS retrievals_hit
FROM steps
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
