-- How many materialized views does this database have?
-- Parameters: none.
SELECT count() FROM system.tables
WHERE database = currentDatabase() AND engine = 'MaterializedView'
