-- When a call ended, for whoever follows calls as they come: a call is written at its end, which for a long stream is long after its start.
-- A duration of more than a day counts as a day. Within a part rows lie by their start, so the index finds the granules that hold an end.
ALTER TABLE calls {on_cluster} ADD COLUMN IF NOT EXISTS ended_at DateTime64(9, 'UTC')
DEFAULT fromUnixTimestamp64Nano(toUnixTimestamp64Nano(start_time) + toInt64(least(duration_ns, 86400000000000)), 'UTC')
CODEC(Delta(8), ZSTD(1));

ALTER TABLE calls {on_cluster} ADD INDEX IF NOT EXISTS by_end ended_at TYPE minmax GRANULARITY 1;
