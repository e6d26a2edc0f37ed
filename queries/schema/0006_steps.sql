-- One narrow row per step of an application that is not a model call: tool executions and retrievals, of any span.
-- `failed`: the step ended in an error. `documents`: how many documents a retrieval returned. Units as in spans.
CREATE TABLE IF NOT EXISTS steps {on_cluster}
(
    tenant_id      LowCardinality(String),
    start_time     DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    operation      LowCardinality(String),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    tool_name      LowCardinality(String),
    data_source_id LowCardinality(String),
    error_type     LowCardinality(String),
    failed         Bool,
    documents      UInt32 CODEC(T64, ZSTD(1)),
    top_k          UInt32 CODEC(T64, ZSTD(1)),
    duration_ns    UInt64 CODEC(T64, ZSTD(1)),
    retention_days UInt16
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, trace_id, span_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(start_time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_steps {on_cluster} TO steps AS
SELECT
    tenant_id, start_time, operation, trace_id, span_id, tool_name, data_source_id, error_type,
    error_type != '' OR status = 'error' AS failed,
    toUInt32(JSONLength(retrieval_documents)) AS documents,
    retrieval_top_k AS top_k,
    duration_ns, retention_days
FROM spans
WHERE operation IN ('execute_tool', 'retrieval');
