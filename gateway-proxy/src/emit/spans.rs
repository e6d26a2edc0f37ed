//! A call as OpenTelemetry spans: one SERVER span for the request, one CLIENT span for each try at an upstream.

use crate::call::{Attempt, Ending, Facts, Used};
use crate::metrics::GatewayMetrics;
use contracts::Timestamp;
use contracts::attributes::{control_tower as ct, gen_ai, otel};
use contracts::price::Cost;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Most characters of a model's name or a reason to finish: clients and upstreams write them, and they become values of
/// columns that expect few different ones.
const NAME: usize = 128;
/// Most characters of an answer's id.
const ID: usize = 256;
/// Most characters of a trace state, as W3C Trace Context (section 3.3.1.5) asks for at least. It cannot be cut, so a longer
/// one is left out.
const TRACE_STATE: usize = 512;
/// Most reasons to finish: as many as an answer may have choices.
const REASONS: usize = 128;

/// What a call used and cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Priced {
    pub(super) used: Used,
    pub(super) cost: Option<Cost>,
}

/// All spans of a call. Content is cut at `capture_bytes` an attribute, names at sane lengths, and both are counted.
pub(super) fn of(
    facts: &Facts,
    ending: Ending,
    priced: &Priced,
    capture_bytes: usize,
    metrics: &GatewayMetrics,
) -> Vec<SpanData> {
    let names = Names::of(facts, metrics);
    let mut spans = Vec::with_capacity(1 + facts.attempts.len());
    spans.push(call(facts, &names, ending, priced, capture_bytes, metrics));
    let last = facts.attempts.len();
    for (at, attempt) in facts.attempts.iter().enumerate() {
        // Only the last try can have brought an answer.
        let priced = if at + 1 == last { *priced } else { Priced { used: Used::NOTHING, cost: None } };
        spans.push(client(facts, &names, attempt, at + 1, at + 1 == last, &priced));
    }
    spans
}

/// What others named, cut to lengths that a column can take.
struct Names<'a> {
    asked: &'a str,
    answered: Option<&'a str>,
    id: Option<&'a str>,
    reasons: Vec<&'a str>,
    trace_state: TraceState,
}

impl<'a> Names<'a> {
    fn of(facts: &'a Facts, metrics: &GatewayMetrics) -> Self {
        let cut = |text: &'a str, most: usize| {
            // No text of few bytes has many characters.
            let end = if text.len() <= most { None } else { text.char_indices().nth(most) };
            end.map_or(text, |(end, _)| {
                metrics.names_cut.inc();
                &text[..end]
            })
        };
        let answer = &facts.answer;
        let trace_state = facts.identity.span.trace_state();
        let is_long = *trace_state != TraceState::NONE && trace_state.header().len() > TRACE_STATE;
        metrics.names_cut.inc_by(u64::from(is_long || answer.finish_reasons.len() > REASONS));
        Self {
            asked: facts.ask.as_ref().map_or("", |ask| cut(&ask.model, NAME)),
            answered: answer.model.as_deref().map(|model| cut(model, NAME)),
            id: answer.id.as_deref().map(|id| cut(id, ID)),
            reasons: answer.finish_reasons.iter().take(REASONS).map(|reason| cut(reason, NAME)).collect(),
            trace_state: if is_long { TraceState::NONE } else { trace_state.clone() },
        }
    }
}

fn call(
    facts: &Facts,
    names: &Names<'_>,
    ending: Ending,
    priced: &Priced,
    capture_bytes: usize,
    metrics: &GatewayMetrics,
) -> SpanData {
    let mut attributes = Vec::with_capacity(48);
    let put = &mut attributes;
    common(put, facts, names, ct::RECORD_CALL);
    text(put, ct::KEY_ID, facts.key.id.as_str());
    text(put, ct::REQUEST_ID, facts.identity.request_id.as_str());
    put.push(KeyValue::new(ct::ATTEMPT, i64::try_from(facts.attempts.len()).unwrap_or(i64::MAX)));
    put.push(KeyValue::new(otel::HTTP_REQUEST_METHOD, "POST"));
    put.push(KeyValue::new(otel::HTTP_ROUTE, facts.endpoint.path));
    put.push(KeyValue::new(otel::HTTP_RESPONSE_STATUS_CODE, i64::from(ending.status)));
    if ending.disconnected {
        put.push(KeyValue::new(ct::CLIENT_DISCONNECTED, true));
    }
    if let Some(error) = ending.error {
        put.push(KeyValue::new(otel::ERROR_TYPE, error));
    }
    answer(put, facts, names);
    usage_and_cost(put, facts, priced);
    if facts.key.tenant.capture_content {
        content(put, facts, capture_bytes, metrics);
    }
    let status = ending.error.map_or(Status::Ok, Status::error);
    let parent_is_remote = facts.identity.parent != SpanId::INVALID;
    let took = facts.identity.at.elapsed();
    let own = &facts.identity.span;
    let context =
        SpanContext::new(own.trace_id(), own.span_id(), own.trace_flags(), false, names.trace_state.clone());
    span(
        context,
        (facts.identity.parent, parent_is_remote),
        (SpanKind::Server, Cow::Borrowed(facts.endpoint.span_name)),
        (facts.identity.started, took),
        attributes,
        status,
    )
}

fn client(
    facts: &Facts,
    names: &Names<'_>,
    attempt: &Attempt,
    number: usize,
    is_last: bool,
    priced: &Priced,
) -> SpanData {
    let mut attributes = Vec::with_capacity(32);
    let put = &mut attributes;
    common(put, facts, names, ct::RECORD_ATTEMPT);
    put.push(KeyValue::new(ct::ATTEMPT, i64::try_from(number).unwrap_or(i64::MAX)));
    put.push(KeyValue::new(otel::SERVER_ADDRESS, attempt.address.clone()));
    put.push(KeyValue::new(otel::SERVER_PORT, i64::from(attempt.port)));
    if let Some(status) = attempt.status {
        put.push(KeyValue::new(otel::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
    }
    if let Some(error) = attempt.error {
        put.push(KeyValue::new(otel::ERROR_TYPE, error));
    }
    if is_last {
        answer(put, facts, names);
    }
    usage_and_cost(put, facts, priced);
    let context = SpanContext::new(
        facts.identity.trace_id(),
        attempt.span,
        TraceFlags::SAMPLED,
        false,
        names.trace_state.clone(),
    );
    span(
        context,
        (facts.identity.span.span_id(), false),
        (SpanKind::Client, Cow::Owned(format!("{} {}", facts.endpoint.operation, names.asked))),
        (attempt.started, attempt.took.unwrap_or_default()),
        attributes,
        attempt.error.map_or(Status::Ok, Status::error),
    )
}

/// What both kinds of spans say.
fn common(put: &mut Vec<KeyValue>, facts: &Facts, names: &Names<'_>, record: &'static str) {
    put.push(KeyValue::new(ct::RECORD, record));
    text(put, ct::TENANT_ID, facts.key.tenant.id.as_str());
    put.push(KeyValue::new(ct::RETENTION_DAYS, i64::from(facts.key.tenant.retention_days)));
    put.push(KeyValue::new(gen_ai::OPERATION_NAME, facts.endpoint.operation));
    if let Some(ask) = &facts.ask {
        text(put, gen_ai::REQUEST_MODEL, names.asked);
        put.push(KeyValue::new(gen_ai::REQUEST_STREAM, ask.stream));
    }
    if let Some(resolved) = &facts.resolved {
        text(put, gen_ai::PROVIDER_NAME, resolved.model.provider.price_as.as_str());
        text(put, ct::TIER, resolved.model.tier.as_str());
        if let Some(route) = &resolved.route {
            text(put, ct::ROUTE, route.name.as_str());
        }
    }
}

fn answer(put: &mut Vec<KeyValue>, facts: &Facts, names: &Names<'_>) {
    if let Some(model) = names.answered {
        text(put, gen_ai::RESPONSE_MODEL, model);
    }
    if let Some(id) = names.id {
        text(put, gen_ai::RESPONSE_ID, id);
    }
    if !names.reasons.is_empty() {
        let reasons = names.reasons.iter().map(|reason| StringValue::from((*reason).to_owned())).collect();
        put.push(KeyValue::new(gen_ai::RESPONSE_FINISH_REASONS, Value::Array(Array::String(reasons))));
    }
    if let Some(first) = facts.first_token {
        put.push(KeyValue::new(gen_ai::RESPONSE_TIME_TO_FIRST_CHUNK, first.as_secs_f64()));
    }
}

fn usage_and_cost(put: &mut Vec<KeyValue>, facts: &Facts, priced: &Priced) {
    let Some(source) = priced.used.source else { return };
    let usage = &priced.used.usage;
    put.push(KeyValue::new(ct::USAGE_SOURCE, source.as_str()));
    for (name, tokens, always) in [
        (gen_ai::USAGE_INPUT_TOKENS, usage.input, true),
        (gen_ai::USAGE_OUTPUT_TOKENS, usage.output, true),
        (gen_ai::USAGE_CACHE_READ, usage.cache_read, false),
        (gen_ai::USAGE_CACHE_WRITE, usage.cache_write.saturating_add(usage.cache_write_1h), false),
        (ct::USAGE_CACHE_WRITE_1H, usage.cache_write_1h, false),
        (gen_ai::USAGE_REASONING, usage.reasoning, false),
        (ct::USAGE_AUDIO_INPUT, usage.audio_input, false),
        (ct::USAGE_AUDIO_OUTPUT, usage.audio_output, false),
    ] {
        if always || tokens > 0 {
            put.push(KeyValue::new(name, i64::try_from(tokens).unwrap_or(i64::MAX)));
        }
    }
    if let Some(cost) = priced.cost {
        put.push(KeyValue::new(ct::COST_INPUT, cost.input.to_string()));
        put.push(KeyValue::new(ct::COST_OUTPUT, cost.output.to_string()));
        put.push(KeyValue::new(ct::COST_CACHE, cost.cache.to_string()));
        put.push(KeyValue::new(ct::COST_TOTAL, cost.total.to_string()));
        text(put, ct::PRICE_BOOK_VERSION, facts.snapshot.prices.version.as_str());
    }
}

/// Prompt and answer, as the protocol's own JSON.
fn content(put: &mut Vec<KeyValue>, facts: &Facts, limit: usize, metrics: &GatewayMetrics) {
    let mut cut = 0;
    let mut capture = |put: &mut Vec<KeyValue>, name: &'static str, json: &str| {
        let kept = floor_char(json, limit);
        cut += json.len() - kept;
        put.push(KeyValue::new(name, json[..kept].to_owned()));
    };
    if let Some(ask) = &facts.ask {
        let places = [
            (gen_ai::INPUT_MESSAGES, &ask.prompt_at),
            (gen_ai::SYSTEM_INSTRUCTIONS, &ask.instructions_at),
            (gen_ai::TOOL_DEFINITIONS, &ask.tools_at),
        ];
        for (name, place) in places {
            if let Some(json) = ask.text(place.as_ref()) {
                capture(put, name, json);
            }
        }
    }
    if !facts.answer.output.is_empty() {
        capture(put, gen_ai::OUTPUT_MESSAGES, &facts.answer.output.to_json());
    }
    if cut > 0 {
        put.push(KeyValue::new(ct::CONTENT_TRUNCATED_BYTES, i64::try_from(cut).unwrap_or(i64::MAX)));
        metrics.truncated_bytes.inc_by(cut as u64);
    }
}

fn floor_char(text: &str, limit: usize) -> usize {
    let mut at = limit.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn text(put: &mut Vec<KeyValue>, name: &'static str, value: &str) {
    put.push(KeyValue::new(name, value.to_owned()));
}

fn span(
    span_context: SpanContext,
    (parent_span_id, parent_span_is_remote): (SpanId, bool),
    (span_kind, name): (SpanKind, Cow<'static, str>),
    (started, took): (Timestamp, Duration),
    attributes: Vec<KeyValue>,
    status: Status,
) -> SpanData {
    let start_time = system_time(started);
    SpanData {
        span_context,
        parent_span_id,
        parent_span_is_remote,
        span_kind,
        name,
        start_time,
        end_time: start_time + took,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("control-tower").build(),
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.unix_nanos()).unwrap_or(0))
}
