-- Feedback of a range by the groups of outcomes: how much, and what scores. Of the statements of one outcome the last received counts; of
-- feedback on a trace, the trace's last call gives the group. Feedback of which no call is known is in a group of its own, where known = 0.
-- Parameters: tenants; from_ms <= time < to_ms (milliseconds since the epoch).
-- Units: score is the sender's own; scored says how many had one.
WITH
current AS
(
    SELECT tenant_id, outcome_id, argMax((time, trace_id, span_id, response_id, score, label, unknown, received), (received, event_id)) AS said
    FROM feedback
    WHERE tenant_id IN {tenants:Array(String)}
      AND time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
    GROUP BY tenant_id, outcome_id
    HAVING said.1 >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND said.1 < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
),
candidates AS
(
    SELECT *
    FROM calls
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 31 DAY
      AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 31 DAY
      AND (trace_id IN (SELECT said.2 FROM current WHERE said.2 != '') OR response_id IN (SELECT said.4 FROM current WHERE said.4 != '')
           OR request_id IN (SELECT said.4 FROM current WHERE said.4 != ''))
),
placed AS
(
    SELECT
        keyed.tenant_id AS tenant_id, keyed.outcome_id AS outcome_id, any(keyed.said) AS said,
        argMax((found.route, found.request_model, found.prompt_name, found.prompt_version, found.experiment_name, found.experiment_variant),
               (found.span_id != '' AND found.span_id = keyed.said.3, found.start_time)) AS call,
        countIf(found.span_id != '' AND (keyed.said.7 != 'refuse' OR found.start_time <= keyed.said.8)) > 0 AS known
    FROM (SELECT *, if(said.4 != '', said.4, said.2) AS id FROM current) AS keyed
    LEFT JOIN (SELECT *, arrayJoin(arrayDistinct([trace_id, response_id, request_id])) AS id FROM candidates) AS found
        ON found.tenant_id = keyed.tenant_id AND found.id = keyed.id
    GROUP BY tenant_id, outcome_id
)
SELECT
    tenant_id,
    call.1 AS route, call.2 AS model, call.3 AS prompt_name, call.4 AS prompt_version, call.5 AS experiment, call.6 AS variant,
    known,
    count() AS feedback,
    countIf(said.5 IS NOT NULL) AS scored,
    ifNull(sum(said.5), 0) AS score_sum
FROM placed
GROUP BY tenant_id, route, model, prompt_name, prompt_version, experiment, variant, known
ORDER BY tenant_id, route, model, prompt_name, prompt_version, experiment, variant, known
