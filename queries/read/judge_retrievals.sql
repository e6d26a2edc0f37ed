-- The retrieval spans of traces: what an application found before it asked a model.
-- Parameters: tenants, traces; from_ns <= start <= to_ns (nanoseconds since the epoch; wide enough around the calls).
SELECT tenant_id, trace_id, toUnixTimestamp64Nano(start_time) AS start_ns, data_source_id, retrieval_documents
FROM spans
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({from_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({to_ns:Int64}, 'UTC')
  AND trace_id IN {traces:Array(String)}
  AND operation = 'retrieval'
  AND retrieval_documents != ''
ORDER BY start_time
LIMIT 20000
