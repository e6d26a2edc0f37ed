-- What judges that ask a model have spent, and with which keys they ask. In the SQL that SQLite and PostgreSQL share.

-- By judge and day, all evaluators together. day: days since the Unix epoch, UTC. picos: picodollars, reservations of calls on their way
-- included.
CREATE TABLE judge_spending (
    judge TEXT NOT NULL,
    day BIGINT NOT NULL,
    picos BIGINT NOT NULL,
    PRIMARY KEY (judge, day)
);

-- Ids of the keys with which evaluators ask models. One stays here when it is replaced: its calls were judges' calls all the same.
CREATE TABLE judge_keys (
    key_id TEXT PRIMARY KEY,
    noted_at BIGINT NOT NULL
);
