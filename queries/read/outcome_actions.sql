-- Each action of a range with each call that served it: one row a pair, and one row without a call for an action of which no call is known.
-- It begins with parts/served_actions.sql, which says what is found how. Where unknown = refuse, calls that started after the
-- statement was received do not count.
-- Parameters: tenants; from_ms <= time < to_ms (milliseconds since the epoch).
-- Units: money US dollars; weight millionths; time_ns, start_ns nanoseconds since the epoch; calls_cost is all of the call, of which
-- retries_cost went to attempts before the last one; judges_cost is what judging the call cost.
,
tried AS
(
    SELECT tenant_id, trace_id, call_span_id AS span_id, sum(cost_total) - argMax(cost_total, attempt) AS retries_cost
    FROM attempts
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 32 DAY
      AND trace_id IN (SELECT arrayJoin(trace_ids))
    GROUP BY tenant_id, trace_id, span_id
)
SELECT
    current.tenant_id AS tenant_id, current.outcome_id AS outcome_id,
    toUnixTimestamp64Nano(current.said.2) AS time_ns,
    current.said.3 AS name, current.said.4 AS outcome, current.said.5 AS value,
    current.said.6 = 'refuse' AS refuses,
    served.trace_id AS trace_id, served.span_id AS span_id,
    toUnixTimestamp64Nano(served.start_time) AS start_ns,
    toUnixTimestamp64Nano(current.said.7) AS received_ns,
    served.direct = 1 AS direct,
    served.weight AS weight,
    served.operation AS operation, served.route AS route, served.model AS model, served.prompt_name AS prompt_name,
    served.prompt_version AS prompt_version, served.experiment AS experiment, served.variant AS variant,
    served.calls_cost AS calls_cost, served.cache_cost AS cache_cost,
    tried.retries_cost AS retries_cost,
    judged.judges_cost AS judges_cost
FROM current
LEFT JOIN served ON served.tenant_id = current.tenant_id AND served.event_id = current.said.1
LEFT JOIN judged ON judged.tenant_id = served.tenant_id AND judged.trace_id = served.trace_id AND judged.span_id = served.span_id
LEFT JOIN tried ON tried.tenant_id = served.tenant_id AND tried.trace_id = served.trace_id AND tried.span_id = served.span_id
ORDER BY tenant_id, outcome_id, start_ns, trace_id, span_id
