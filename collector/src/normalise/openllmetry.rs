//! OpenLLMetry (Traceloop): `gen_ai.prompt.N.*`, `gen_ai.completion.N.*`, `llm.usage.*`, `llm.request.*`, `traceloop.*`.

use super::draft::{Column, Draft};
use super::fields::Fields;
use super::messages::{self, Message};
use super::{Dialect, values};
use serde_json::Value as Json;

const DIALECT: Dialect = Dialect::OpenLlmetry;

const TEXTS: &[(&str, Column<String>)] = &[
    ("llm.request.model", |row| &mut row.request_model),
    ("llm.response.model", |row| &mut row.response_model),
    ("llm.response.id", |row| &mut row.response_id),
    ("traceloop.association.properties.session_id", |row| &mut row.conversation_id),
    ("traceloop.prompt.key", |row| &mut row.prompt_name),
    ("traceloop.prompt.version", |row| &mut row.prompt_version),
];

const COUNTS: &[(&str, Column<u64>)] = &[
    ("llm.usage.prompt_tokens", |row| &mut row.input_tokens),
    ("llm.usage.completion_tokens", |row| &mut row.output_tokens),
    ("llm.usage.input_tokens", |row| &mut row.input_tokens),
    ("llm.usage.output_tokens", |row| &mut row.output_tokens),
    ("llm.usage.cache_read_input_tokens", |row| &mut row.cache_read_tokens),
    ("llm.usage.cache_creation_input_tokens", |row| &mut row.cache_write_tokens),
    ("llm.usage.reasoning_tokens", |row| &mut row.reasoning_tokens),
];

/// Fills what OpenLLMetry knows and nobody before it filled.
pub(super) fn apply(draft: &mut Draft) {
    draft.fill(
        DIALECT,
        "llm.request.type",
        |row| &mut row.operation,
        |value| request_operation(&values::text(value)),
    );
    draft.fill(
        DIALECT,
        "traceloop.span.kind",
        |row| &mut row.operation,
        |value| kind_operation(&values::text(value)),
    );
    draft.texts(DIALECT, TEXTS);
    draft.counts(DIALECT, COUNTS);
    for key in ["llm.is_streaming", "gen_ai.is_streaming"] {
        draft.fill(DIALECT, key, |row| &mut row.stream, values::truth);
    }
    for key in ["llm.response.finish_reason", "llm.response.stop_reason", "gen_ai.response.finish_reason"] {
        draft.fill(DIALECT, key, |row| &mut row.finish_reasons, |value| Some(values::texts(value)));
    }
    draft.groups(
        DIALECT,
        "gen_ai.prompt.",
        |row| &mut row.input_messages,
        |groups| conversation(groups, "user"),
    );
    draft.groups(
        DIALECT,
        "gen_ai.completion.",
        |row| &mut row.output_messages,
        |groups| conversation(groups, "assistant"),
    );
    draft.groups(DIALECT, "llm.request.functions.", |row| &mut row.tool_definitions, functions);
    finish_reasons(draft);
    total(draft);
    plain_contents(draft);
    entity(draft);
}

fn request_operation(kind: &str) -> Option<String> {
    let operation = match kind {
        "chat" => "chat",
        "completion" => "text_completion",
        "embedding" => "embeddings",
        "rerank" => "retrieval",
        _ => return None,
    };
    Some(operation.to_owned())
}

fn kind_operation(kind: &str) -> Option<String> {
    let operation = match kind {
        "workflow" => "invoke_workflow",
        "agent" => "invoke_agent",
        "tool" => "execute_tool",
        _ => return None,
    };
    Some(operation.to_owned())
}

fn conversation(groups: Vec<Fields>, role: &str) -> Json {
    let one = |mut fields: Fields| {
        let mut message = Message {
            role: fields.take_text("role"),
            finish_reason: fields.take_text("finish_reason"),
            ..Message::default()
        };
        let tool_call_id = fields.take_text("tool_call_id");
        // A content of several parts is written as JSON in the text.
        message.push_content(fields.take_text("content").map(values::parsed_text), tool_call_id);
        for mut call in fields.take_groups("tool_calls.") {
            let (id, name) = (call.take_text("id"), call.take_text("name"));
            message.push_tool_call(id, name, call.take_text("arguments"));
        }
        message.keep(fields);
        message.into_json(role)
    };
    Json::Array(groups.into_iter().map(one).collect())
}

/// `llm.request.functions.N.{name, description, parameters}` in OpenAI's shape of a tool.
fn functions(groups: Vec<Fields>) -> Json {
    let one = |fields: Fields| {
        let function: serde_json::Map<String, Json> = fields
            .into_entries()
            .map(|(key, value)| (key, values::parsed_text(values::text(&value))))
            .collect();
        serde_json::json!({"type": "function", "function": function})
    };
    Json::Array(groups.into_iter().map(one).collect())
}

/// Each completion carries its reason; the column wants them all.
fn finish_reasons(draft: &mut Draft) {
    if !draft.row.finish_reasons.is_empty() {
        return;
    }
    let Ok(Json::Array(messages)) = serde_json::from_str(&draft.row.output_messages) else { return };
    let reasons =
        messages.iter().filter_map(|message| message.get("finish_reason")?.as_str().map(str::to_owned));
    draft.row.finish_reasons = reasons.collect();
}

/// A total says nothing once its parts are known; when they do not add up to it, it stays.
fn total(draft: &mut Draft) {
    let sum = draft.row.input_tokens.saturating_add(draft.row.output_tokens);
    for key in ["llm.usage.total_tokens", "gen_ai.usage.total_tokens", "llm.token_count.total"] {
        if sum > 0 && draft.fields.get(key).and_then(values::count) == Some(sum) {
            draft.fields.take(key);
        }
    }
}

/// `gen_ai.prompt` and `gen_ai.completion` without numbers: the whole conversation as JSON or text.
fn plain_contents(draft: &mut Draft) {
    let columns: [(&str, &str, Column<String>); 2] = [
        ("gen_ai.prompt", "user", |row| &mut row.input_messages),
        ("gen_ai.completion", "assistant", |row| &mut row.output_messages),
    ];
    for (key, role, column) in columns {
        if column(&mut draft.row).is_empty()
            && let Some(text) = draft.fields.take_text(key)
        {
            let messages = messages::from_openai(values::parsed_text(text), role).to_string();
            draft.set(DIALECT, column, messages);
        }
    }
}

/// What a workflow, task, agent or tool took and gave, and its name.
fn entity(draft: &mut Draft) {
    let is_tool = draft.row.operation == "execute_tool";
    let (input, output): (Column<String>, Column<String>) = if is_tool {
        (|row| &mut row.tool_arguments, |row| &mut row.tool_result)
    } else {
        (|row| &mut row.input_messages, |row| &mut row.output_messages)
    };
    if is_tool {
        draft.fill(
            DIALECT,
            "traceloop.entity.name",
            |row| &mut row.tool_name,
            |value| Some(values::text(value)),
        );
    }
    for (key, role, column) in
        [("traceloop.entity.input", "user", input), ("traceloop.entity.output", "assistant", output)]
    {
        if column(&mut draft.row).is_empty()
            && let Some(text) = draft.fields.take_text(key)
        {
            let value = if is_tool { text } else { messages::single(role, &text) };
            draft.set(DIALECT, column, value);
        }
    }
}
