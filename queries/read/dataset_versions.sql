-- Versions of datasets, newest first: what `eval dataset list` shows and a name resolves to.
-- Parameters: tenants; name ('' any).
-- Units: created_ns nanoseconds since the epoch.
SELECT name, version, any(rows) AS row_count, max(toUnixTimestamp64Nano(created_at)) AS created_ns, argMax(origin, created_at) AS origin
FROM dataset_versions
WHERE tenant_id IN {tenants:Array(String)} AND ({name:String} = '' OR name = {name:String})
GROUP BY tenant_id, name, version
ORDER BY created_ns DESC, name, version
