-- One narrow row per client request, for lists and sums: the SERVER spans that the gateway marked as calls.
-- `error_type` is empty exactly when the call was answered in full. Units as in spans.
CREATE TABLE IF NOT EXISTS calls {on_cluster}
(
    tenant_id             LowCardinality(String),
    start_time            DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id              String CODEC(ZSTD(1)),
    span_id               String CODEC(ZSTD(1)),
    request_id            String CODEC(ZSTD(1)),
    response_id           String CODEC(ZSTD(1)),
    conversation_id       String CODEC(ZSTD(1)),
    operation             LowCardinality(String),
    key_id                LowCardinality(String),
    route                 LowCardinality(String),
    request_model         LowCardinality(String),
    response_model        LowCardinality(String),
    provider              LowCardinality(String),
    tier                  LowCardinality(String),
    prompt_name           LowCardinality(String),
    prompt_version        LowCardinality(String),
    experiment_name       LowCardinality(String),
    experiment_variant    LowCardinality(String),
    stream                Bool,
    http_status           UInt16 CODEC(T64, ZSTD(1)),
    error_type            LowCardinality(String),
    finish_reason         LowCardinality(String),
    client_disconnected   Bool,
    duration_ns           UInt64 CODEC(T64, ZSTD(1)),
    ttft_ns               UInt64 CODEC(T64, ZSTD(1)),
    queue_ns              UInt64 CODEC(T64, ZSTD(1)),
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
    cache_status          LowCardinality(String),
    attempts              UInt16 CODEC(T64, ZSTD(1)),
    cascade_decision      LowCardinality(String),
    retention_days        UInt16,

    INDEX by_trace    trace_id    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_request  request_id  TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, trace_id, span_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(start_time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_calls {on_cluster} TO calls AS
SELECT
    tenant_id, start_time, trace_id, span_id, request_id, response_id, conversation_id, operation, key_id, route,
    request_model, response_model, provider, tier, prompt_name, prompt_version, experiment_name, experiment_variant,
    stream, http_status,
    multiIf(
        spans.error_type != '', spans.error_type,
        client_disconnected, 'client_disconnected',
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    finish_reasons[1] AS finish_reason,
    client_disconnected, duration_ns, ttft_ns, queue_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, cache_status,
    attempt AS attempts,
    cascade_decision, retention_days
FROM spans
WHERE record = 'call';
