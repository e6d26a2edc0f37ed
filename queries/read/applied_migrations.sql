-- Which migrations has this database seen? One row each: number, name, checksum of its text.
-- Parameters: none. A migration that two processes applied at once has two rows; they say the same.
SELECT version, any(schema_migrations.name) AS name, any(schema_migrations.checksum) AS checksum
FROM schema_migrations
GROUP BY version
ORDER BY version
