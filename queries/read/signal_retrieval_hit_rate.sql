-- Golden signal, retrieval hit rate: retrievals with at least one returned document that the answer used or that the truth set names /
-- retrievals. A document is used when it is the evidence of a supported claim (support of at least one half) of an answer in the same
-- trace, as the latest grounding verdict says; the truth set's ids are in the retrieval's attribute control_tower.truth.documents.
-- With a filter, only retrievals in the traces of calls that it picks; it begins with parts/picked_calls.sql.
-- Parameters: tenants; from_ms <= start < to_ms (milliseconds since the epoch); filtered and the filter of picked_calls.sql.
-- Units: spans; the signal is hits / of; known is how many of them have a verdict or a truth to be held against.
,
retrieved AS
(
    SELECT
        tenant_id, trace_id,
        arrayMap(document -> JSONExtractString(document, 'id'), JSONExtractArrayRaw(retrieval_documents)) AS documents,
        JSONExtract(span_attributes['control_tower.truth.documents'], 'Array(String)') AS named
    FROM spans
    WHERE tenant_id IN {tenants:Array(String)}
      AND start_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND start_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND operation = 'retrieval'
      AND (NOT {filtered:Bool} OR (tenant_id, trace_id) IN (SELECT tenant_id, trace_id FROM picked))
),
verdicts AS
(
    SELECT tenant_id, trace_id, span_id, argMax(details, judged_at) AS found
    FROM evaluations
    WHERE tenant_id IN {tenants:Array(String)}
      AND call_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') - INTERVAL 1 DAY
      AND call_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') + INTERVAL 1 DAY
      AND judge = 'grounding' AND source = '' AND trace_id IN (SELECT trace_id FROM retrieved)
    GROUP BY tenant_id, trace_id, span_id
),
used AS
(
    SELECT
        tenant_id, trace_id, 1 AS is_judged,
        groupUniqArrayArray(arrayMap(
            passage -> JSONExtractString(passage, 'id'),
            arrayFilter(
                passage -> has(
                    arrayMap(
                        claim -> JSONExtractInt(claim, 'evidence', 'passage'),
                        arrayFilter(
                            claim -> JSONExtractFloat(claim, 'support') >= 0.5 AND JSONType(claim, 'evidence') = 'Object',
                            JSONExtractArrayRaw(found, 'claims'))),
                    JSONExtractInt(passage, 'index')),
                JSONExtractArrayRaw(found, 'passages')))) AS documents
    FROM verdicts
    GROUP BY tenant_id, trace_id
)
SELECT
    countIf(hasAny(arrayFilter(id -> id != '', retrieved.documents), arrayConcat(retrieved.named, used.documents))) AS hits,
    count() AS of,
    countIf(used.is_judged = 1 OR notEmpty(retrieved.named)) AS known
FROM retrieved
LEFT JOIN used ON used.tenant_id = retrieved.tenant_id AND used.trace_id = retrieved.trace_id
