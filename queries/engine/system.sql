-- Catalogue entry of the `system` database, written into a new data directory so that it has a place on disk.
-- Parameters: none.
ATTACH DATABASE _ UUID '5f2c1c62-6d0a-4f9e-8a55-0c7e6b1f2a90'
ENGINE = Atomic
