-- What clients and applications say of answers, fed from events: feedback, actions, and what each action was served by.
-- An event is one statement. Statements of one tenant with one `outcome_id` (the idempotency key, or else the event's id) are one outcome,
-- and the one that was received last counts, then the greater event id: reads take it with argMax, nothing is rewritten.
-- Units: `value` US dollars; `weight` millionths. `time` is when it happened, `received` when it was said. `unknown`: park or refuse, what
-- becomes of it when the call was not there at `received`. Texts that do not apply are empty.
CREATE TABLE IF NOT EXISTS feedback {on_cluster}
(
    tenant_id      LowCardinality(String),
    time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received       DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    outcome_id     String CODEC(ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    response_id    String CODEC(ZSTD(1)),
    score          Nullable(Float64) CODEC(ZSTD(1)),
    label          LowCardinality(String),
    comment        String CODEC(ZSTD(3)),
    unknown        LowCardinality(String),
    key_id         LowCardinality(String),
    retention_days UInt16,

    INDEX by_trace    trace_id    TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant_id, time, outcome_id, event_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_to_feedback {on_cluster} TO feedback AS
SELECT
    tenant_id, time,
    observed_time AS received,
    if(attributes['control_tower.idempotency.key'] = '', event_id, attributes['control_tower.idempotency.key']) AS outcome_id,
    event_id, trace_id, span_id, response_id,
    toFloat64OrNull(attributes['control_tower.feedback.score']) AS score,
    attributes['control_tower.feedback.label'] AS label,
    attributes['control_tower.feedback.comment'] AS comment,
    if(attributes['control_tower.outcome.unknown'] = 'refuse', 'refuse', 'park') AS unknown,
    key_id, retention_days
FROM events
WHERE event_name = 'control_tower.feedback';

CREATE TABLE IF NOT EXISTS actions {on_cluster}
(
    tenant_id      LowCardinality(String),
    time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    received       DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    outcome_id     String CODEC(ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    name           LowCardinality(String),
    outcome        LowCardinality(String),
    value          Decimal(38, 12) CODEC(ZSTD(1)),
    unknown        LowCardinality(String),
    key_id         LowCardinality(String),
    retention_days UInt16
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant_id, time, outcome_id, event_id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_to_actions {on_cluster} TO actions AS
SELECT
    tenant_id, time,
    observed_time AS received,
    if(attributes['control_tower.idempotency.key'] = '', event_id, attributes['control_tower.idempotency.key']) AS outcome_id,
    event_id,
    attributes['control_tower.action.name'] AS name,
    attributes['control_tower.action.outcome'] AS outcome,
    toDecimal128OrZero(attributes['control_tower.action.value'], 12) AS value,
    if(attributes['control_tower.outcome.unknown'] = 'refuse', 'refuse', 'park') AS unknown,
    key_id, retention_days
FROM events
WHERE event_name = 'control_tower.action';

-- What an action was served by, one row a link of a statement: `kind` response (the answer's id, or the request's id) or trace.
CREATE TABLE IF NOT EXISTS action_links {on_cluster}
(
    tenant_id      LowCardinality(String),
    time           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    kind           LowCardinality(String),
    id             String CODEC(ZSTD(1)),
    weight         UInt32 CODEC(T64, ZSTD(1)),
    retention_days UInt16,

    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant_id, time, event_id, kind, id)
TTL toDateTime(least(intDiv(toUnixTimestamp64Nano(time), 1000000000) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_to_action_links {on_cluster} TO action_links AS
SELECT
    tenant_id, time, event_id,
    link.1 AS kind,
    if(startsWith(link.2, '"'), JSONExtractString(link.2), JSONExtractString(link.2, 'id')) AS id,
    toUInt32(if(JSONHas(link.2, 'weight'), round(least(greatest(JSONExtractFloat(link.2, 'weight'), 0), 1) * 1000000), 1000000)) AS weight,
    retention_days
FROM events
ARRAY JOIN arrayConcat(
    arrayMap(raw -> ('response', raw), JSONExtractArrayRaw(attributes['control_tower.action.responses'])),
    arrayMap(raw -> ('trace', raw), JSONExtractArrayRaw(attributes['control_tower.action.traces']))) AS link
WHERE event_name = 'control_tower.action' AND id != '';
