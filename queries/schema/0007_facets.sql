-- What the filters can be set to: by hour, how many calls had which model, route and key. Fed on insert, rows of one value add up.
-- `kind` is model, route or key; calls without a value have no row.
CREATE TABLE IF NOT EXISTS facets_hour {on_cluster}
(
    tenant_id      LowCardinality(String),
    start_time     DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    kind           LowCardinality(String),
    name           LowCardinality(String),
    calls          SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = {replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (tenant_id, start_time, kind, name)
TTL toDateTime(least(toInt64(toUnixTimestamp(start_time)) + toInt64(retention_days) * 86400, 4294967295), 'UTC') DELETE
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         merge_with_ttl_timeout = 86400;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_to_facets_hour {on_cluster} TO facets_hour AS
SELECT
    tenant_id,
    toStartOfHour(spans.start_time) AS start_time,
    facet.1 AS kind,
    facet.2 AS name,
    count() AS calls,
    max(spans.retention_days) AS retention_days
FROM spans
ARRAY JOIN [('model', request_model), ('route', route), ('key', key_id)] AS facet
WHERE record = 'call' AND name != ''
GROUP BY tenant_id, start_time, kind, name;
