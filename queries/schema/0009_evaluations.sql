-- What judges say of calls, one row a call, judge and judge's version. Fed from events of the name gen_ai.evaluation.result.
-- `call_time` is the start of the judged call, or the event's own time where the sender did not say. `score` is NULL where the judge does not apply
-- or failed; `label` says which. `details`: JSON, the judge's own. `cost`: US dollars that the judging took. `source`: empty for
-- verdicts of our evaluator, otherwise the key or the service that somebody else's came from; only ours say that a call is judged. Ours are known by
-- their key's id: what a tenant's own telemetry says of its service is the tenant's word, and its records never get that id.
CREATE TABLE IF NOT EXISTS evaluations {on_cluster}
(
    tenant_id      LowCardinality(String),
    call_time      DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    judge          LowCardinality(String),
    version        LowCardinality(String),
    response_id    String CODEC(ZSTD(1)),
    score          Nullable(Float64) CODEC(ZSTD(1)),
    label          LowCardinality(String),
    explanation    String CODEC(ZSTD(3)),
    details        String CODEC(ZSTD(3)),
    cost           Decimal(38, 12) CODEC(ZSTD(1)),
    judged_at      DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    route          LowCardinality(String),
    request_model  LowCardinality(String),
    source         LowCardinality(String),
    retention_days UInt16,

    INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(call_time)
ORDER BY (tenant_id, call_time, trace_id, span_id, judge, version)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(call_time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_to_evaluations {on_cluster} TO evaluations AS
SELECT
    tenant_id,
    if(toInt64OrZero(attributes['control_tower.evaluation.call_time_unix_nano']) > 0,
        fromUnixTimestamp64Nano(toInt64OrZero(attributes['control_tower.evaluation.call_time_unix_nano']), 'UTC'),
        time) AS call_time,
    trace_id, span_id,
    attributes['gen_ai.evaluation.name'] AS judge,
    attributes['control_tower.evaluation.version'] AS version,
    response_id,
    toFloat64OrNull(attributes['gen_ai.evaluation.score.value']) AS score,
    attributes['gen_ai.evaluation.score.label'] AS label,
    attributes['gen_ai.evaluation.explanation'] AS explanation,
    attributes['control_tower.evaluation.details'] AS details,
    toDecimal128OrZero(attributes['control_tower.evaluation.cost'], 12) AS cost,
    time AS judged_at,
    attributes['control_tower.route'] AS route,
    attributes['gen_ai.request.model'] AS request_model,
    multiIf(key_id = 'control-tower-evaluator', '', key_id != '', key_id, service_name != '', service_name, 'unknown') AS source,
    retention_days
FROM events
WHERE event_name = 'gen_ai.evaluation.result';
