-- What judging cost beside what verdicts cost: verdicts that were asked for over HTTP, which are not kept, and judges that paid for answers and
-- reached no verdict. One row a judge asked. Fed from events of the name control_tower.judging.cost that are the evaluator's own, so that
-- no tenant's telemetry adds to what was spent.
-- `time` is when it was paid. `cost`: US dollars. Ids, `route` and `request_model` are those of the judged call, empty where there is none.
CREATE TABLE IF NOT EXISTS judging_costs {on_cluster}
(
    tenant_id      LowCardinality(String),
    time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    judge          LowCardinality(String),
    version        LowCardinality(String),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    route          LowCardinality(String),
    request_model  LowCardinality(String),
    cost           Decimal(38, 12) CODEC(ZSTD(1)),
    retention_days UInt16
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant_id, time, event_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_to_judging_costs {on_cluster} TO judging_costs AS
SELECT
    tenant_id, time, event_id,
    attributes['gen_ai.evaluation.name'] AS judge,
    attributes['control_tower.evaluation.version'] AS version,
    trace_id, span_id,
    attributes['control_tower.route'] AS route,
    attributes['gen_ai.request.model'] AS request_model,
    toDecimal128OrZero(attributes['control_tower.evaluation.cost'], 12) AS cost,
    retention_days
FROM events
WHERE event_name = 'control_tower.judging.cost' AND key_id = 'control-tower-evaluator';
