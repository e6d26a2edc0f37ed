-- The results of a run, each row and repetition once.
-- Parameters: tenants; run; after_row, after_repeat (the last that was read; '' and 0 for the first page); rows (how many).
-- Units: at_ns nanoseconds since the epoch, latency_ms milliseconds, costs US dollars.
SELECT
    row_id, repeat, toUnixTimestamp64Nano(at) AS at_ns, trace_id, request_ids, model, answer, error, latency_ms, cost, cost_judges, slices,
    scores.judge AS judge, scores.version AS judge_version, scores.score AS score, scores.label AS label, scores.explanation AS explanation
FROM eval_results
WHERE tenant_id IN {tenants:Array(String)} AND run_id = {run:String}
  AND (row_id, repeat) > ({after_row:String}, {after_repeat:UInt32})
ORDER BY row_id, repeat
LIMIT 1 BY row_id, repeat
LIMIT {rows:UInt32}
