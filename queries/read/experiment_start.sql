-- When an experiment began: its first call that is there, and for how many days its calls are kept.
-- Parameters: tenants; name (of the experiment); owner, apart_from (as for the query of its arms).
-- Units: start_ms milliseconds since the epoch; calls 0 when there is none; owners 2 where a tenant's own and a shared experiment have that name.
SELECT
    count() AS calls, toUnixTimestamp64Milli(min(start_time)) AS start_ms, min(retention_days) AS days,
    uniqExactIf(experiment_owner, experiment_owner != '') AS owners
FROM calls
WHERE tenant_id IN {tenants:Array(String)} AND experiment_name = {name:String} AND experiment_variant != ''
  AND ({owner:String} = '' OR experiment_owner = {owner:String}
      OR (experiment_owner = '' AND tenant_id NOT IN {apart_from:Array(String)}))
