-- Which materialized views does this database have? Their names.
-- Parameters: none.
SELECT name FROM system.tables
WHERE database = currentDatabase() AND engine = 'MaterializedView'
ORDER BY name
