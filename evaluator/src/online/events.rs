//! A verdict as the event in which it is written (`gen_ai.evaluation.result`), and what it cost as one of its own
//! (`control_tower.judging.cost`) where the verdict is not kept.

use contracts::verdict::{COST_EVENT_NAME, EVENT_NAME};
use contracts::{Timestamp, Usd, Verdict};
use warehouse::{EVALUATOR_KEY, EventRow, JudgeCall};

/// Our name as a service.
const SERVICE: &str = "control-tower-evaluator";
/// The attribute that says what a verdict cost, US dollars.
const COST: &str = "control_tower.evaluation.cost";
/// What an event of costs alone says, and nothing of the answer.
const OF_COSTS: [&str; 5] = [
    "gen_ai.evaluation.name",
    "gen_ai.request.model",
    "control_tower.route",
    "control_tower.evaluation.version",
    COST,
];

/// The event of a verdict on `call`, written at `at`, which is part of what makes it one event.
pub fn event(verdict: &Verdict, call: &JudgeCall, at: Timestamp) -> EventRow {
    let mut attributes = Vec::with_capacity(9);
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            attributes.push((name.to_owned(), value));
        }
    };
    put("gen_ai.evaluation.name", verdict.judge.clone());
    put("gen_ai.evaluation.score.value", verdict.score.map(|score| score.to_string()).unwrap_or_default());
    put("gen_ai.evaluation.score.label", verdict.label.clone());
    put("gen_ai.evaluation.explanation", verdict.explanation.clone());
    put("gen_ai.request.model", call.request_model.clone());
    put("control_tower.route", call.route.clone());
    put("control_tower.evaluation.version", verdict.version.clone());
    put(COST, verdict.cost.to_string());
    put("control_tower.evaluation.call_time_unix_nano", call.start_ns.to_string());
    if !verdict.details.is_null() {
        put("control_tower.evaluation.details", verdict.details.to_string());
    }
    EventRow {
        tenant_id: call.tenant_id.clone(),
        time: at.unix_nanos(),
        observed_time: at.unix_nanos(),
        event_id: format!("{}:{}:{}:{}", call.trace_id, call.span_id, verdict.judge, verdict.version),
        event_name: EVENT_NAME.to_owned(),
        trace_id: call.trace_id.clone(),
        span_id: call.span_id.clone(),
        response_id: call.response_id.clone(),
        severity: "INFO".to_owned(),
        severity_number: 9,
        service_name: SERVICE.to_owned(),
        scope_name: SERVICE.to_owned(),
        key_id: EVALUATOR_KEY.to_owned(),
        attributes,
        retention_days: call.retention_days,
        ..EventRow::default()
    }
}

/// What was paid at `at` for a verdict that is not kept, from the event in which it would have been written. None where it was free.
pub fn cost_alone(mut verdict: EventRow, at: Timestamp) -> Option<EventRow> {
    verdict.attributes.retain(|(name, _)| OF_COSTS.contains(&name.as_str()));
    let is_free = |(name, value): &(String, String)| name == COST && value == &Usd::ZERO.to_string();
    if verdict.attributes.iter().any(is_free) {
        return None;
    }
    Some(EventRow {
        event_name: COST_EVENT_NAME.to_owned(),
        time: at.unix_nanos(),
        observed_time: at.unix_nanos(),
        ..verdict
    })
}
