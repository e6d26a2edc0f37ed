-- Do the tables that follow from spans agree with them? Counts and costs of one range in each of them, one row.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch, whole hours, since rollups know no less).
-- Units: rows (distinct_*: by trace and span id); costs US dollars; in the rollups, calls.
SELECT
    spans.*, calls.*, attempts.*, steps.*, usage_minute.*, usage_hour.*, latency_minute.*, latency_hour.*
FROM
(
    SELECT count() AS spans, uniqExact(trace_id, span_id) AS distinct_spans,
           countIf(record = 'call') AS span_calls, countIf(record = 'attempt') AS span_attempts,
           countIf(operation IN ('execute_tool', 'retrieval')) AS span_steps, sumIf(cost_total, record = 'call') AS span_cost
    FROM spans
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS spans,
(
    SELECT count() AS calls, sum(cost_total) AS calls_cost
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS calls,
(
    SELECT count() AS attempts
    FROM attempts
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS attempts,
(
    SELECT count() AS steps
    FROM steps
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS steps,
(
    SELECT sum(calls) AS minute_calls, sum(cost_total) AS minute_cost
    FROM usage_minute
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS usage_minute,
(
    SELECT sum(calls) AS hour_calls, sum(cost_total) AS hour_cost
    FROM usage_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS usage_hour,
(
    SELECT sum(calls) AS latency_minute_calls
    FROM latency_minute
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS latency_minute,
(
    SELECT sum(calls) AS latency_hour_calls
    FROM latency_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS latency_hour
