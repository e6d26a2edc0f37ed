//! Prepared figures in place of a warehouse: two tenants, three models, two days, the same at every run. Scoped and
//! filtered as the warehouse's are, so that isolation can be tested on them.

use contracts::outcomes::{Attribution, OutcomeGroup, OutcomeReport};
use contracts::price::PriceBook;
use contracts::reads::{
    Bucket, CallCursor, CallDetail, CallFilter, CallPage, CallRow, Facets, Group, Outcome, Overview, Shares,
    Signals, SpanEvent, SpanView, TenantScope, TimeRange, Totals,
};
use contracts::{TokenUsage, Usd};
use std::collections::BTreeMap;
use web::server::reads::{ReadError, Reading, Reads};

/// A source of prepared calls.
pub struct Figures {
    calls: Vec<CallRow>,
    /// Every read fails, as when the store is down.
    broken: bool,
    /// Golden signals never come, as when very many calls are to be read.
    endless_signals: bool,
}

impl Figures {
    /// None at all.
    pub fn none() -> Self {
        Self { calls: Vec::new(), broken: false, endless_signals: false }
    }

    /// A store that is down.
    pub fn down() -> Self {
        Self { calls: Vec::new(), broken: true, endless_signals: false }
    }

    /// `count` calls over the two days before `now_ms`, more by day than by night, of the tenants `acme` and `globex`.
    pub fn days(now_ms: i64, count: u64) -> Self {
        let mut back = 2_000.0;
        let mean = 172_800_000.0 / count as f64;
        let calls = (0..count).map(|i| {
            let at = now_ms - back as i64;
            let busy =
                1.0 + 0.55 * ((at % 86_400_000) as f64 / 86_400_000.0 * std::f64::consts::TAU - 2.2).sin();
            back += mean * (0.3 + 1.4 * noise(i * 31)) / busy * 0.85;
            call(i, at)
        });
        Self { calls: calls.collect(), broken: false, endless_signals: false }
    }

    /// Golden signals never come.
    pub fn with_endless_signals(mut self) -> Self {
        self.endless_signals = true;
        self
    }

    /// A call of the tenant, to ask for.
    pub fn one_of(&self, tenant: &str) -> CallRow {
        self.calls.iter().find(|c| c.tenant_id == tenant).unwrap().clone()
    }

    /// A call of the tenant whose price is not known.
    pub fn unpriced_of(&self, tenant: &str) -> CallRow {
        self.calls.iter().find(|c| c.tenant_id == tenant && !c.priced).unwrap().clone()
    }

    fn select(&self, scope: &TenantScope, range: TimeRange, filter: &CallFilter) -> Vec<CallRow> {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
        let of = |call: &&CallRow| {
            scope.tenants().iter().any(|t| t.as_str() == call.tenant_id)
                && (range.from_ms..range.to_ms).contains(&call.start_ms)
                && any(&filter.models, &call.request_model)
                && any(&filter.routes, &call.route)
                && any(&filter.keys, &call.key_id)
                && filter.outcome.is_none_or(|o| (o == Outcome::Ok) == call.error_type.is_empty())
                && filter.min_cost.is_none_or(|least| call.cost >= least)
                && filter.min_duration_ms.is_none_or(|least| call.duration_ms >= least as f64)
                && filter
                    .text
                    .as_ref()
                    .is_none_or(|text| call.request_id.contains(text.as_str()) || call.trace_id == *text)
        };
        self.calls.iter().filter(of).cloned().collect()
    }

    fn up(&self) -> Result<(), ReadError> {
        if self.broken {
            Err(ReadError::Unavailable("the store cannot be reached right now: try again shortly".into()))
        } else {
            Ok(())
        }
    }
}

impl Reads for Figures {
    fn overview<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        bucket_seconds: u32,
        filter: &'a CallFilter,
    ) -> Reading<'a, Overview> {
        Box::pin(async move {
            self.up()?;
            let calls = self.select(scope, range, filter);
            let before =
                TimeRange { from_ms: range.from_ms - (range.to_ms - range.from_ms), to_ms: range.from_ms };
            let width = i64::from(bucket_seconds) * 1_000;
            let series = (range.from_ms / width..=(range.to_ms - 1) / width).map(|n| {
                let inside: Vec<CallRow> =
                    calls.iter().filter(|c| c.start_ms / width == n).cloned().collect();
                Bucket { start_ms: n * width, totals: totals(&inside) }
            });
            Ok(Overview {
                totals: totals(&calls),
                previous: totals(&self.select(scope, before, filter)),
                bucket_seconds,
                series: series.collect(),
                by_model: groups(&calls, |c| c.request_model.clone()),
                by_tenant: groups(&calls, |c| c.tenant_id.clone()),
                by_error: groups(&calls, |c| c.error_type.clone())
                    .into_iter()
                    .filter(|g| !g.name.is_empty())
                    .collect(),
                shares: Shares { error_rate: Some(0.02), cache_read_share: Some(0.41) },
            })
        })
    }

    fn calls<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        cursor: Option<&'a CallCursor>,
        limit: u32,
    ) -> Reading<'a, CallPage> {
        Box::pin(async move {
            self.up()?;
            let all = self.select(scope, range, filter);
            let rest: Vec<CallRow> = all
                .into_iter()
                .filter(|c| cursor.is_none_or(|from| c.start_ms * 1_000_000 < from.start_ns))
                .collect();
            let more = rest.len() > limit as usize;
            let calls: Vec<CallRow> = rest.into_iter().take(limit as usize).collect();
            let next = calls.last().filter(|_| more).map(|c| CallCursor {
                start_ns: c.start_ms * 1_000_000,
                trace_id: c.trace_id.clone(),
                span_id: c.span_id.clone(),
            });
            Ok(CallPage { calls, next })
        })
    }

    fn call<'a>(
        &'a self,
        scope: &'a TenantScope,
        trace_id: &'a str,
        span_id: &'a str,
        _near_ms: Option<i64>,
    ) -> Reading<'a, Option<CallDetail>> {
        Box::pin(async move {
            self.up()?;
            let of = |c: &&CallRow| {
                c.trace_id == trace_id
                    && c.span_id == span_id
                    && scope.tenants().iter().any(|t| t.as_str() == c.tenant_id)
            };
            Ok(self.calls.iter().find(of).map(detail))
        })
    }

    fn facets<'a>(&'a self, scope: &'a TenantScope, range: TimeRange) -> Reading<'a, Facets> {
        Box::pin(async move {
            self.up()?;
            let calls = self.select(scope, range, &CallFilter::default());
            let values = |of: fn(&CallRow) -> &String| {
                groups(&calls, |c| of(c).clone())
                    .into_iter()
                    .map(|g| g.name)
                    .filter(|n| !n.is_empty())
                    .collect()
            };
            Ok(Facets {
                models: values(|c| &c.request_model),
                routes: values(|c| &c.route),
                keys: values(|c| &c.key_id),
            })
        })
    }

    fn outcomes<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        attribution: Attribution,
        _prices: &'a PriceBook,
        skipped_keys: &'a [String],
    ) -> Reading<'a, OutcomeReport> {
        Box::pin(async move {
            self.up()?;
            let mut calls = self.select(scope, range, &CallFilter::default());
            calls.retain(|call| !skipped_keys.contains(&call.key_id));
            let overhead_calls = calls.len() as u64;
            let overhead = calls.iter().map(|call| call.cost).sum();
            let total = OutcomeGroup { overhead_calls, overhead, ..OutcomeGroup::default() };
            Ok(OutcomeReport { attribution, total, ..OutcomeReport::default() })
        })
    }

    fn golden_signals<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        _first_token: bool,
    ) -> Reading<'a, Signals> {
        Box::pin(async move {
            self.up()?;
            if self.endless_signals {
                std::future::pending::<()>().await;
            }
            let calls = self.select(scope, range, filter).len() as u64;
            // Answers are judged, and nothing else was seen: what has nothing behind it must say so.
            Ok(Signals {
                grounding_coverage: (calls > 0).then_some(0.875),
                grounding_judged: calls,
                actions: calls,
                ..Signals::default()
            })
        })
    }

    fn ping(&self) -> Reading<'_, ()> {
        Box::pin(async move { self.up() })
    }
}

/// A number between 0 and 1 that only depends on `seed`.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn call(i: u64, start_ms: i64) -> CallRow {
    let (model, answered, provider, per_million) = match i % 7 {
        0..=3 => ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai", 600_000),
        4 | 5 => ("claude-sonnet-4-5", "claude-sonnet-4-5", "anthropic", 15_000_000),
        _ => ("llama-3.3-70b", "llama-3.3-70b", "vllm-eu-1", 400_000),
    };
    let failed = noise(i) < if i % 900 < 60 { 0.22 } else { 0.012 };
    let output = if failed { 0 } else { 20 + (noise(i + 1) * 900.0) as u64 };
    let input = 300 + (noise(i + 2) * 6_000.0) as u64;
    let first = 180.0 + noise(i + 3).powi(4) * 2_400.0;
    CallRow {
        tenant_id: (if i.is_multiple_of(3) { "globex" } else { "acme" }).into(),
        start_ms,
        trace_id: format!("{:032x}", 0x4bf9_2f35_77b3_4da6_u128.wrapping_mul(u128::from(i) + 7)),
        span_id: format!("{:016x}", 0x00f0_67aa_0ba9_02b7_u64.wrapping_mul(i + 3)),
        request_id: format!("req_{i:08}"),
        operation: "chat".into(),
        key_id: format!("key_5f1c0e8a9b7d4c3{}", i % 4),
        route: if i % 7 == 4 { "support-bot".into() } else { String::new() },
        request_model: model.into(),
        response_model: if failed { String::new() } else { answered.into() },
        provider: provider.into(),
        tier: if i % 7 == 6 { "local".into() } else { "premium".into() },
        stream: i.is_multiple_of(2),
        http_status: if failed { [429, 502, 504][(i % 3) as usize] } else { 200 },
        error_type: if failed {
            ["rate_limit_exceeded", "upstream_error", "timeout"][(i % 3) as usize].into()
        } else {
            String::new()
        },
        finish_reason: if failed { String::new() } else { "stop".into() },
        duration_ms: first + output as f64 * 11.0,
        ttft_ms: (!failed && i.is_multiple_of(2)).then_some(first),
        usage: TokenUsage {
            input,
            output,
            cache_read: if i.is_multiple_of(5) { input / 2 } else { 0 },
            reasoning: if i % 7 == 5 { output / 3 } else { 0 },
            ..TokenUsage::default()
        },
        usage_source: if i.is_multiple_of(29) { "estimated".into() } else { "reported".into() },
        cost: if is_unpriced(i) {
            Usd::ZERO
        } else {
            Usd::from_picos(i128::from(output * per_million + input * per_million / 4))
        },
        priced: !is_unpriced(i),
        cache_status: String::new(),
        cache_saved: Usd::ZERO,
        cascade_score: None,
        attempts: if failed { 2 } else { 1 },
    }
}

/// The price book lacks a model now and then.
const fn is_unpriced(i: u64) -> bool {
    i % 97 == 13
}

fn totals(calls: &[CallRow]) -> Totals {
    let quantile = |mut values: Vec<f64>, q: f64| {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| values[((values.len() - 1) as f64 * q) as usize])
    };
    let durations = || calls.iter().map(|c| c.duration_ms).collect::<Vec<_>>();
    let firsts = || calls.iter().filter_map(|c| c.ttft_ms).collect::<Vec<_>>();
    let mut usage = TokenUsage::default();
    for call in calls {
        usage.input += call.usage.input;
        usage.output += call.usage.output;
        usage.cache_read += call.usage.cache_read;
    }
    Totals {
        calls: calls.len() as u64,
        errors: calls.iter().filter(|c| !c.error_type.is_empty()).count() as u64,
        usage,
        cost: calls.iter().map(|c| c.cost).sum(),
        estimated: calls.iter().filter(|c| c.usage_source != "reported").count() as u64,
        unpriced: calls.iter().filter(|c| !c.priced).count() as u64,
        duration_p50_ms: quantile(durations(), 0.5),
        duration_p95_ms: quantile(durations(), 0.95),
        duration_p99_ms: quantile(durations(), 0.99),
        ttft_p50_ms: quantile(firsts(), 0.5),
        ttft_p95_ms: quantile(firsts(), 0.95),
    }
}

fn groups(calls: &[CallRow], name: impl Fn(&CallRow) -> String) -> Vec<Group> {
    let mut by: BTreeMap<String, Vec<CallRow>> = BTreeMap::new();
    for call in calls {
        by.entry(name(call)).or_default().push(call.clone());
    }
    let mut groups: Vec<Group> =
        by.into_iter().map(|(name, calls)| Group { name, totals: totals(&calls) }).collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.totals.cost));
    groups
}

fn detail(call: &CallRow) -> CallDetail {
    let start_ns = call.start_ms * 1_000_000;
    let total = (call.duration_ms * 1e6) as u64;
    let span = |id: &str, parent: &str, name: &str, kind: &str, at: f64, lasts: f64| SpanView {
        span_id: id.into(),
        parent_span_id: parent.into(),
        name: name.into(),
        kind: kind.into(),
        service: "control-tower-gateway".into(),
        start_ns: start_ns + (total as f64 * at) as i64,
        duration_ns: (total as f64 * lasts) as u64,
        status: "ok".into(),
        ..SpanView::default()
    };
    let mut own = span(&call.span_id, "00000000000000aa", "POST /v1/chat/completions", "server", 0.08, 0.9);
    own.input_messages = r#"[{"role":"system","content":"You are a careful support agent of **Acme**. Cite the order you looked up."},{"role":"user","content":[{"type":"text","text":"Where is my order 4711? Here is the label.\n\n```json\n{\"order\": 4711, \"carrier\": \"dhl\"}\n```"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"look_up_order","arguments":"{\"id\":4711,\"with_history\":true}"}}]},{"role":"tool","tool_call_id":"call_1","content":"{\"status\":\"in transit\",\"eta\":\"2026-11-24\",\"hops\":[\"Leipzig\",\"Hamburg\"]}"}]"#.into();
    own.output_messages = r#"[{"role":"assistant","parts":[{"type":"text","content":"Order **4711** left Leipzig and is in Hamburg now. It should arrive on **24 November**.\n\nTo follow it yourself:\n\n```bash\ncurl https://api.example.com/orders/4711 \\\n  -H 'Authorization: Bearer …'\n```\n\nAnything else I can look up?"}],"finish_reason":"stop"}]"#.into();
    own.attributes = BTreeMap::from([
        ("gen_ai.operation.name".into(), call.operation.clone()),
        ("gen_ai.request.model".into(), call.request_model.clone()),
        ("gen_ai.usage.input_tokens".into(), call.usage.input.to_string()),
        ("gen_ai.usage.output_tokens".into(), call.usage.output.to_string()),
        ("control_tower.tenant.id".into(), call.tenant_id.clone()),
        ("http.response.status_code".into(), call.http_status.to_string()),
    ]);
    own.resource = BTreeMap::from([("service.name".into(), "control-tower-gateway".into())]);
    own.events = vec![SpanEvent {
        time_ns: own.start_ns + 180_000_000,
        name: "gen_ai.first_chunk".into(),
        attributes: BTreeMap::new(),
    }];
    let mut root = span("00000000000000aa", "", "answer_ticket", "internal", 0.0, 1.0);
    root.service = "support-app".into();
    let mut retrieval =
        span("00000000000000ab", "00000000000000aa", "retrieval orders", "client", 0.01, 0.06);
    retrieval.service = "support-app".into();
    let mut first = span(
        "00000000000000ac",
        &call.span_id,
        &format!("chat {}", call.request_model),
        "client",
        0.09,
        0.12,
    );
    first.status = "error".into();
    first.status_message = "connection refused".into();
    let second = span(
        "00000000000000ad",
        &call.span_id,
        &format!("chat {}", call.request_model),
        "client",
        0.22,
        0.75,
    );
    let output = Usd::from_picos(call.cost.picos() * 7 / 10);
    CallDetail {
        call: call.clone(),
        cost_input: call.cost - output,
        cost_output: output,
        cost_cache: Usd::ZERO,
        price_book_version: "2026-11-20".into(),
        spans: vec![root, retrieval, own, first, second],
        verdicts: Vec::new(),
    }
}
