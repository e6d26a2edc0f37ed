-- Rollups of calls, fed on insert: what the Overview sums over long ranges. One row per five minutes (usage_5min) or hour
-- (usage_hour) and combination of the columns in its sort key; rows of one combination add up.
-- Units: cost_* US dollars, *_tokens tokens; `error_type` as in calls; `unpriced` calls had usage, but no price was known for it. Keys are left out: they would multiply the rows.
CREATE TABLE IF NOT EXISTS usage_5min {on_cluster}
(
    tenant_id             LowCardinality(String),
    start_time            DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_model         LowCardinality(String),
    route                 LowCardinality(String),
    provider              LowCardinality(String),
    tier                  LowCardinality(String),
    operation             LowCardinality(String),
    error_type            LowCardinality(String),
    calls                 SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    estimated             SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    unpriced              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    input_tokens          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    output_tokens         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_read_tokens     SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_write_tokens    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_write_1h_tokens SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    reasoning_tokens      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    audio_input_tokens    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    audio_output_tokens   SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_input            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_output           SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_cache            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_total            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    retention_days        SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, request_model, route, provider, tier, operation, error_type)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_usage_5min {on_cluster} TO usage_5min AS
SELECT
    tenant_id,
    toStartOfFiveMinutes(spans.start_time) AS start_time,
    request_model, route, provider, tier, operation,
    multiIf(
        spans.error_type != '', spans.error_type,
        client_disconnected, 'client_disconnected',
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    count() AS calls,
    countIf(usage_source IN ('estimated', 'partial')) AS estimated,
    countIf(usage_source != '' AND price_book_version = '') AS unpriced,
    sum(spans.input_tokens) AS input_tokens,
    sum(spans.output_tokens) AS output_tokens,
    sum(spans.cache_read_tokens) AS cache_read_tokens,
    sum(spans.cache_write_tokens) AS cache_write_tokens,
    sum(spans.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(spans.reasoning_tokens) AS reasoning_tokens,
    sum(spans.audio_input_tokens) AS audio_input_tokens,
    sum(spans.audio_output_tokens) AS audio_output_tokens,
    sum(spans.cost_input) AS cost_input,
    sum(spans.cost_output) AS cost_output,
    sum(spans.cost_cache) AS cost_cache,
    sum(spans.cost_total) AS cost_total,
    max(spans.retention_days) AS retention_days
FROM spans
WHERE record = 'call'
GROUP BY tenant_id, start_time, request_model, route, provider, tier, operation, error_type;

CREATE TABLE IF NOT EXISTS usage_hour {on_cluster}
(
    tenant_id             LowCardinality(String),
    start_time            DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    request_model         LowCardinality(String),
    route                 LowCardinality(String),
    provider              LowCardinality(String),
    tier                  LowCardinality(String),
    operation             LowCardinality(String),
    error_type            LowCardinality(String),
    calls                 SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    estimated             SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    unpriced              SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    input_tokens          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    output_tokens         SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_read_tokens     SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_write_tokens    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cache_write_1h_tokens SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    reasoning_tokens      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    audio_input_tokens    SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    audio_output_tokens   SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    cost_input            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_output           SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_cache            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    cost_total            SimpleAggregateFunction(sum, Decimal(38, 12)) CODEC(ZSTD(1)),
    retention_days        SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, request_model, route, provider, tier, operation, error_type)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_usage_hour {on_cluster} TO usage_hour AS
SELECT
    tenant_id,
    toStartOfHour(spans.start_time) AS start_time,
    request_model, route, provider, tier, operation,
    multiIf(
        spans.error_type != '', spans.error_type,
        client_disconnected, 'client_disconnected',
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    count() AS calls,
    countIf(usage_source IN ('estimated', 'partial')) AS estimated,
    countIf(usage_source != '' AND price_book_version = '') AS unpriced,
    sum(spans.input_tokens) AS input_tokens,
    sum(spans.output_tokens) AS output_tokens,
    sum(spans.cache_read_tokens) AS cache_read_tokens,
    sum(spans.cache_write_tokens) AS cache_write_tokens,
    sum(spans.cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(spans.reasoning_tokens) AS reasoning_tokens,
    sum(spans.audio_input_tokens) AS audio_input_tokens,
    sum(spans.audio_output_tokens) AS audio_output_tokens,
    sum(spans.cost_input) AS cost_input,
    sum(spans.cost_output) AS cost_output,
    sum(spans.cost_cache) AS cost_cache,
    sum(spans.cost_total) AS cost_total,
    max(spans.retention_days) AS retention_days
FROM spans
WHERE record = 'call'
GROUP BY tenant_id, start_time, request_model, route, provider, tier, operation, error_type;
