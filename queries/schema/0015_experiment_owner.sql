-- Whose experiment a call took part in: `tenant` for one of its tenant's own, `shared` for one that all tenants share. A tenant may have one of each
-- by the same name. It comes from an attribute of spans that only the gateway can mark as calls; calls of before have an empty text.
-- The view is changed in place, so that no span is missed.
ALTER TABLE calls {on_cluster} ADD COLUMN IF NOT EXISTS experiment_owner LowCardinality(String);

ALTER TABLE spans_to_calls {on_cluster} MODIFY QUERY
SELECT
    tenant_id, start_time, trace_id, span_id, request_id, response_id, conversation_id, operation, key_id, route,
    request_model, response_model, provider, tier, prompt_name, prompt_version, experiment_name, experiment_variant,
    stream, http_status,
    multiIf(
        spans.error_type != '', spans.error_type,
        client_disconnected, 'client_disconnected',
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    finish_reasons[1] AS finish_reason,
    client_disconnected, duration_ns, ttft_ns, queue_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, cache_status,
    attempt AS attempts,
    cascade_decision, retention_days,
    toDecimal128OrZero(span_attributes['control_tower.cache.saved'], 12) AS cache_saved,
    toFloat64OrNull(span_attributes['control_tower.cascade.score']) AS cascade_score,
    span_attributes['control_tower.experiment.owner'] AS experiment_owner
FROM spans
WHERE record = 'call';
