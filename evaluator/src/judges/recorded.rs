//! From what was recorded of a call to a [`Subject`].
//!
//! Messages come in OpenTelemetry's shape (`{role, parts: [{type, content}]}`) or OpenAI's (`{role, content, tool_calls}`).
//! Context is gathered from every place where an application may have left it: the captured request field
//! `control_tower.context`, results of tools, and the documents of retrievals in the same trace.

use super::{Message, Passage, Subject, Tool, ToolCall};
use contracts::{SubjectRef, TenantId, Timestamp};
use serde::de::IgnoredAny;
use serde_json::Value;
use warehouse::{JudgeCall, Retrieval};

/// Passages of a call at most; a trace can hold thousands of documents.
const MOST_PASSAGES: usize = 500;

/// The subject of a recorded call, judged `at`.
pub fn subject(tenant: TenantId, call: &JudgeCall, retrievals: &[&Retrieval], at: Timestamp) -> Subject {
    let reference = SubjectRef {
        tenant,
        trace_id: call.trace_id.clone(),
        span_id: call.span_id.clone(),
        response_id: call.response_id.clone(),
    };
    let mut subject = Subject::new(reference, at);
    subject.route.clone_from(&call.route);
    subject.model = [&call.response_model, &call.request_model]
        .into_iter()
        .find(|model| !model.is_empty())
        .cloned()
        .unwrap_or_default();
    // Each is cut on its own, in the middle of its JSON.
    subject.cut = call.truncated_bytes > 0
        && [&call.input_messages, &call.output_messages, &call.system_instructions, &call.tool_definitions]
            .into_iter()
            .any(|kept| !kept.is_empty() && serde_json::from_str::<IgnoredAny>(kept).is_err());
    subject.system = text_of(&call.system_instructions);
    take_input(&mut subject, &parsed(&call.input_messages));
    take_output(&mut subject, &parsed(&call.output_messages));
    subject.tools = tools(&parsed(&call.tool_definitions));
    take_documents(&mut subject, &parsed(&call.context), "request");
    for retrieval in retrievals {
        let source =
            if retrieval.data_source_id.is_empty() { "retrieval" } else { &retrieval.data_source_id };
        take_documents(&mut subject, &parsed(&retrieval.retrieval_documents), source);
    }
    take_format(&mut subject, &parsed(&call.response_format));
    if let Value::Array(numbers) = parsed(&call.logprobs) {
        subject.logprobs = numbers.iter().filter_map(Value::as_f64).collect();
    }
    subject
}

/// Input messages: the conversation, the question, and what tools found.
pub fn take_input(subject: &mut Subject, messages: &Value) {
    match messages {
        Value::Array(items) => {
            for item in items {
                let item = Item::of(item, "user");
                if item.role == "tool" && !item.text.is_empty() && subject.context.len() < MOST_PASSAGES {
                    let id = item.tool_call_id.unwrap_or_default();
                    subject.context.push(Passage {
                        id,
                        text: item.text.clone(),
                        score: None,
                        source: "tool".to_owned(),
                    });
                }
                if item.role == "system" || item.role == "developer" {
                    append(&mut subject.system, &item.text);
                }
                subject.messages.push(Message { role: item.role, text: item.text });
            }
        }
        Value::String(text) => {
            subject.messages.push(Message { role: "user".to_owned(), text: text.clone() });
        }
        _ => {}
    }
    let asked = subject.messages.iter().rev().find(|message| message.role == "user");
    subject.question = asked.map(|message| message.text.clone()).filter(|text| !text.trim().is_empty());
}

/// Output messages: the answer of the first choice, and its tool calls.
pub fn take_output(subject: &mut Subject, messages: &Value) {
    let first = match messages {
        Value::Array(items) => items.first(),
        Value::Object(_) => Some(messages),
        Value::String(text) => {
            subject.answer.clone_from(text);
            None
        }
        _ => None,
    };
    if let Some(first) = first {
        let item = Item::of(first, "assistant");
        subject.answer = item.text;
        subject.tool_calls = item.tool_calls;
    }
}

/// A response format of OpenAI's shape: `{type: json_object | json_schema, json_schema: {schema}}`, or `{format: {type, schema}}` as requests for
/// responses have it.
pub fn take_format(subject: &mut Subject, format: &Value) {
    let format = format.get("format").unwrap_or(format);
    let kind = format["type"].as_str().unwrap_or_default();
    subject.wants_json = matches!(kind, "json_object" | "json_schema");
    let schema = format["json_schema"].get("schema").or_else(|| format.get("schema"));
    subject.response_schema = schema.filter(|_| kind == "json_schema").cloned();
}

/// Tool definitions of OpenAI's shape (`{type, function: {name, parameters}}`) or flat (`{name, parameters | input_schema}`).
pub fn tools(definitions: &Value) -> Vec<Tool> {
    let items = definitions.as_array().map(Vec::as_slice).unwrap_or_default();
    let tools = items.iter().filter_map(|item| {
        let item = item.get("function").unwrap_or(item);
        let parameters = item.get("parameters").or_else(|| item.get("input_schema"));
        Some(Tool {
            name: item["name"].as_str()?.to_owned(),
            parameters: parameters.cloned().unwrap_or(Value::Null),
        })
    });
    tools.collect()
}

fn take_documents(subject: &mut Subject, documents: &Value, source: &str) {
    for document in documents.as_array().into_iter().flatten() {
        if subject.context.len() >= MOST_PASSAGES {
            return;
        }
        let text = ["text", "content", "page_content", "document"]
            .into_iter()
            .find_map(|key| document[key].as_str())
            .or_else(|| document.as_str());
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { continue };
        // The same document may have been captured from the request and from the retrieval.
        if subject.context.iter().any(|passage| passage.text == text) {
            continue;
        }
        let id = match &document["id"] {
            Value::String(id) => id.clone(),
            Value::Null => (subject.context.len() + 1).to_string(),
            other => other.to_string(),
        };
        subject.context.push(Passage {
            id,
            text: text.to_owned(),
            score: document["score"].as_f64(),
            source: document["source"].as_str().unwrap_or(source).to_owned(),
        });
    }
}

/// One message, whatever its dialect.
struct Item {
    role: String,
    text: String,
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
}

impl Item {
    fn of(item: &Value, role: &str) -> Self {
        // A choice of a chat completion wraps its message.
        let item = item.get("message").filter(|inner| inner.is_object()).unwrap_or(item);
        let mut found = Self {
            role: item["role"].as_str().unwrap_or(role).to_owned(),
            text: String::new(),
            tool_calls: Vec::new(),
            tool_call_id: item["tool_call_id"].as_str().map(str::to_owned),
        };
        match item.get("parts").or_else(|| item.get("content")) {
            Some(Value::String(text)) => found.text.clone_from(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| found.part(part)),
            _ => {}
        }
        if let Some(refusal) = item["refusal"].as_str() {
            append(&mut found.text, refusal);
        }
        for call in item["tool_calls"].as_array().into_iter().flatten() {
            found.call(call.get("function").unwrap_or(call));
        }
        found
    }

    fn part(&mut self, part: &Value) {
        let text = || part.get("content").or_else(|| part.get("text")).and_then(Value::as_str);
        match part["type"].as_str().unwrap_or("text") {
            "text" | "input_text" | "output_text" => {
                append(&mut self.text, text().or_else(|| part.as_str()).unwrap_or_default());
            }
            "refusal" => append(&mut self.text, part["refusal"].as_str().or_else(text).unwrap_or_default()),
            "tool_call" | "tool_use" | "function_call" => self.call(part),
            "tool_call_response" | "tool_result" | "function_call_output" => {
                "tool".clone_into(&mut self.role);
                self.tool_call_id = part["id"].as_str().map(str::to_owned);
                let result =
                    ["response", "result", "content", "output"].into_iter().find_map(|k| part.get(k));
                match result {
                    Some(Value::String(result)) => append(&mut self.text, result),
                    Some(other) => append(&mut self.text, &other.to_string()),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &Value) {
        let arguments = call.get("arguments").or_else(|| call.get("input")).unwrap_or(&Value::Null);
        self.tool_calls.push(ToolCall {
            name: call["name"].as_str().unwrap_or_default().to_owned(),
            arguments: match arguments {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        });
    }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}

/// JSON, or the text itself.
fn parsed(recorded: &str) -> Value {
    if recorded.trim().is_empty() {
        return Value::Null;
    }
    serde_json::from_str(recorded).unwrap_or_else(|_| Value::String(recorded.to_owned()))
}

/// System instructions: text, or parts.
fn text_of(recorded: &str) -> String {
    match parsed(recorded) {
        Value::String(text) => text,
        Value::Array(parts) => {
            let mut item = Item::of(&Value::Null, "system");
            for part in &parts {
                item.part(part);
            }
            item.text
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn empty() -> Subject {
        let tenant = "acme".parse().unwrap();
        let reference = SubjectRef {
            tenant,
            trace_id: String::new(),
            span_id: String::new(),
            response_id: String::new(),
        };
        Subject::new(reference, Timestamp::default())
    }

    #[test]
    fn both_dialects_say_the_same() {
        let otel = json!([
            {"role": "user", "parts": [{"type": "text", "content": "Weather in Rome?"}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "21 degrees"}]}
        ]);
        let openai = json!([
            {"role": "user", "content": "Weather in Rome?"},
            {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"}
        ]);
        let (mut one, mut other) = (empty(), empty());
        take_input(&mut one, &otel);
        take_input(&mut other, &openai);
        assert_eq!(one, other);
        assert_eq!(one.question.as_deref(), Some("Weather in Rome?"));
        assert_eq!((one.context[0].id.as_str(), one.context[0].text.as_str()), ("c1", "21 degrees"));
        let call = json!([{"role": "assistant", "parts": [
            {"type": "text", "content": "One moment."},
            {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Rome"}}
        ]}]);
        let choice = json!([{"message": {"role": "assistant", "content": "One moment.", "tool_calls": [
            {"id": "c1", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}}
        ]}}]);
        take_output(&mut one, &call);
        take_output(&mut other, &choice);
        assert_eq!(one, other);
        assert_eq!(one.tool_calls[0].arguments, "{\"city\":\"Rome\"}");
    }

    #[test]
    fn both_endpoints_can_ask_for_json() {
        let schema = json!({"type": "object"});
        for format in [
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}),
            json!({"format": {"type": "json_schema", "name": "n", "schema": schema}, "verbosity": "low"}),
        ] {
            let mut subject = empty();
            take_format(&mut subject, &format);
            assert!(subject.wants_json, "{format}");
            assert_eq!(subject.response_schema.as_ref(), Some(&schema), "{format}");
        }
        let mut plain = empty();
        take_format(&mut plain, &json!({"format": {"type": "text"}}));
        assert!(!plain.wants_json);
    }

    #[test]
    fn a_call_that_was_cut_is_known_as_such() {
        let whole = r#"[{"role":"user","content":"Hi"}]"#;
        let call = |input: &str, output: &str, truncated_bytes| JudgeCall {
            input_messages: input.to_owned(),
            output_messages: output.to_owned(),
            truncated_bytes,
            ..JudgeCall::default()
        };
        let cut = |call: JudgeCall| subject("acme".parse().unwrap(), &call, &[], Timestamp::default()).cut;
        assert!(cut(call(&whole[..20], whole, 12)));
        assert!(cut(call(whole, &whole[..20], 12)));
        assert!(!cut(call(whole, whole, 0)));
        // What another telemetry wrote as plain text was never JSON, and nothing is missing.
        assert!(!cut(call("What is the capital?", "Rome.", 0)));
    }

    #[test]
    fn documents_are_taken_once_and_need_a_text() {
        let mut subject = empty();
        take_documents(
            &mut subject,
            &json!([{"id": "a", "text": "Rome", "score": 0.5}, {"id": "b"}, "Lyon"]),
            "request",
        );
        take_documents(&mut subject, &json!([{"content": "Rome"}, {"id": 7, "content": "Graz"}]), "wiki");
        let ids: Vec<(&str, &str)> =
            subject.context.iter().map(|p| (p.id.as_str(), p.source.as_str())).collect();
        assert_eq!(ids, [("a", "request"), ("2", "request"), ("7", "wiki")]);
    }
}
