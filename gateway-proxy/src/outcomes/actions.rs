//! `POST /v1/actions`: what came of answers, and which answers.
//!
//! `{"name", "outcome": "useful" | "not_useful" | {"value": "12.50"}, "responses", "traces", "idempotency_key", "time"}`. A response or
//! trace is its id, or `{"id", "weight"}`: the share of its cost, above 0 and at most 1, that the weighted rule gives to this action.
//! A response's id is the answer's `id`, or the gateway's `x-request-id`.

use super::fields::{self, Fields, text_of, trace_of, unexpected};
use crate::emit::Event;
use crate::request::missing;
use contracts::attributes::control_tower as ct;
use contracts::{ApiError, Usd};
use serde_json::{Value, json};

/// Most responses, and most traces, of one action.
const MOST_LINKS: usize = 256;
/// More than this is a mistake, US dollars.
const MOST_VALUE: Usd = Usd::from_picos(1_000_000_000_000_000_000_000_000);

/// Names of its fields.
pub(super) const FIELDS: &str = "name, outcome, responses, traces, idempotency_key and time";

pub(super) fn read(fields: &mut Fields, event: &mut Event) -> Result<(), ApiError> {
    event.name = ct::EVENT_ACTION;
    let name = fields.required("name", fields::NAME, "what was done, such as ticket_resolved")?;
    event.text(ct::ACTION_NAME, name);
    outcome(fields, event)?;
    let responses = links(fields, "responses", |name, text| text_of(name, Value::from(text), fields::ID))?;
    let traces = links(fields, "traces", trace_of)?;
    if responses.is_empty() && traces.is_empty() {
        return Err(missing("responses", "at least one of responses and traces, which served the action"));
    }
    for (attribute, links) in [(ct::ACTION_RESPONSES, responses), (ct::ACTION_TRACES, traces)] {
        if !links.is_empty() {
            event.text(attribute, Value::from(links).to_string());
        }
    }
    Ok(())
}

fn outcome(fields: &mut Fields, event: &mut Event) -> Result<(), ApiError> {
    const EXPECTED: &str = "\"useful\", \"not_useful\" or {\"value\": US dollars as a decimal string}";
    let outcome = match fields.take("outcome") {
        None => return Err(missing("outcome", EXPECTED)),
        Some(Value::String(text)) if matches!(text.as_str(), "useful" | "not_useful") => text,
        Some(Value::Object(mut members)) if members.len() == 1 && members.contains_key("value") => {
            let value = members.remove("value").unwrap_or_default();
            event.text(ct::ACTION_VALUE, amount(value)?.to_string());
            "value".to_owned()
        }
        Some(other) => {
            let shown: String = other.to_string().chars().take(100).collect();
            let message = format!("outcome: {shown} is not valid: expected {EXPECTED}");
            return Err(ApiError::invalid("outcome", message));
        }
    };
    event.text(ct::ACTION_OUTCOME, outcome);
    Ok(())
}

/// Money is a text: a JSON number has no exact decimals.
fn amount(value: Value) -> Result<Usd, ApiError> {
    let name = "outcome.value";
    let Value::String(text) = value else { return Err(unexpected(name, &value, "a decimal string")) };
    let amount: Usd = text.parse().map_err(|error| ApiError::invalid(name, format!("{name}: {error}")))?;
    if amount > MOST_VALUE || amount < -MOST_VALUE {
        let message = format!("{name}: {amount} is out of range: expected at most {MOST_VALUE} either way");
        return Err(ApiError::invalid(name, message));
    }
    Ok(amount)
}

/// A list of `{"id", "weight"}`, each id once.
fn links(
    fields: &mut Fields,
    name: &str,
    check: impl Fn(&str, &str) -> Result<String, ApiError>,
) -> Result<Vec<Value>, ApiError> {
    let mut seen = Vec::new();
    let mut links = Vec::new();
    for (at, item) in fields.list(name, MOST_LINKS)?.into_iter().enumerate() {
        let place = format!("{name}[{at}]");
        let (id, weight) = match item {
            Value::String(id) => (id, 1.0),
            Value::Object(mut members) => {
                let id =
                    text_of(&format!("{place}.id"), members.remove("id").unwrap_or_default(), fields::ID)?;
                let weight = members.remove("weight").map_or(Ok(1.0), |value| weight(&place, &value))?;
                if let Some(other) = members.keys().next() {
                    let other = format!("{place}.{other}");
                    return Err(ApiError::invalid(
                        other.clone(),
                        format!("{other}: no such field: expected id and weight"),
                    ));
                }
                (id, weight)
            }
            other => return Err(unexpected(&place, &other, "an id, or an object of id and weight")),
        };
        let id = check(&place, &id)?;
        if seen.contains(&id) {
            return Err(ApiError::invalid(
                place.clone(),
                format!("{place}: {id:?} is there twice: expected each once"),
            ));
        }
        seen.push(id.clone());
        links.push(json!({"id": id, "weight": weight}));
    }
    Ok(links)
}

fn weight(place: &str, value: &Value) -> Result<f64, ApiError> {
    let name = format!("{place}.weight");
    match value.as_f64() {
        Some(weight) if weight > 0.0 && weight <= 1.0 => Ok(weight),
        Some(weight) => {
            let message = format!("{name}: {weight} is out of range: expected above 0 and at most 1");
            Err(ApiError::invalid(name, message))
        }
        None => Err(unexpected(&name, value, "number")),
    }
}
