-- Runs over truth sets as they stand, newest first.
-- Parameters: tenants; run ('' any: otherwise this one).
-- Units: *_ns nanoseconds since the epoch, costs US dollars.
SELECT
    run_id,
    argMax(toUnixTimestamp64Nano(started_at), ended_at) AS started_ns,
    toUnixTimestamp64Nano(max(ended_at)) AS ended_ns,
    argMax(dataset, ended_at) AS dataset,
    argMax(version, ended_at) AS version,
    argMax(target, ended_at) AS target,
    argMax(judges, ended_at) AS judges,
    argMax(repeat, ended_at) AS repeat,
    argMax(state, ended_at) AS state,
    argMax(planned, ended_at) AS planned,
    argMax(results, ended_at) AS results,
    argMax(errors, ended_at) AS errors,
    argMax(cost, ended_at) AS cost,
    argMax(cost_lost, ended_at) AS cost_lost,
    argMax(cost_judges, ended_at) AS cost_judges
FROM eval_runs
WHERE tenant_id IN {tenants:Array(String)} AND ({run:String} = '' OR run_id = {run:String})
GROUP BY tenant_id, run_id
ORDER BY started_ns DESC
LIMIT 1000
