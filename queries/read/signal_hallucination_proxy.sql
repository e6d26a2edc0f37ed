-- Golden signal, hallucination proxy: probability that an answer contains content that its context does not support, by the calibrated detector;
-- the mean over judged answers. Of several versions of the judge the latest verdict of a call counts; calls for which the judge does not
-- apply (no context, no answer) have no score and are not in it.
-- With a filter, only calls that it picks; it begins with parts/picked_calls.sql.
-- Parameters: tenants; from_ms <= start < to_ms of the judged call (milliseconds since the epoch); filtered and the filter of picked_calls.sql.
-- Units: total is the sum of scores, 0 to 1 each; the signal is total / of; of counts judged answers.
SELECT ifNull(sum(said), 0) AS total, count(said) AS of
FROM
(
    SELECT argMax(tuple(score), judged_at).1 AS said
    FROM evaluations
    WHERE tenant_id IN {tenants:Array(String)}
      AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND judge = 'hallucination' AND source = ''
      AND (NOT {filtered:Bool} OR (tenant_id, trace_id, span_id) IN (SELECT tenant_id, trace_id, span_id FROM picked))
    GROUP BY tenant_id, trace_id, span_id
)
