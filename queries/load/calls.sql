-- Synthetic calls for measurements, inserted as spans so that calls, attempts and rollups follow: who, when, which model, what it cost.
-- Parameters: first, count (numbers of the calls), total (calls in all), from_ms, to_ms (range over which the total is spread evenly),
-- tenants (how many). Every value follows from the call's number by a hash, so a load is the same each time.
-- All take part in the experiment `load`, of two arms. Tenant-0 gets half of the calls, the others share the rest. Tokens, dollars and nanoseconds as in spans.
INSERT INTO spans
(
    tenant_id, start_time, duration_ns, trace_id, span_id, record, name, kind, status, service_name, operation, provider,
    request_model, response_model, response_id, stream, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens,
    ttft_ns, finish_reasons, input_messages, output_messages, error_type, http_status, request_id, key_id, route, tier,
    attempt, cost_input, cost_output, cost_total, price_book_version, usage_source, cache_status, experiment_name, experiment_variant,
    retention_days
)
WITH
    cityHash64(number, 1) AS h1,
    cityHash64(number, 2) AS h2,
    cityHash64(number, 3) AS h3,
    cityHash64(number, 4) AS h4,
    if(h1 % 2 = 0, 0, h2 % {tenants:UInt32}) AS tenant,
    toUInt8(sqrt(h3 % 144)) AS model,
    h4 % 100 < 3 AS failed,
    toUInt64(exp(6 + 2 * ((h1 % 10007) / 10007))) AS prompt,
    if(failed, 0, toUInt64(exp(4 + 3 * ((h2 % 10009) / 10009)))) AS answer,
    toUInt64(2e8 * exp(1.5 * ((h3 % 10037) / 10037))) AS first
SELECT
    concat('tenant-', toString(tenant)),
    fromUnixTimestamp64Nano(
        {from_ms:Int64} * 1000000
        + toInt64(number * (({to_ms:Int64} - {from_ms:Int64}) * 1000000. / {total:UInt64})) + h1 % 1000000,
        'UTC'),
    first + answer * 15000000,
    lower(concat(hex(h1), hex(h2))),
    lower(hex(h3)),
    'call', 'POST /v1/chat/completions', 'server', if(failed, 'error', 'ok'), 'control-tower', 'chat',
    ['openai', 'anthropic', 'gcp.gemini', 'vllm'][model % 4 + 1],
    concat('model-', toString(model)),
    concat('model-', toString(model), '-2026-01'),
    concat('resp-', hex(h4)),
    h2 % 2 = 0,
    prompt, answer, if(h3 % 3 = 0, intDiv(prompt, 2), 0), intDiv(answer, 4),
    if(failed, 0, first),
    if(failed, [], ['stop']),
    concat('[{"role":"user","parts":[{"type":"text","content":"Tell me about order ', toString(h1 % 100000), ' please"}]}]'),
    concat('[{"role":"assistant","parts":[{"type":"text","content":"Order ', toString(h1 % 100000), ' has left for ', ['Rome', 'Lyon', 'Graz', 'Bonn'][h2 % 4 + 1], '"}]}]'),
    if(failed, ['rate_limited', 'timeout', 'upstream_error'][h1 % 3 + 1], ''),
    if(failed, 429, 200),
    concat('req-', hex(h2)),
    concat('key-', toString(tenant), '-', toString(h4 % 5)),
    concat('route-', toString(model % 3)),
    ['fast', 'smart'][model % 2 + 1],
    1 + (h4 % 20 = 0),
    toDecimal128(prompt, 12) * toDecimal128('0.00000015', 12),
    toDecimal128(answer, 12) * toDecimal128('0.0000006', 12),
    toDecimal128(prompt, 12) * toDecimal128('0.00000015', 12) + toDecimal128(answer, 12) * toDecimal128('0.0000006', 12),
    '2026-11-01',
    if(h2 % 50 = 0, 'estimated', 'reported'),
    ['', 'miss', 'hit', 'bypass'][h3 % 4 + 1],
    'load', ['control', 'b'][h4 % 2 + 1],
    3650
FROM numbers({first:UInt64}, {count:UInt64})
