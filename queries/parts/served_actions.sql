-- What was said of actions in a range, and the calls that served them with what judging those cost: `current`, `served` and `judged`, with
-- which the report of outcomes and the golden signal both begin, so that their figures cannot part.
-- Of the statements of one outcome the last received counts; those up to 31 days around the range are looked at, and calls that
-- started up to 31 days around it. A call is direct when the action names it or its trace; the other calls of the traces of named
-- answers are not.
-- What several expressions ask for is gathered once, as arrays: an expression that is named in WITH is worked out again wherever it is asked.
-- Calls are read of tenants that have such actions only, once by each kind of id (for either an index exists, for both at once none).
-- Parameters: tenants; from_ms <= time < to_ms (milliseconds since the epoch).
-- Units: money US dollars; weight millionths.
current AS
(
    SELECT
        tenant_id, outcome_id,
        argMax((event_id, time, name, outcome, value, unknown, received), (received, event_id)) AS said
    FROM actions
    WHERE tenant_id IN {tenants:Array(String)}
      AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
    GROUP BY tenant_id, outcome_id
    HAVING said.2 >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND said.2 < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
),
links AS
(
    SELECT tenant_id, event_id, kind, id, max(weight) AS weight
    FROM action_links
    WHERE tenant_id IN {tenants:Array(String)}
      AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND (tenant_id, event_id) IN (SELECT tenant_id, said.1 FROM current)
    GROUP BY tenant_id, event_id, kind, id
),
(SELECT groupUniqArray(tenant_id) FROM links) AS tenant_ids,
(SELECT groupUniqArray(id) FROM links WHERE kind = 'response') AS response_ids,
named AS
(
    SELECT tenant_id, trace_id, span_id, response_id AS id
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)} AND tenant_id IN (SELECT arrayJoin(tenant_ids))
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
      AND notEmpty(response_ids) AND response_id IN (SELECT arrayJoin(response_ids))
    UNION ALL
    SELECT tenant_id, trace_id, span_id, request_id AS id
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)} AND tenant_id IN (SELECT arrayJoin(tenant_ids))
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
      AND notEmpty(response_ids) AND request_id IN (SELECT arrayJoin(response_ids))
),
-- (tenant, event, trace, span or '' for all of the trace, direct, weight)
(
    SELECT groupArray((tenant_id, event_id, trace_id, span_id, direct, weight))
    FROM
    (
        SELECT tenant_id, event_id, trace_id, span_id, max(direct) AS direct, max(weight) AS weight
        FROM
        (
            -- All calls of a trace that is named.
            SELECT tenant_id, event_id, id AS trace_id, '' AS span_id, 1 AS direct, weight FROM links WHERE kind = 'trace'
            UNION ALL
            -- The call that is named, by its answer or its request; and the others of its trace.
            SELECT links.tenant_id, links.event_id, named.trace_id, way.1, way.2, way.3
            FROM links
            INNER JOIN named ON named.tenant_id = links.tenant_id AND named.id = links.id
            ARRAY JOIN [(named.span_id, 1, links.weight), ('', 0, 1000000)] AS way
            WHERE links.kind = 'response'
        )
        GROUP BY tenant_id, event_id, trace_id, span_id
    )
) AS tied_traces,
traces AS
(
    SELECT tie.1 AS tenant_id, tie.2 AS event_id, tie.3 AS trace_id, tie.4 AS span_id, tie.5 AS direct, tie.6 AS weight
    FROM (SELECT arrayJoin(tied_traces) AS tie)
),
(SELECT groupUniqArray(trace_id) FROM traces) AS trace_ids,
served AS
(
    SELECT
        traces.tenant_id AS tenant_id, traces.event_id AS event_id, calls.trace_id AS trace_id, calls.span_id AS span_id,
        max(traces.direct) AS direct,
        if(countIf(traces.span_id != '') > 0, maxIf(traces.weight, traces.span_id != ''), max(traces.weight)) AS weight,
        any(calls.start_time) AS start_time, any(calls.operation) AS operation, any(calls.route) AS route,
        any(calls.request_model) AS model, any(calls.prompt_name) AS prompt_name, any(calls.prompt_version) AS prompt_version,
        any(calls.experiment_name) AS experiment, any(calls.experiment_variant) AS variant,
        any(calls.cost_total) AS calls_cost, any(calls.cost_cache) AS cache_cost
    FROM traces
    INNER JOIN
    (
        SELECT *
        FROM calls
        WHERE tenant_id IN {tenants:Array(String)} AND tenant_id IN (SELECT arrayJoin(tenant_ids))
          AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
          AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
          AND notEmpty(trace_ids)
          AND trace_id IN (SELECT arrayJoin(trace_ids))
    ) AS calls ON calls.tenant_id = traces.tenant_id AND calls.trace_id = traces.trace_id
    WHERE traces.span_id IN ('', calls.span_id)
    GROUP BY tenant_id, event_id, trace_id, span_id
),
judged AS
(
    SELECT tenant_id, trace_id, span_id, sum(cost) AS judges_cost
    FROM
    (
        -- Verdicts of one judge on one call differ by when they were reached; one that was written twice has the same.
        SELECT tenant_id, trace_id, span_id, judge, version, judged_at, max(cost) AS cost
        FROM evaluations
        WHERE tenant_id IN {tenants:Array(String)} AND tenant_id IN (SELECT arrayJoin(tenant_ids)) AND source = ''
          AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
          AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
          AND notEmpty(trace_ids)
          AND trace_id IN (SELECT arrayJoin(trace_ids))
        GROUP BY tenant_id, trace_id, span_id, judge, version, judged_at
    )
    GROUP BY tenant_id, trace_id, span_id
)
