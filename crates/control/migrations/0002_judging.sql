-- What the evaluator keeps while it judges: who works on what, and what people said. In the SQL that SQLite and PostgreSQL share.
-- Times are nanoseconds since the Unix epoch, UTC. None of this shows in a snapshot, so nothing here changes the version.

-- Who may do something that only one may do at a time. fence grows with each new holder.
CREATE TABLE judging_leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Ranges of time whose calls are to be judged. generation: which set of judges, at which versions. until_ns: NULL goes on for ever.
-- judges: JSON array of name@version. tenant: NULL is every tenant. next_ns: everything before it has been planned.
CREATE TABLE judging_streams (
    id TEXT PRIMARY KEY,
    generation TEXT NOT NULL,
    judges TEXT NOT NULL,
    tenant_id TEXT,
    next_ns BIGINT NOT NULL,
    until_ns BIGINT,
    planned BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);

-- Calls that are judged together and written as one batch. calls: JSON array of [tenant, start_ns, trace_id, span_id].
-- holder: who works on it, until expires_at. fence: how often it was taken.
CREATE TABLE judging_chunks (
    id TEXT PRIMARY KEY,
    stream_id TEXT NOT NULL,
    generation TEXT NOT NULL,
    judges TEXT NOT NULL,
    calls TEXT NOT NULL,
    planned_at BIGINT NOT NULL,
    holder TEXT,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX judging_chunks_free ON judging_chunks (generation, expires_at);

-- Calls that people are asked to label. subject, verdicts: JSON. label: NULL until somebody has labelled it. skipped_at: nobody will.
CREATE TABLE annotations (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    verdicts TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    label TEXT,
    score DOUBLE PRECISION,
    comment TEXT,
    annotator TEXT,
    labelled_at BIGINT,
    skipped_at BIGINT
);
CREATE UNIQUE INDEX annotations_call ON annotations (tenant_id, queue, trace_id, span_id);
CREATE INDEX annotations_open ON annotations (tenant_id, queue, created_at);
