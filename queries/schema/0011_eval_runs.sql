-- Truth sets and what runs over them gave. Written by `control-tower eval`, kept until somebody deletes them: there is no TTL.
-- dataset_versions: a version of a dataset, one row each time it was made (the same content twice is the same version twice). It is
-- written after its rows, so that a version that can be seen is whole. `version`: SHA-256 of the canonical rows, hex. `origin`: JSON.
CREATE TABLE IF NOT EXISTS dataset_versions {on_cluster}
(
    tenant_id  LowCardinality(String),
    name       String,
    created_at DateTime64(9, 'UTC'),
    version    String,
    rows       UInt64,
    origin     String
)
ENGINE = {replicated}MergeTree
ORDER BY (tenant_id, name, created_at, version)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000;

-- The rows of a version, in order; `row` is the canonical JSON that was hashed. A row that was written twice is the same twice.
CREATE TABLE IF NOT EXISTS dataset_rows {on_cluster}
(
    tenant_id LowCardinality(String),
    version   String CODEC(ZSTD(1)),
    position  UInt64 CODEC(Delta(8), ZSTD(1)),
    row       String CODEC(ZSTD(3))
)
ENGINE = {replicated}MergeTree
ORDER BY (tenant_id, version, position)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000;

-- A run over a version, one row each time it ended or was stopped; the newest tells how it stands.
-- `state`: finished | stopped (at its cost ceiling or by hand). Costs: US dollars, exact. `cost`: of the calls that have a result,
-- `cost_lost`: of calls whose result was lost in a crash and which were made again, `cost_judges`: what judges spent.
CREATE TABLE IF NOT EXISTS eval_runs {on_cluster}
(
    tenant_id   LowCardinality(String),
    run_id      String,
    ended_at    DateTime64(9, 'UTC'),
    started_at  DateTime64(9, 'UTC'),
    dataset     String,
    version     String,
    target      String,
    judges      Array(String),
    repeat      UInt32,
    state       LowCardinality(String),
    planned     UInt64,
    results     UInt64,
    errors      UInt64,
    cost        Decimal(38, 12),
    cost_lost   Decimal(38, 12),
    cost_judges Decimal(38, 12)
)
ENGINE = {replicated}MergeTree
ORDER BY (tenant_id, run_id, ended_at)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000;

-- The results of a run: one row for each row of the version and each repetition. `error` is empty exactly when there is an answer. The arrays `scores.*` have an entry for
-- each judge; a score is NULL where the judge does not apply or failed, `scores.label` says which. `cost`: US dollars of all calls that this result took, retries included.
CREATE TABLE IF NOT EXISTS eval_results {on_cluster}
(
    tenant_id     LowCardinality(String),
    run_id        String,
    row_id        String CODEC(ZSTD(1)),
    repeat        UInt32 CODEC(T64, ZSTD(1)),
    at            DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id      String CODEC(ZSTD(1)),
    request_ids   Array(String) CODEC(ZSTD(1)),
    model         LowCardinality(String),
    answer        String CODEC(ZSTD(3)),
    error         String CODEC(ZSTD(1)),
    latency_ms    UInt64 CODEC(T64, ZSTD(1)),
    cost          Decimal(38, 12) CODEC(ZSTD(1)),
    cost_judges   Decimal(38, 12) CODEC(ZSTD(1)),
    slices        Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    scores        Nested
    (
        judge       LowCardinality(String),
        version     LowCardinality(String),
        score       Nullable(Float64),
        label       LowCardinality(String),
        explanation String
    )
)
ENGINE = {replicated}MergeTree
ORDER BY (tenant_id, run_id, row_id, repeat)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000;
