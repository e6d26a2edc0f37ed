-- The arms of an experiment: count, mean and variance of each metric by variant, for comparison. A unit is a trace: what its calls share is one observation.
-- A judge's score of a call is that of its newest verdict.
-- Tenants are kept apart: a trace, key or name of one says nothing of another's that is called the same.
-- Traces that saw more than one variant are left out and counted as metric 'mixed' of the variant ''. Useful actions are taken by their newest statement,
-- whenever it came; one with a value is useful when the value is more than 0. An action counts for every trace that it names, or that a response or request that it names belongs to.
-- Feedback is taken by its newest statement too; the scores on one trace, or on its responses and requests, are one observation, their mean.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); name (of the experiment).
-- Units: cost_usd and usd_per_useful_action US dollars (floats: for statistics, not for accounts), latency_ms milliseconds, the others as their names say.
WITH
    seen AS
    (
        SELECT
            tenant_id,
            trace_id,
            uniqExact(experiment_variant) AS variants,
            any(experiment_variant) AS variant,
            toFloat64(sum(cost_total)) AS cost,
            toFloat64(max(error_type != '')) AS failed,
            avg(duration_ns) / 1e6 AS latency
        FROM calls
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND experiment_name = {name:String} AND experiment_variant != ''
        GROUP BY tenant_id, trace_id
    ),
    names AS
    (
        SELECT DISTINCT tenant_id, trace_id, pair.1 AS kind, pair.2 AS id
        FROM calls
        ARRAY JOIN [('trace', trace_id), ('response', response_id), ('response', request_id)] AS pair
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND experiment_name = {name:String} AND pair.2 != ''
    ),
    said AS
    (
        SELECT
            tenant_id,
            outcome_id,
            argMax(event_id, (received, event_id)) AS last_event,
            argMax(outcome, (received, event_id)) AS last_outcome,
            argMax(value, (received, event_id)) AS last_value
        FROM actions
        WHERE tenant_id IN {tenants:Array(String)} AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        GROUP BY tenant_id, outcome_id
        HAVING last_outcome = 'useful' OR (last_outcome = 'value' AND last_value > 0)
    ),
    useful AS
    (
        SELECT names.tenant_id AS tenant_id, names.trace_id AS trace_id, toFloat64(uniqExact(said.outcome_id)) AS actions
        FROM action_links
        INNER JOIN said ON action_links.tenant_id = said.tenant_id AND action_links.event_id = said.last_event
        INNER JOIN names ON action_links.tenant_id = names.tenant_id AND action_links.kind = names.kind AND action_links.id = names.id
        WHERE action_links.tenant_id IN {tenants:Array(String)}
          AND action_links.time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        GROUP BY names.tenant_id, names.trace_id
    ),
    rated AS
    (
        SELECT tenant_id, if(last.1 != '', 'response', 'trace') AS kind, if(last.1 != '', last.1, last.2) AS id, assumeNotNull(last.3) AS score
        FROM
        (
            SELECT tenant_id, outcome_id, argMax((response_id, trace_id, score), (received, event_id)) AS last
            FROM feedback
            WHERE tenant_id IN {tenants:Array(String)} AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            GROUP BY tenant_id, outcome_id
        )
        WHERE last.3 IS NOT NULL
    ),
    units AS
    (
        SELECT seen.tenant_id AS tenant_id, seen.trace_id AS trace_id, variant, cost, failed, latency, useful.actions AS actions
        FROM seen
        LEFT JOIN useful ON seen.tenant_id = useful.tenant_id AND seen.trace_id = useful.trace_id
        WHERE variants = 1
    )
SELECT variant, metric, count() AS units, avg(value) AS mean, if(count() > 1, varSamp(value), 0) AS variance
FROM
(
    SELECT variant, pair.1 AS metric, pair.2 AS value
    FROM units
    ARRAY JOIN [('cost_usd', cost), ('error_rate', failed), ('latency_ms', latency), ('useful_actions', actions)] AS pair
    UNION ALL
    SELECT variant, 'feedback' AS metric, value
    FROM units
    INNER JOIN
    (
        SELECT names.tenant_id AS tenant_id, names.trace_id AS trace_id, avg(rated.score) AS value
        FROM names
        INNER JOIN rated ON names.tenant_id = rated.tenant_id AND names.kind = rated.kind AND names.id = rated.id
        GROUP BY names.tenant_id, names.trace_id
    ) AS liked ON units.tenant_id = liked.tenant_id AND units.trace_id = liked.trace_id
    UNION ALL
    SELECT variant, metric, value
    FROM units
    INNER JOIN
    (
        SELECT tenant_id, trace_id, metric, avg(assumeNotNull(last_score.1)) AS value
        FROM
        (
            SELECT tenant_id, trace_id, toString(judge) AS metric, argMax(tuple(score), (judged_at, version)) AS last_score
            FROM evaluations
            WHERE tenant_id IN {tenants:Array(String)}
              AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
              AND source = ''
            GROUP BY tenant_id, trace_id, span_id, judge
        )
        WHERE last_score.1 IS NOT NULL
        GROUP BY tenant_id, trace_id, metric
    ) AS judged ON units.tenant_id = judged.tenant_id AND units.trace_id = judged.trace_id
)
GROUP BY variant, metric
UNION ALL
SELECT
    variant, 'usd_per_useful_action' AS metric, count() AS units,
    sum(cost) / sum(actions) AS mean,
    if(count() > 1, greatest(0, varSamp(cost) + mean * mean * varSamp(actions) - 2 * mean * covarSamp(cost, actions)) / (avg(actions) * avg(actions)), 0) AS variance
FROM units
GROUP BY variant
HAVING sum(actions) > 0
UNION ALL
SELECT '' AS variant, 'mixed' AS metric, count() AS units, 0 AS mean, 0 AS variance
FROM seen
WHERE variants > 1
