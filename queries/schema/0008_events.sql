-- Every OTLP log record of every tenant: feedback, actions, evaluations and whatever else applications log as events. Immutable, as spans
-- are; what tables and signals need of an event is fed from here, so this is the one way in.
-- `event_id` names the event: the attribute control_tower.event.id, or a digest of the record's content. An event sent again has the same tenant, id
-- and time. Texts that do not apply are empty; `trace_id` and `span_id` are those of the span that the event belongs to, if any.
CREATE TABLE IF NOT EXISTS events {on_cluster}
(
    tenant_id           LowCardinality(String),
    time                DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    observed_time       DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event_id            String CODEC(ZSTD(1)),
    event_name          LowCardinality(String),
    trace_id            String CODEC(ZSTD(1)),
    span_id             String CODEC(ZSTD(1)),
    response_id         String CODEC(ZSTD(1)),
    severity            LowCardinality(String),
    severity_number     UInt8 CODEC(T64, ZSTD(1)),
    body                String CODEC(ZSTD(3)),
    service_name        LowCardinality(String),
    scope_name          LowCardinality(String),
    scope_version       LowCardinality(String),
    key_id              LowCardinality(String),
    attributes          Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    resource_attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    retention_days      UInt16,
    ingested_at         DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD(1)),

    INDEX by_event    event_id    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_trace    trace_id    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant_id, time, event_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;
