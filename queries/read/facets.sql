-- Values that the filters can take within a range, by how many calls have them, most frequent first: models, routes, keys.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch; the whole hours that the range touches count);
-- top (how many of each kind at most).
-- Units: names; kind is model, route or key.
SELECT kind, name
FROM facets_hour
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= toStartOfHour(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
  AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
GROUP BY kind, name
ORDER BY kind, sum(calls) DESC, name
LIMIT {top:UInt32} BY kind
