-- Every span of a trace that the tenant may see, by start: the waterfall and all that the detail page shows.
-- Parameters: tenants; trace; after_ns <= start <= until_ns (nanoseconds since the epoch); rows (how many at most).
-- Units: *_ns nanoseconds, start_ns since the epoch; cost US dollars.
SELECT
    span_id, parent_span_id, name, kind, service_name, toUnixTimestamp64Nano(start_time) AS start_ns, duration_ns, status,
    status_message, input_messages, output_messages, system_instructions, tool_definitions,
    mapFilter((name, value) -> value NOT IN ('', '0'), map(
        'control_tower.record', toString(record),
        'gen_ai.operation.name', toString(operation),
        'gen_ai.provider.name', toString(provider),
        'gen_ai.request.model', toString(request_model),
        'gen_ai.response.model', toString(response_model),
        'gen_ai.response.id', response_id,
        'gen_ai.conversation.id', conversation_id,
        'gen_ai.prompt.name', toString(prompt_name),
        'gen_ai.prompt.version', toString(prompt_version),
        'gen_ai.request.stream', if(stream, 'true', ''),
        'gen_ai.response.finish_reasons', arrayStringConcat(finish_reasons, ', '),
        'gen_ai.response.time_to_first_chunk', if(ttft_ns = 0, '', toString(ttft_ns / 1e9)),
        'gen_ai.usage.input_tokens', toString(input_tokens),
        'gen_ai.usage.output_tokens', toString(output_tokens),
        'gen_ai.usage.cache_read.input_tokens', toString(cache_read_tokens),
        'gen_ai.usage.cache_write.input_tokens', toString(cache_write_tokens),
        'control_tower.usage.cache_write_1h.input_tokens', toString(cache_write_1h_tokens),
        'gen_ai.usage.reasoning.output_tokens', toString(reasoning_tokens),
        'control_tower.usage.audio.input_tokens', toString(audio_input_tokens),
        'control_tower.usage.audio.output_tokens', toString(audio_output_tokens),
        'gen_ai.data_source.id', toString(data_source_id),
        'gen_ai.retrieval.top_k', toString(retrieval_top_k),
        'gen_ai.retrieval.query.text', retrieval_query,
        'gen_ai.retrieval.documents', retrieval_documents,
        'gen_ai.tool.name', toString(tool_name),
        'gen_ai.tool.call.id', tool_call_id,
        'gen_ai.tool.type', toString(tool_type),
        'gen_ai.tool.call.arguments', tool_arguments,
        'gen_ai.tool.call.result', tool_result,
        'error.type', toString(error_type),
        'http.response.status_code', toString(http_status),
        'control_tower.request.id', request_id,
        'control_tower.key.id', toString(key_id),
        'control_tower.route', toString(route),
        'control_tower.tier', toString(tier),
        'control_tower.attempt', toString(attempt),
        'control_tower.cascade.decision', toString(cascade_decision),
        'control_tower.cost.input', toString(cost_input),
        'control_tower.cost.output', toString(cost_output),
        'control_tower.cost.cache', toString(cost_cache),
        'control_tower.cost.total', toString(cost_total),
        'control_tower.price_book.version', toString(price_book_version),
        'control_tower.usage.source', toString(usage_source),
        'control_tower.cache.status', toString(cache_status),
        'control_tower.queue.duration', if(queue_ns = 0, '', toString(queue_ns / 1e9)),
        'control_tower.experiment.name', toString(experiment_name),
        'control_tower.experiment.variant', toString(experiment_variant),
        'control_tower.client.disconnected', if(client_disconnected, 'true', ''))) AS typed_attributes,
    span_attributes, resource_attributes,
    `events.time_ns` AS event_time_ns, `events.name` AS event_name, `events.attributes` AS event_attributes
FROM spans
WHERE tenant_id IN {tenants:Array(String)}
  AND start_time >= fromUnixTimestamp64Nano({after_ns:Int64}, 'UTC')
  AND start_time <= fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
  AND trace_id = {trace:String}
ORDER BY start_time, span_id
LIMIT {rows:UInt32}
