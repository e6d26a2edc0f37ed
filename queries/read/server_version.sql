-- The version that the engine or server reports, such as 26.7.3.1.
-- Parameters: none.
SELECT version()
