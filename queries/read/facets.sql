-- Values that the filters can take within a range, by how many calls have them, most frequent first: models, routes, keys.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch; models and routes are those of its whole hours);
-- top (how many of each at most).
-- Units: names.
SELECT models, routes, keys
FROM
(
    SELECT groupArray(toString(name)) AS models
    FROM
    (
        SELECT request_model AS name
        FROM usage_hour
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= toStartOfHour(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND name != ''
        GROUP BY name
        ORDER BY sum(calls) DESC, name
        LIMIT {top:UInt32}
    )
) AS by_models,
(
    SELECT groupArray(toString(name)) AS routes
    FROM
    (
        SELECT route AS name
        FROM usage_hour
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= toStartOfHour(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND name != ''
        GROUP BY name
        ORDER BY sum(calls) DESC, name
        LIMIT {top:UInt32}
    )
) AS by_routes,
(
    SELECT groupArray(toString(name)) AS keys
    FROM
    (
        SELECT key_id AS name
        FROM calls
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND name != ''
        GROUP BY name
        ORDER BY count() DESC, name
        LIMIT {top:UInt32}
    )
) AS by_keys
