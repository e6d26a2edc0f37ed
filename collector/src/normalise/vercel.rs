//! The Vercel AI SDK: `ai.*`, written beside a part of the GenAI conventions.

use super::draft::{Column, Draft};
use super::messages;
use super::{Dialect, provider, values};
use serde_json::{Value as Json, json};

const DIALECT: Dialect = Dialect::Vercel;

const TEXTS: &[(&str, Column<String>)] = &[
    ("ai.model.id", |row| &mut row.request_model),
    ("ai.response.model", |row| &mut row.response_model),
    ("ai.response.id", |row| &mut row.response_id),
    ("ai.toolCall.name", |row| &mut row.tool_name),
    ("ai.toolCall.id", |row| &mut row.tool_call_id),
    ("ai.toolCall.args", |row| &mut row.tool_arguments),
    ("ai.toolCall.result", |row| &mut row.tool_result),
];

const COUNTS: &[(&str, Column<u64>)] = &[
    ("ai.usage.promptTokens", |row| &mut row.input_tokens),
    ("ai.usage.completionTokens", |row| &mut row.output_tokens),
    ("ai.usage.inputTokens", |row| &mut row.input_tokens),
    ("ai.usage.outputTokens", |row| &mut row.output_tokens),
    ("ai.usage.cachedInputTokens", |row| &mut row.cache_read_tokens),
    ("ai.usage.reasoningTokens", |row| &mut row.reasoning_tokens),
    ("ai.usage.tokens", |row| &mut row.input_tokens),
];

/// Fills what the SDK writes and nobody before it filled. Its `operationId` rules over the conventions' operation name,
/// which it sets to its own function's name (`ai.streamText.doStream`).
pub(super) fn apply(draft: &mut Draft) {
    if !draft.fields.has_prefix("ai.") {
        return;
    }
    operation(draft);
    draft.texts(DIALECT, TEXTS);
    draft.counts(DIALECT, COUNTS);
    draft.fill(
        DIALECT,
        "ai.model.provider",
        |row| &mut row.provider,
        |value| {
            // `openai.chat`, `anthropic.messages`: the provider and its interface.
            let name = values::text(value);
            let name = name.split('.').next().unwrap_or_default().to_owned();
            provider::parse(&opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(name))
        },
    );
    draft.fill(
        DIALECT,
        "ai.response.finishReason",
        |row| &mut row.finish_reasons,
        |value| Some(values::texts(value)),
    );
    draft.fill(
        DIALECT,
        "ai.response.msToFirstChunk",
        |row| &mut row.ttft_ns,
        |value| values::nanos(value, 1e6),
    );
    draft.fill(
        DIALECT,
        "ai.prompt.tools",
        |row| &mut row.tool_definitions,
        |value| {
            let tools = values::texts(value).into_iter().map(values::parsed_text);
            Some(Json::Array(tools.collect()).to_string())
        },
    );
    input(draft);
    output(draft);
}

fn operation(draft: &mut Draft) {
    let Some(id) = draft.fields.get("ai.operationId").map(values::text) else { return };
    let operation = match id.as_str() {
        "ai.toolCall" => "execute_tool",
        id if id.starts_with("ai.embed") => "embeddings",
        id if id.ends_with(".doGenerate") || id.ends_with(".doStream") => "chat",
        id if id.starts_with("ai.generate") || id.starts_with("ai.stream") => "invoke_agent",
        _ => return,
    };
    if draft.row.operation.starts_with("ai.") {
        draft.row.operation.clear();
    }
    if id.contains("stream") || id.contains("Stream") {
        draft.set(DIALECT, |row| &mut row.stream, true);
    }
    if draft.set(DIALECT, |row| &mut row.operation, operation.to_owned()) {
        draft.fields.take("ai.operationId");
    }
}

fn input(draft: &mut Draft) {
    if !draft.row.input_messages.is_empty() {
        return;
    }
    let messages =
        match draft.fields.take_text("ai.prompt.messages").or_else(|| draft.fields.take_text("ai.prompt")) {
            Some(text) => match values::parsed_text(text) {
                Json::Object(mut prompt) if prompt.contains_key("messages") => {
                    let messages = prompt.remove("messages").unwrap_or_default();
                    if let Some(system) = prompt.remove("system") {
                        draft.set(DIALECT, |row| &mut row.system_instructions, values::plain(system));
                    }
                    messages
                }
                Json::Object(mut prompt) if prompt.contains_key("prompt") => {
                    prompt.remove("prompt").unwrap_or_default()
                }
                other => other,
            },
            None => match draft.fields.take("ai.value").or_else(|| draft.fields.take("ai.values")) {
                Some(value) => {
                    json!([{"role": "user", "parts": [{"type": "text", "content": values::text(&value)}]}])
                }
                None => return,
            },
        };
    let messages = messages::from_openai(messages, "user").to_string();
    draft.set(DIALECT, |row| &mut row.input_messages, messages);
}

fn output(draft: &mut Draft) {
    if !draft.row.output_messages.is_empty() {
        return;
    }
    let text =
        draft.fields.take_text("ai.response.text").or_else(|| draft.fields.take_text("ai.response.object"));
    let calls = draft.fields.take_text("ai.response.toolCalls").map(values::parsed_text);
    if text.is_none() && calls.is_none() {
        return;
    }
    let mut message = messages::Message::default();
    message.push_content(text.filter(|text| !text.is_empty()).map(Json::String), None);
    for call in calls.as_ref().and_then(Json::as_array).into_iter().flatten() {
        let member = |keys: [&str; 2]| keys.iter().find_map(|key| call.get(key)).cloned().map(values::plain);
        let (id, name) = (member(["toolCallId", "id"]), member(["toolName", "name"]));
        message.push_tool_call(id, name, member(["args", "input"]));
    }
    message.finish_reason = draft.row.finish_reasons.first().cloned();
    let messages = Json::Array(vec![message.into_json("assistant")]).to_string();
    draft.set(DIALECT, |row| &mut row.output_messages, messages);
}
