-- Which migrations this database has seen. Created before any of them; a row a migration, the same row twice does no harm.
CREATE TABLE IF NOT EXISTS schema_migrations {on_cluster}
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = {replicated}MergeTree
ORDER BY version;
