-- Judges, as name@version, that are not asked for a while: nobody answers them, or their budget is used up.
CREATE TABLE judge_pauses (
    judge TEXT PRIMARY KEY,
    until_at BIGINT NOT NULL,
    reason TEXT NOT NULL
);

-- finished_at: its verdicts are written; kept for a while, since other replicas may not show them yet. failures: how often it could not be
-- judged for a reason that lies in its calls.
ALTER TABLE judging_chunks ADD COLUMN finished_at BIGINT;
ALTER TABLE judging_chunks ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
