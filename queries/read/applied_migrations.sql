-- Which migrations has this database seen? Number, name and checksum of each; more than one row of a number only when the
-- binaries that applied it disagree about its text.
-- Parameters: none.
SELECT DISTINCT version, name, checksum
FROM schema_migrations
ORDER BY version, checksum
