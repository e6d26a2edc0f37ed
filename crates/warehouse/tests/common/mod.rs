//! Rows by hand.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be made must end it")]

use contracts::TenantId;
use contracts::reads::TenantScope;
use warehouse::SpanRow;

/// 2026-11-02T10:00:00Z.
pub const T0_MS: i64 = 1_793_613_600_000;

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub fn scope(name: &str) -> TenantScope {
    TenantScope::one(tenant(name))
}

/// A call `at_ms` after `T0_MS`: 100 input and 20 output tokens for 0.003 USD, 500 ms, first token after 100 ms.
pub fn call(tenant: &str, number: u64, at_ms: i64) -> SpanRow {
    SpanRow {
        tenant_id: tenant.to_owned(),
        start_time: (T0_MS + at_ms) * 1_000_000,
        duration_ns: 500_000_000,
        trace_id: format!("{number:032x}"),
        span_id: format!("{number:016x}"),
        record: "call".to_owned(),
        name: "POST /v1/chat/completions".to_owned(),
        kind: "server".to_owned(),
        status: "ok".to_owned(),
        service_name: "control-tower".to_owned(),
        operation: "chat".to_owned(),
        provider: "openai".to_owned(),
        request_model: "gpt-small".to_owned(),
        response_model: "gpt-small-2026".to_owned(),
        response_id: format!("resp-{number}"),
        stream: true,
        input_tokens: 100,
        output_tokens: 20,
        cache_read_tokens: 40,
        ttft_ns: 100_000_000,
        finish_reasons: vec!["stop".to_owned()],
        http_status: 200,
        request_id: format!("req-{number}"),
        key_id: "key-a".to_owned(),
        route: "main".to_owned(),
        tier: "fast".to_owned(),
        attempt: 1,
        cost_input: 2_000_000_000,
        cost_output: 1_000_000_000,
        cost_total: 3_000_000_000,
        price_book_version: "2026-11".to_owned(),
        usage_source: "reported".to_owned(),
        cache_status: "miss".to_owned(),
        retention_days: 3650,
        ..SpanRow::default()
    }
}

/// The attempt that served `call`.
pub fn attempt(call: &SpanRow) -> SpanRow {
    SpanRow {
        span_id: format!("a{}", &call.span_id[1..]),
        parent_span_id: call.span_id.clone(),
        record: "attempt".to_owned(),
        kind: "client".to_owned(),
        name: format!("chat {}", call.request_model),
        start_time: call.start_time + 1_000_000,
        attempt: 1,
        ..call.clone()
    }
}
