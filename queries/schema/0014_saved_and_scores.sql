-- What the answer cache saved a call, and how sure a cascade was of an answer: of each attempt, and of the one that the call was answered with.
-- `cache_saved`: US dollars that the call would have cost, zero where a model was asked. `cascade_score`: probability that the answer is
-- acceptable, absent where nobody judged it. Both come from attributes of spans that only the gateway can mark as calls and attempts.
-- Calls of before have neither. Views are changed in place, so that no span is missed.
ALTER TABLE calls {on_cluster} ADD COLUMN IF NOT EXISTS cache_saved Decimal(38, 12) CODEC(ZSTD(1));

ALTER TABLE calls {on_cluster} ADD COLUMN IF NOT EXISTS cascade_score Nullable(Float64) CODEC(ZSTD(1));

ALTER TABLE attempts {on_cluster} ADD COLUMN IF NOT EXISTS cascade_score Nullable(Float64) CODEC(ZSTD(1));

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
    toFloat64OrNull(span_attributes['control_tower.cascade.score']) AS cascade_score
FROM spans
WHERE record = 'call';

ALTER TABLE spans_to_attempts {on_cluster} MODIFY QUERY
SELECT
    tenant_id, start_time, trace_id, span_id,
    parent_span_id AS call_span_id,
    request_id, response_id, operation, key_id, route, request_model, response_model, provider, tier,
    attempt, cascade_decision, stream, http_status,
    multiIf(
        spans.error_type != '', spans.error_type,
        http_status >= 400, toString(http_status),
        status = 'error', 'unknown',
        '') AS error_type,
    finish_reasons[1] AS finish_reason,
    duration_ns, ttft_ns,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens,
    audio_input_tokens, audio_output_tokens, usage_source,
    cost_input, cost_output, cost_cache, cost_total, price_book_version, retention_days,
    toFloat64OrNull(span_attributes['control_tower.cascade.score']) AS cascade_score
FROM spans
WHERE record = 'attempt';
