//! Rows from production: what was asked and what was answered, in the words of the trace.

use super::{Message, Passage, Row};
use serde_json::Value;
use std::collections::BTreeMap;
use warehouse::DatasetCall;

/// A row of one call; none where the call's messages were not kept. With `answer_is_expected` the answer that was given becomes the
/// reference. The row's id is the call's trace and span.
pub fn from_call(call: &DatasetCall, answer_is_expected: bool) -> Option<Row> {
    let mut messages = Vec::new();
    let system = joined(
        &serde_json::from_str(&call.system_instructions)
            .unwrap_or(Value::String(call.system_instructions.clone())),
    );
    if !system.is_empty() {
        messages.push(Message { role: "system".into(), content: system });
    }
    let input: Vec<Value> = serde_json::from_str(&call.input_messages).ok()?;
    messages.extend(input.iter().filter_map(message));
    if !messages.iter().any(|m| m.role == "user") {
        return None;
    }
    let output: Vec<Value> = serde_json::from_str(&call.output_messages).unwrap_or_default();
    let answer = output.first().map(joined).filter(|text| !text.is_empty());
    let slices =
        [("route", &call.route), ("model", &call.response_model), ("prompt_version", &call.prompt_version)];
    Some(Row {
        id: format!("{}-{}", call.trace_id, call.span_id),
        messages,
        context: passages(&call.context),
        expected: answer.filter(|_| answer_is_expected),
        slices: slices
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect(),
        params: BTreeMap::new(),
    })
}

fn message(value: &Value) -> Option<Message> {
    let role = value.get("role")?.as_str()?.to_owned();
    let content = joined(value);
    (!content.is_empty()).then_some(Message { role, content })
}

/// The texts of a message in whichever shape: `parts` of the semantic conventions, `content` as text or as a list.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(joined).filter(|text| !text.is_empty()).collect();
            texts.join("\n")
        }
        Value::Object(map) => {
            let inner = ["parts", "content", "text"].iter().find_map(|name| map.get(*name));
            inner.map(joined).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn passages(context: &str) -> Vec<Passage> {
    let items: Vec<Value> = serde_json::from_str(context).unwrap_or_default();
    let numbered = items.iter().enumerate();
    numbered
        .filter_map(|(index, item)| {
            let text = joined(item);
            let id =
                item.get("id").and_then(Value::as_str).map_or_else(|| (index + 1).to_string(), str::to_owned);
            (!text.is_empty()).then_some(Passage { id, text })
        })
        .collect()
}
