-- The rows of a version, in order, each once however often it was written.
-- Parameters: tenants; version (SHA-256, hex); from_position <= position < to_position.
SELECT row
FROM dataset_rows
WHERE tenant_id IN {tenants:Array(String)}
  AND version = {version:String}
  AND position >= {from_position:UInt64} AND position < {to_position:UInt64}
ORDER BY position
LIMIT 1 BY position
