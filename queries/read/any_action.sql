-- Whether anything was said of an action in a range: a row or none.
-- Parameters: tenants; from_ms <= time < to_ms (milliseconds since the epoch).
SELECT 1 AS said
FROM actions
WHERE tenant_id IN {tenants:Array(String)}
  AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
LIMIT 1
