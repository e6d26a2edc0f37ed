-- Does ClickHouse answer? One row, 1.
-- Parameters: none.
SELECT 1
