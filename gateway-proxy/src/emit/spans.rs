//! A call as OpenTelemetry spans: one SERVER span for the request, one CLIENT span for each try at an upstream.

use super::otlp::{Attributes, Head, Kind, Spans};
use super::settle::Spent;
use crate::call::{Attempt, Ending, Facts, Used};
use crate::guarding::Found;
use crate::meter::Answer;
use crate::metrics::GatewayMetrics;
use crate::request::context_json;
use contracts::Decimal;
use contracts::attributes::{control_tower as ct, gen_ai, otel};
use contracts::policy::Model;
use contracts::price::Cost;
use opentelemetry::trace::{SpanId, TraceState};
use std::borrow::Cow;
use tokio::time::Instant;

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

/// The amounts of a cost, as they are written.
struct Amounts {
    input: Decimal,
    output: Decimal,
    cache: Decimal,
    total: Decimal,
}

impl Amounts {
    fn of(cost: Cost) -> Self {
        Self {
            input: cost.input.decimal(),
            output: cost.output.decimal(),
            cache: cost.cache.decimal(),
            total: cost.total.decimal(),
        }
    }
}

/// Writes all spans of a call. Content is cut at `capture_bytes` an attribute, names at sane lengths, and both are counted.
pub(super) fn write(
    to: &mut impl Spans,
    facts: &Facts,
    ending: Ending,
    spent: &Spent,
    capture_bytes: usize,
    metrics: &GatewayMetrics,
) {
    let mut names = Names::of(facts, &facts.answer, metrics);
    // Attempts have the provider's.
    let id = names.id;
    names.id = facts.response_id.as_deref().or(id);
    let amounts = spent.cost.map(Amounts::of);
    let of_call = Figures { used: spent.used, amounts: amounts.as_ref() };
    to.span(&server_head(facts, &names, ending), |put| {
        call(put, facts, &names, ending, of_call);
        context(put, facts, capture_bytes, metrics);
        if facts.key.tenant.capture_content && !facts.is_refused() {
            content(put, facts, capture_bytes, metrics);
        }
    });
    names.id = id;
    let is_only = facts.attempts.len() == 1;
    for (at, attempt) in facts.attempts.iter().enumerate() {
        let name = format!("{} {}", facts.endpoint.operation, names.asked);
        let own_amounts = if is_only { None } else { attempt.cost.map(Amounts::of) };
        let amounts = if is_only { amounts.as_ref() } else { own_amounts.as_ref() };
        let figures = Figures { used: attempt.used, amounts };
        // Names of the last one are those of the call.
        let own_names = attempt.answer.as_deref().map(|answer| Names::of(facts, answer, metrics));
        let names = own_names.as_ref().unwrap_or(&names);
        to.span(&client_head(facts, names, attempt, &name), |put| {
            client(put, facts, names, attempt, at + 1);
            let is_last = attempt.answer.is_none();
            let of_call = facts.first_content.filter(|_| is_last);
            let first_content = attempt.first_content.or(of_call);
            answer(put, names, first_content.zip(Some(attempt.at)));
            usage_and_cost(put, facts, figures);
        });
    }
}

/// What something used, and what it cost, ready to be written.
#[derive(Clone, Copy)]
struct Figures<'a> {
    used: Used,
    amounts: Option<&'a Amounts>,
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
    fn of(facts: &'a Facts, answer: &'a Answer, metrics: &GatewayMetrics) -> Self {
        let cut = |text: &'a str, most: usize| {
            // No text of few bytes has many characters.
            let end = if text.len() <= most { None } else { text.char_indices().nth(most) };
            end.map_or(text, |(end, _)| {
                metrics.names_cut.inc();
                &text[..end]
            })
        };
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

fn server_head<'a>(facts: &'a Facts, names: &'a Names<'_>, ending: Ending) -> Head<'a> {
    let identity = &facts.identity;
    Head {
        trace: identity.trace_id(),
        span: identity.span.span_id(),
        trace_state: &names.trace_state,
        parent: identity.parent,
        parent_is_remote: identity.parent != SpanId::INVALID,
        name: facts.endpoint.span_name,
        kind: Kind::Server,
        started: identity.started,
        took: identity.at.elapsed(),
        error: ending.error,
    }
}

fn client_head<'a>(facts: &Facts, names: &'a Names<'_>, attempt: &Attempt, name: &'a str) -> Head<'a> {
    Head {
        trace: facts.identity.trace_id(),
        span: attempt.span,
        trace_state: &names.trace_state,
        parent: facts.identity.span.span_id(),
        parent_is_remote: false,
        name,
        kind: Kind::Client,
        started: attempt.started,
        took: attempt.took.unwrap_or_default(),
        error: attempt.error,
    }
}

fn call(put: &mut impl Attributes, facts: &Facts, names: &Names<'_>, ending: Ending, figures: Figures<'_>) {
    common(put, facts, names, facts.resolved.as_ref().map(|resolved| &*resolved.model), ct::RECORD_CALL);
    put.text(ct::KEY_ID, facts.key.id.as_str());
    put.text(ct::REQUEST_ID, facts.identity.request_id.as_str());
    put.int(ct::ATTEMPT, i64::try_from(facts.attempts.len()).unwrap_or(i64::MAX));
    put.text(otel::HTTP_REQUEST_METHOD, "POST");
    put.text(otel::HTTP_ROUTE, facts.endpoint.path);
    put.int(otel::HTTP_RESPONSE_STATUS_CODE, i64::from(ending.status));
    if ending.disconnected {
        put.flag(ct::CLIENT_DISCONNECTED, true);
    }
    if let Some(error) = ending.error {
        put.text(otel::ERROR_TYPE, error);
    }
    if let Some(assigned) = &facts.assigned {
        put.text(ct::EXPERIMENT_NAME, assigned.name());
        put.text(ct::EXPERIMENT_VARIANT, assigned.variant());
        put.text(ct::EXPERIMENT_OWNER, assigned.owner());
        put.text(ct::EXPERIMENT_UNIT, assigned.by.as_str());
    }
    if let Some(found) = &facts.found {
        put.text(ct::CACHE_STATUS, found.status);
        if let Some(similarity) = found.similarity {
            put.double(ct::CACHE_SIMILARITY, f64::from(similarity));
        }
        if let Some(saved) = found.saved {
            put.text(ct::CACHE_SAVED, saved.decimal().as_str());
        }
    }
    let soft = facts.governed.soft_limits();
    if !soft.is_empty() {
        put.texts(ct::SOFT_LIMITS, &soft.iter().map(String::as_str).collect::<Vec<_>>());
    }
    guardrails(put, facts);
    if !facts.queued.is_zero() {
        put.double(ct::QUEUE_DURATION, facts.queued.as_secs_f64());
    }
    if let Some(attempt) = facts.current().filter(|attempt| !attempt.decision.is_empty()) {
        put.text(ct::CASCADE_DECISION, &attempt.decision);
        if let Some(score) = attempt.score {
            put.double(ct::CASCADE_SCORE, score);
        }
    }
    answer(put, names, facts.first_content.zip(facts.asked_at));
    usage_and_cost(put, facts, figures);
}

fn client(put: &mut impl Attributes, facts: &Facts, names: &Names<'_>, attempt: &Attempt, number: usize) {
    common(put, facts, names, Some(&*attempt.model), ct::RECORD_ATTEMPT);
    put.int(ct::ATTEMPT, i64::try_from(number).unwrap_or(i64::MAX));
    put.text(otel::SERVER_ADDRESS, &attempt.address);
    put.int(otel::SERVER_PORT, i64::from(attempt.port));
    if let Some(status) = attempt.status {
        put.int(otel::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
    }
    if let Some(error) = attempt.error {
        put.text(otel::ERROR_TYPE, error);
    }
    if attempt.is_hedge {
        put.flag(ct::HEDGE, true);
    }
    if !attempt.decision.is_empty() {
        put.text(ct::CASCADE_DECISION, &attempt.decision);
    }
    if let Some(score) = attempt.score {
        put.double(ct::CASCADE_SCORE, score);
    }
    if let Some(signals) = &attempt.signals {
        put.text(ct::CASCADE_SIGNALS, signals);
    }
}

/// What guardrails found: which rules, what they demand and where, in lists that belong together.
fn guardrails(put: &mut impl Attributes, facts: &Facts) {
    let found = facts.breaches();
    let Some(decision) = found.iter().map(|found| found.action).max() else { return };
    let list = |of: fn(&Found) -> &str| found.iter().map(of).collect::<Vec<_>>();
    put.text(ct::GUARDRAIL_DECISION, decision.as_str());
    put.texts(ct::GUARDRAIL_NAME, &list(|found| &found.guardrail));
    put.texts(ct::GUARDRAIL_RULE, &list(|found| &found.rule));
    put.texts(ct::GUARDRAIL_ACTION, &list(|found| found.action.as_str()));
    put.texts(ct::GUARDRAIL_PLACE, &list(|found| found.place));
}

/// What both kinds of spans say.
fn common(
    put: &mut impl Attributes,
    facts: &Facts,
    names: &Names<'_>,
    model: Option<&Model>,
    record: &'static str,
) {
    put.text(ct::RECORD, record);
    put.text(ct::TENANT_ID, facts.key.tenant.id.as_str());
    put.int(ct::RETENTION_DAYS, i64::from(facts.key.tenant.retention_days));
    put.text(gen_ai::OPERATION_NAME, facts.endpoint.operation);
    if let Some(ask) = &facts.ask {
        put.text(gen_ai::REQUEST_MODEL, names.asked);
        put.flag(gen_ai::REQUEST_STREAM, ask.stream);
    }
    if let Some(model) = model {
        put.text(gen_ai::PROVIDER_NAME, model.provider.price_as.as_str());
        put.text(ct::TIER, model.tier.as_str());
    }
    if let Some(prompted) = &facts.prompted {
        put.text(gen_ai::PROMPT_NAME, prompted.name.as_str());
        put.text(gen_ai::PROMPT_VERSION, &prompted.version.to_string());
    }
    if let Some(route) = facts.resolved.as_ref().and_then(|resolved| resolved.route.as_ref()) {
        put.text(ct::ROUTE, route.name.as_str());
    }
}

/// What came of it; `first` is when the first content came, and since when it was waited for.
fn answer(put: &mut impl Attributes, names: &Names<'_>, first: Option<(Instant, Instant)>) {
    if let Some(model) = names.answered {
        put.text(gen_ai::RESPONSE_MODEL, model);
    }
    if let Some(id) = names.id {
        put.text(gen_ai::RESPONSE_ID, id);
    }
    if !names.reasons.is_empty() {
        put.texts(gen_ai::RESPONSE_FINISH_REASONS, &names.reasons);
    }
    if let Some((first, since)) = first {
        put.double(gen_ai::RESPONSE_TIME_TO_FIRST_CHUNK, first.duration_since(since).as_secs_f64());
    }
}

fn usage_and_cost(put: &mut impl Attributes, facts: &Facts, figures: Figures<'_>) {
    let Some(source) = figures.used.source else { return };
    let usage = &figures.used.usage;
    put.text(ct::USAGE_SOURCE, source.as_str());
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
            put.int(name, i64::try_from(tokens).unwrap_or(i64::MAX));
        }
    }
    if let Some(amounts) = figures.amounts {
        put.text(ct::COST_INPUT, amounts.input.as_str());
        put.text(ct::COST_OUTPUT, amounts.output.as_str());
        put.text(ct::COST_CACHE, amounts.cache.as_str());
        put.text(ct::COST_TOTAL, amounts.total.as_str());
        put.text(ct::PRICE_BOOK_VERSION, facts.snapshot.prices.version.as_str());
    }
}

/// What the model was given to answer from: ids and scores, and the texts where content is kept and the request was not blocked.
fn context(put: &mut impl Attributes, facts: &Facts, limit: usize, metrics: &GatewayMetrics) {
    let Some(ask) = facts.ask.as_ref().filter(|ask| !ask.context.passages.is_empty()) else { return };
    let keeps_texts = facts.key.tenant.capture_content && !facts.is_refused();
    let limit = keeps_texts.then_some(limit);
    let (json, cut) = context_json(&ask.context.passages, limit);
    put.text(gen_ai::RETRIEVAL_DOCUMENTS, &json);
    metrics.truncated_bytes.inc_by(cut as u64);
}

/// Prompt and answer, as the protocol's own JSON.
fn content(put: &mut impl Attributes, facts: &Facts, limit: usize, metrics: &GatewayMetrics) {
    let mut cut = 0;
    let mut kept = |json: &'_ str| {
        let kept = json.floor_char_boundary(limit);
        cut += json.len() - kept;
        kept
    };
    if let Some(ask) = &facts.ask {
        let places = [
            (gen_ai::INPUT_MESSAGES, &ask.prompt_at),
            (gen_ai::SYSTEM_INSTRUCTIONS, &ask.instructions_at),
            (gen_ai::TOOL_DEFINITIONS, &ask.tools_at),
        ];
        for (name, place) in places {
            if let Some(json) = ask.text(place.as_ref()) {
                put.text(name, &json[..kept(json)]);
            }
        }
    }
    // A part of either would be another: what does not fit is left out.
    let format = facts.ask.as_ref().and_then(|ask| ask.text(ask.format_at.as_ref()));
    for (name, json) in [
        (ct::RESPONSE_FORMAT, format.map(Cow::Borrowed)),
        (ct::LOGPROBS, facts.answer.logprobs.to_json().map(Cow::Owned)),
    ] {
        if let Some(json) = json.filter(|json| json.len() <= limit) {
            put.text(name, &json);
        }
    }
    let told = facts.told();
    if !told.output.is_empty() {
        let json = told.output.to_json();
        put.text(gen_ai::OUTPUT_MESSAGES, &json[..kept(&json)]);
    }
    cut += facts.answer.kept.beyond;
    if cut > 0 {
        put.int(ct::CONTENT_TRUNCATED_BYTES, i64::try_from(cut).unwrap_or(i64::MAX));
        metrics.truncated_bytes.inc_by(cut as u64);
    }
}
