-- Values that the filters can take within a range, by how many calls have them, most frequent first: models, routes, keys.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); top (how many of each at most).
-- Units: names.
SELECT
    topKIf({top:UInt32})(toString(request_model), request_model != '') AS models,
    topKIf({top:UInt32})(toString(route), route != '') AS routes,
    topKIf({top:UInt32})(toString(key_id), key_id != '') AS keys
FROM calls
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
