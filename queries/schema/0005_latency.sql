-- Latency of calls by five minutes, hour and day, fed on insert: mergeable sketches of quantiles, right to 1 % of the value
-- (DDSketch). A sketch is as costly to read as dozens of calls, so there are few of them: per = 'tenant' rows sketch all calls of a tenant,
-- with no model and no route; per = 'model' rows those of one model and route, by hour and day alone. Both sum up to all calls. Time comes last in
-- the sort key so that one model can be read alone; few rows a granule, for a granule is read whole.
-- Units: duration_ms and ttft_ms milliseconds; calls without a first token are not in ttft_ms.
CREATE TABLE IF NOT EXISTS latency_5min {on_cluster}
(
    tenant_id      LowCardinality(String),
    per            LowCardinality(String),
    start_time     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_model  LowCardinality(String),
    route          LowCardinality(String),
    calls          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    duration_ms    AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Float64) CODEC(ZSTD(1)),
    ttft_ms        AggregateFunction(quantilesDDIf(0.01, 0.5, 0.95), Float64, UInt8) CODEC(ZSTD(1)),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, per, request_model, route, start_time)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS index_granularity = 32,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_latency_5min {on_cluster} TO latency_5min AS
SELECT
    tenant_id,
    'tenant' AS per,
    toStartOfFiveMinutes(spans.start_time) AS start_time,
    '' AS request_model,
    '' AS route,
    count() AS calls,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
    quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms,
    max(spans.retention_days) AS retention_days
FROM spans
WHERE record = 'call'
GROUP BY tenant_id, start_time;

CREATE TABLE IF NOT EXISTS latency_hour {on_cluster}
(
    tenant_id      LowCardinality(String),
    per            LowCardinality(String),
    start_time     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_model  LowCardinality(String),
    route          LowCardinality(String),
    calls          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    duration_ms    AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Float64) CODEC(ZSTD(1)),
    ttft_ms        AggregateFunction(quantilesDDIf(0.01, 0.5, 0.95), Float64, UInt8) CODEC(ZSTD(1)),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, per, request_model, route, start_time)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS index_granularity = 32,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_latency_hour {on_cluster} TO latency_hour AS
SELECT
    tenant_id,
    if(grouping(request_model) = 0, 'model', 'tenant') AS per,
    toStartOfHour(spans.start_time) AS start_time,
    request_model, route,
    count() AS calls,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
    quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms,
    max(spans.retention_days) AS retention_days
FROM spans
WHERE record = 'call'
GROUP BY GROUPING SETS ((tenant_id, start_time), (tenant_id, start_time, request_model, route));

CREATE TABLE IF NOT EXISTS latency_day {on_cluster}
(
    tenant_id      LowCardinality(String),
    per            LowCardinality(String),
    start_time     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_model  LowCardinality(String),
    route          LowCardinality(String),
    calls          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    duration_ms    AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Float64) CODEC(ZSTD(1)),
    ttft_ms        AggregateFunction(quantilesDDIf(0.01, 0.5, 0.95), Float64, UInt8) CODEC(ZSTD(1)),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, per, request_model, route, start_time)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS index_granularity = 32,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_latency_day {on_cluster} TO latency_day AS
SELECT
    tenant_id,
    if(grouping(request_model) = 0, 'model', 'tenant') AS per,
    toStartOfDay(spans.start_time) AS start_time,
    request_model, route,
    count() AS calls,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ns / 1e6) AS duration_ms,
    quantilesDDIfState(0.01, 0.5, 0.95)(ttft_ns / 1e6, ttft_ns > 0) AS ttft_ms,
    max(spans.retention_days) AS retention_days
FROM spans
WHERE record = 'call'
GROUP BY GROUPING SETS ((tenant_id, start_time), (tenant_id, start_time, request_model, route));
