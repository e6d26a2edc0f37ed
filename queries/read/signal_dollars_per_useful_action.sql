-- Golden signal, dollars per useful action: all cost of the calls tied to actions (attempts, cascades, caches, embeddings, judging) / actions
-- whose outcome is useful. Tied are all calls of the traces that an action names or whose answers it names; a call tied to several
-- actions counts once. An action is useful when its outcome is useful or a value above zero; actions of which no call is known count
-- nowhere. With a filter, calls that it does not pick are not tied. It begins with parts/picked_calls.sql and parts/served_actions.sql.
-- Parameters: tenants; from_ms <= time of the action < to_ms (milliseconds since the epoch); filtered and the filter of picked_calls.sql.
-- Units: cost US dollars; the signal is cost / useful.
,
tied AS
(
    SELECT current.tenant_id AS tenant_id, current.outcome_id AS outcome_id, current.said.4 AS outcome, current.said.5 AS value,
           served.trace_id AS trace_id, served.span_id AS span_id, served.calls_cost AS calls_cost, judged.judges_cost AS judges_cost
    FROM current
    INNER JOIN served ON served.tenant_id = current.tenant_id AND served.event_id = current.said.1
    LEFT JOIN judged ON judged.tenant_id = served.tenant_id AND judged.trace_id = served.trace_id AND judged.span_id = served.span_id
    WHERE (current.said.6 != 'refuse' OR served.start_time <= current.said.7)
      AND (NOT {filtered:Bool} OR (served.tenant_id, served.trace_id, served.span_id) IN (SELECT tenant_id, trace_id, span_id FROM picked))
)
SELECT
    sumIf(calls_cost + judges_cost, is_first) AS cost,
    uniqExactIf((tenant_id, outcome_id), outcome = 'useful' OR (outcome = 'value' AND value > 0)) AS useful,
    uniqExact((tenant_id, outcome_id)) AS actions
FROM (SELECT *, row_number() OVER (PARTITION BY tenant_id, trace_id, span_id ORDER BY outcome_id) = 1 AS is_first FROM tied)
