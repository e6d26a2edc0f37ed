-- The arms of an experiment: count, mean and spread of each metric by variant, for comparison. A unit is a trace: what its calls share is one observation.
-- A judge's score of a call is that of its newest verdict.
-- Tenants are kept apart: a trace, key or name of one says nothing of another's that is called the same.
-- Traces that saw more than one variant are left out and counted as metric 'mixed' of the variant ''. Useful actions are taken by their newest statement,
-- whenever it came; one with a value is useful when the value is more than 0. An action counts for every trace that it names, or that a response or request that it names belongs to.
-- Feedback is taken by its newest statement too; the scores on one trace, or on its responses and requests, are one observation, their mean.
-- Of cost_usd, `actions_*` say how the useful actions of the same units lie beside it, for the ratio of the two; they are 0 for the others.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); name (of the experiment); owner ('tenant': the tenants' own of that
-- name, 'shared': the one that all share, '': either); apart_from (tenants whose calls of which nobody knows the owner belong to the other one);
-- parts, part (of so many parts of all traces the one with this number, from 0: a trace is in one of them, so what they yield can be added up).
-- Units: cost_usd US dollars (floats: for statistics, not for accounts), latency_ms milliseconds, the others as their names say; `m2`, `actions_m2`
-- and `actions_co` sums of squares and products of what each unit differs from the mean.
-- Memory is what matters here, some hundred bytes a trace: keys are hashes of 128 bits, variants and judges their places in lists, and all that is
-- known of a trace is added up in one pass.
WITH
    taking_part AS
    (
        SELECT tenant_id, trace_id, response_id, request_id, experiment_variant, cost_total, error_type, duration_ns
        FROM calls
        WHERE tenant_id IN {tenants:Array(String)}
          AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND experiment_name = {name:String} AND experiment_variant != ''
          AND ({owner:String} = '' OR experiment_owner = {owner:String}
              OR (experiment_owner = '' AND tenant_id NOT IN {apart_from:Array(String)}))
    ),
    mine AS
    (
        SELECT *, sipHash128(tenant_id, trace_id) AS unit
        FROM taking_part
        WHERE sipHash64(trace_id) % {parts:UInt32} = {part:UInt32}
    ),
    (SELECT groupUniqArray(toString(experiment_variant)) FROM taking_part) AS variants,
    (
        SELECT groupUniqArray(toString(judge)) FROM evaluations
        WHERE tenant_id IN {tenants:Array(String)} AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND source = ''
    ) AS judges,
    verdicts AS
    (
        SELECT
            any(sipHash128(tenant_id, trace_id)) AS unit,
            any(toString(judge)) AS judge_name,
            argMax(ifNull(score, nan), concat(leftPad(toString(toUnixTimestamp64Nano(judged_at)), 20, '0'), version)) AS last_score
        FROM evaluations
        WHERE tenant_id IN {tenants:Array(String)}
          AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND source = ''
          AND sipHash64(trace_id) % {parts:UInt32} = {part:UInt32}
          AND sipHash128(tenant_id, trace_id) IN (SELECT unit FROM mine)
        GROUP BY sipHash128(tenant_id, trace_id, span_id, judge)
    ),
    names AS
    (
        SELECT
            unit,
            arrayJoin([sipHash128(tenant_id, 'trace', trace_id), sipHash128(tenant_id, 'response', response_id), sipHash128(tenant_id, 'response', request_id)]) AS name
        FROM mine
    ),
    links AS
    (
        SELECT sipHash128(tenant_id, toString(kind), id) AS name, sipHash128(tenant_id, event_id) AS event
        FROM action_links
        WHERE tenant_id IN {tenants:Array(String)} AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND sipHash128(tenant_id, toString(kind), id) IN (SELECT name FROM names)
    ),
    said AS
    (
        SELECT
            sipHash64('action', tenant_id, outcome_id) AS statement,
            argMax(sipHash128(tenant_id, event_id), place) AS event,
            argMax(outcome = 'useful' OR (outcome = 'value' AND value > 0), place) AS is_useful
        FROM
        (
            SELECT
                tenant_id, outcome_id, event_id, outcome, value,
                concat(leftPad(toString(toUnixTimestamp64Nano(received)), 20, '0'), event_id) AS place
            FROM actions
            WHERE tenant_id IN {tenants:Array(String)} AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        )
        GROUP BY statement
        HAVING is_useful AND event IN (SELECT event FROM links)
    ),
    rated AS
    (
        SELECT
            sipHash64('feedback', tenant_id, outcome_id) AS statement,
            argMax(if(response_id != '', sipHash128(tenant_id, 'response', response_id), sipHash128(tenant_id, 'trace', trace_id)), place) AS name,
            argMax(ifNull(score, nan), place) AS last_score
        FROM
        (
            SELECT
                tenant_id, outcome_id, response_id, trace_id, score,
                concat(leftPad(toString(toUnixTimestamp64Nano(received)), 20, '0'), event_id) AS place
            FROM feedback
            WHERE tenant_id IN {tenants:Array(String)} AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
        )
        GROUP BY statement
        HAVING NOT isNaN(last_score) AND name IN (SELECT name FROM names)
    ),
    statements AS
    (
        SELECT links.name AS name, said.statement AS statement, nan AS score
        FROM links
        INNER JOIN said ON links.event = said.event
        UNION ALL
        SELECT name, statement, last_score AS score FROM rated
    ),
    facts AS
    (
        SELECT
            unit,
            toUInt16(indexOf(variants, experiment_variant)) AS least, least AS most,
            toUInt32(1) AS calls, cost_total AS cost, toUInt8(error_type != '') AS failed, duration_ns,
            toUInt32(0) AS actions, toUInt32(0) AS scores, toFloat64(0) AS score, toUInt16(0) AS judge, toFloat64(0) AS verdict
        FROM mine
        UNION ALL
        SELECT
            unit, 65535, 0, 0, toDecimal128(0, 12), 0, 0,
            toUInt32(countIf(isNaN(said_score))), toUInt32(countIf(NOT isNaN(said_score))), sumIf(said_score, NOT isNaN(said_score)), 0, 0
        FROM
        (
            SELECT unit, statement, any(score) AS said_score
            FROM names
            INNER JOIN statements ON names.name = statements.name
            GROUP BY unit, statement
        )
        GROUP BY unit
        UNION ALL
        SELECT unit, 65535, 0, 0, toDecimal128(0, 12), 0, 0, 0, 0, 0, toUInt16(indexOf(judges, judge_name)), avg(last_score)
        FROM verdicts
        WHERE NOT isNaN(last_score)
        GROUP BY unit, judge_name
    )
SELECT
    variant, metric, count() AS units, avg(value) AS mean, varPop(value) * units AS m2,
    avg(beside) AS actions_mean, varPop(beside) * units AS actions_m2, covarPop(value, beside) * units AS actions_co
FROM
(
    SELECT
        if(least = most, variants[most], '') AS variant,
        arrayJoin(if(
            least = most,
            arrayConcat(
                [('cost_usd', cost, actions), ('error_rate', failed, 0.), ('latency_ms', latency, 0.), ('useful_actions', actions, 0.)],
                if(scores > 0, [('feedback', score / scores, 0.)], []),
                arrayMap(said -> (judges[said.1], said.2, 0.), verdicts_said)),
            [('mixed', 0., 0.)])) AS told,
        told.1 AS metric, told.2 AS value, told.3 AS beside
    FROM
    (
        SELECT
            unit, min(facts.least) AS least, max(if(facts.most = 65535, 0, facts.most)) AS most,
            toFloat64(sum(facts.cost)) AS cost, toFloat64(max(facts.failed)) AS failed,
            sum(facts.duration_ns) / sum(facts.calls) / 1e6 AS latency,
            toFloat64(sum(facts.actions)) AS actions, sum(facts.scores) AS scores, sum(facts.score) AS score,
            groupArrayIf((facts.judge, facts.verdict), facts.judge > 0) AS verdicts_said
        FROM facts
        GROUP BY unit
        HAVING most > 0
    )
)
GROUP BY variant, metric
