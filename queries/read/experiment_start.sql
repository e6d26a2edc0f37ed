-- When an experiment began: its first call that is there, and for how many days its calls are kept.
-- Parameters: tenants; name (of the experiment).
-- Units: start_ms milliseconds since the epoch; calls 0 when there is none.
SELECT count() AS calls, toUnixTimestamp64Milli(min(start_time)) AS start_ms, min(retention_days) AS days
FROM calls
WHERE tenant_id IN {tenants:Array(String)} AND experiment_name = {name:String} AND experiment_variant != ''
