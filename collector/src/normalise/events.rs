//! What the conventions put into events of the span: messages, one an event in the older version and all in one in the newer,
//! the first chunk of an answer, and the exception that ended it.

use super::draft::{Column, Draft};
use super::fields::Fields;
use super::messages;
use super::{Dialect, gen_ai, values};
use contracts::attributes::gen_ai as names;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde_json::{Map, Value as Json};

/// One event of a span.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// Nanoseconds since the epoch.
    pub(super) time_ns: i64,
    pub(super) name: String,
    pub(super) fields: Fields,
}

/// Names of the event that marks the first chunk, by instrumentation.
const FIRST_CHUNK: &[&str] = &[
    "First Token Stream Event",
    "ai.stream.firstChunk",
    "gen_ai.content.completion.chunk",
    "gen_ai.first_chunk",
    "llm.content.completion.chunk",
];

/// The event of the newer conventions whose attributes are those of the span.
const DETAILS: &str = "gen_ai.client.inference.operation.details";

/// Takes what columns want out of the events and returns the events that remain.
pub(super) fn apply(draft: &mut Draft, events: Vec<Event>, start_ns: i64) -> Vec<Event> {
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut rest = Vec::with_capacity(events.len());
    let takes_input = draft.row.input_messages.is_empty() && !draft.fields.has_prefix(names::INPUT_MESSAGES);
    let takes_output = draft.row.output_messages.is_empty();
    for mut event in events {
        match event.name.as_str() {
            "gen_ai.system.message"
            | "gen_ai.user.message"
            | "gen_ai.assistant.message"
            | "gen_ai.tool.message"
                if takes_input =>
            {
                let role = event.name.split('.').nth(1).unwrap_or("user").to_owned();
                input.push(message(event.fields, &role));
            }
            "gen_ai.choice" if takes_output => output.push(choice(event.fields)),
            "gen_ai.content.prompt" if takes_input => {
                contents(event.fields, "gen_ai.prompt", "user", &mut input);
            }
            "gen_ai.content.completion" if takes_output => {
                contents(event.fields, "gen_ai.completion", "assistant", &mut output);
            }
            DETAILS => {
                details(draft, &mut event);
                rest.push(event);
            }
            name => {
                if FIRST_CHUNK.contains(&name) {
                    first_chunk(draft, event.time_ns, start_ns);
                }
                rest.push(event);
            }
        }
    }
    for (list, column) in
        [(input, (|row| &mut row.input_messages) as Column<String>), (output, |row| &mut row.output_messages)]
    {
        if !list.is_empty() {
            if column(&mut draft.row).is_empty() {
                draft.tally.saw(Dialect::OlderGenAi);
            }
            draft.set(Dialect::OlderGenAi, column, Json::Array(list).to_string());
        }
    }
    rest
}

/// The class of the error that a failed span does not name: that of its exception, else the conventions' `_OTHER`.
pub(super) fn error_type(draft: &mut Draft, events: &[Event]) {
    if draft.row.status != "error" || !draft.row.error_type.is_empty() {
        return;
    }
    let exception = events.iter().rev().find(|event| event.name == "exception");
    let class = exception.and_then(|event| event.fields.get("exception.type")).map(values::text);
    draft.row.error_type = class.filter(|class| !class.is_empty()).unwrap_or_else(|| "_OTHER".to_owned());
}

fn message(fields: Fields, role: &str) -> Json {
    messages::from_openai(Json::Array(vec![Json::Object(body(fields))]), role)
        .as_array_mut()
        .and_then(Vec::pop)
        .unwrap_or_default()
}

/// A choice: the message (an object, or spread over the event) and why it ended.
fn choice(fields: Fields) -> Json {
    let mut choice = body(fields);
    if let Some(Json::Object(message)) = choice.remove("message") {
        for (key, value) in message {
            choice.entry(key).or_insert(value);
        }
    }
    messages::from_openai(Json::Array(vec![Json::Object(choice)]), "assistant")
        .as_array_mut()
        .and_then(Vec::pop)
        .unwrap_or_default()
}

/// The attributes as a message; some instrumentations put the whole body, as JSON, under one key.
fn body(mut fields: Fields) -> Map<String, Json> {
    let mut body = Map::new();
    // These repeat what the span says.
    fields.take("gen_ai.system");
    fields.take("gen_ai.provider.name");
    for (key, value) in fields.into_entries() {
        let value = match value {
            Value::StringValue(text)
                if matches!(key.as_str(), "message" | "tool_calls" | "gen_ai.event.content") =>
            {
                values::parsed_text(text)
            }
            Value::StringValue(text) => Json::String(text),
            other => values::json(&other),
        };
        match (key.as_str(), value) {
            ("gen_ai.event.content", Json::Object(members)) => body.extend(members),
            ("gen_ai.event.content", other) => _ = body.insert("content".into(), other),
            ("id", value) => _ = body.insert("tool_call_id".into(), value),
            (_, value) => _ = body.insert(key, value),
        }
    }
    body
}

fn contents(mut fields: Fields, key: &str, role: &str, into: &mut Vec<Json>) {
    if let Some(text) = fields.take_text(key)
        && let Json::Array(messages) = messages::from_openai(values::parsed_text(text), role)
    {
        into.extend(messages);
    }
}

/// The attributes of the details event are the span's own names: read them as such, and leave the rest on the event.
fn details(draft: &mut Draft, event: &mut Event) {
    std::mem::swap(&mut draft.fields, &mut event.fields);
    gen_ai::main(draft);
    std::mem::swap(&mut draft.fields, &mut event.fields);
}

fn first_chunk(draft: &mut Draft, time_ns: i64, start_ns: i64) {
    let after = time_ns.saturating_sub(start_ns);
    if draft.row.ttft_ns == 0
        && let Ok(after) = u64::try_from(after)
    {
        draft.set(Dialect::OlderGenAi, |row| &mut row.ttft_ns, after);
    }
}
