-- Do the tables that follow from spans agree with them? Counts and costs of one range in each of them, one row.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch, whole days, since rollups know no less).
-- Units: rows (distinct_*: by trace and span id); costs US dollars; in the rollups, calls; in the facets, calls with a model, a route, a key.
SELECT
    spans.*, calls.*, attempts.*, steps.*, usage_5min.*, usage_hour.*, latency_5min.*, latency_hour.*, latency_day.*,
    facets_hour.*
FROM
(
    SELECT count() AS spans, uniqExact(trace_id, span_id) AS distinct_spans,
           countIf(record = 'call') AS span_calls, countIf(record = 'attempt') AS span_attempts,
           countIf(operation IN ('execute_tool', 'retrieval')) AS span_steps, sumIf(cost_total, record = 'call') AS span_cost,
           countIf(record = 'call' AND request_model != '') AS span_models, countIf(record = 'call' AND route != '') AS span_routes,
           countIf(record = 'call' AND key_id != '') AS span_keys
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
    SELECT sum(calls) AS usage_5min_calls, sum(cost_total) AS usage_5min_cost
    FROM usage_5min
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS usage_5min,
(
    SELECT sum(calls) AS usage_hour_calls, sum(cost_total) AS usage_hour_cost
    FROM usage_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS usage_hour,
(
    SELECT sum(calls) AS latency_5min_calls
    FROM latency_5min
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS latency_5min,
(
    SELECT sumIf(calls, per = 'tenant') AS latency_hour_calls, sumIf(calls, per = 'model') AS latency_hour_model_calls
    FROM latency_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS latency_hour,
(
    SELECT sumIf(calls, per = 'tenant') AS latency_day_calls, sumIf(calls, per = 'model') AS latency_day_model_calls
    FROM latency_day
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS latency_day,
(
    SELECT sumIf(calls, kind = 'model') AS facet_models, sumIf(calls, kind = 'route') AS facet_routes, sumIf(calls, kind = 'key') AS facet_keys
    FROM facets_hour
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS facets_hour
