-- One narrow row per try at one upstream: the CLIENT spans that the gateway marked as attempts.
-- `call_span_id` is the span of the call that it served. Units as in spans.
CREATE TABLE IF NOT EXISTS attempts {on_cluster}
(
    tenant_id             LowCardinality(String),
    start_time            DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id              String CODEC(ZSTD(1)),
    span_id               String CODEC(ZSTD(1)),
    call_span_id          String CODEC(ZSTD(1)),
    request_id            String CODEC(ZSTD(1)),
    response_id           String CODEC(ZSTD(1)),
    operation             LowCardinality(String),
    key_id                LowCardinality(String),
    route                 LowCardinality(String),
    request_model         LowCardinality(String),
    response_model        LowCardinality(String),
    provider              LowCardinality(String),
    tier                  LowCardinality(String),
    attempt               UInt16 CODEC(T64, ZSTD(1)),
    cascade_decision      LowCardinality(String),
    stream                Bool,
    http_status           UInt16 CODEC(T64, ZSTD(1)),
    error_type            LowCardinality(String),
    finish_reason         LowCardinality(String),
    duration_ns           UInt64 CODEC(T64, ZSTD(1)),
    ttft_ns               UInt64 CODEC(T64, ZSTD(1)),
    input_tokens          UInt64 CODEC(T64, ZSTD(1)),
    output_tokens         UInt64 CODEC(T64, ZSTD(1)),
    cache_read_tokens     UInt64 CODEC(T64, ZSTD(1)),
    cache_write_tokens    UInt64 CODEC(T64, ZSTD(1)),
    cache_write_1h_tokens UInt64 CODEC(T64, ZSTD(1)),
    reasoning_tokens      UInt64 CODEC(T64, ZSTD(1)),
    audio_input_tokens    UInt64 CODEC(T64, ZSTD(1)),
    audio_output_tokens   UInt64 CODEC(T64, ZSTD(1)),
    usage_source          LowCardinality(String),
    cost_input            Decimal(38, 12) CODEC(ZSTD(1)),
    cost_output           Decimal(38, 12) CODEC(ZSTD(1)),
    cost_cache            Decimal(38, 12) CODEC(ZSTD(1)),
    cost_total            Decimal(38, 12) CODEC(ZSTD(1)),
    price_book_version    LowCardinality(String),
    retention_days        UInt16,

    INDEX by_trace    trace_id    TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, trace_id, span_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(start_time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_attempts {on_cluster} TO attempts AS
SELECT
    tenant_id, start_time, trace_id, span_id,
    parent_span_id AS call_span_id,
    request_id, response_id, operation, key_id, route, request_model, response_model, provider, tier,
    attempt, cascade_decision, stream, http_status,
    multiIf(
        spans.error_type != '', spans.error_type,
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    finish_reasons[1] AS finish_reason,
    duration_ns, ttft_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, retention_days
FROM spans
WHERE record = 'attempt';
