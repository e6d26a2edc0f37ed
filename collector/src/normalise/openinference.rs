//! OpenInference (Arize Phoenix and the many instrumentations that write for it): `llm.*`, `retrieval.*`, `tool.*`, with
//! lists flattened into numbered keys, and `input.value` / `output.value` for whatever a step took and gave.

use super::draft::{Column, Draft};
use super::fields::Fields;
use super::messages::{self, Message};
use super::{Dialect, provider, values};
use serde_json::{Map, Value as Json};

const DIALECT: Dialect = Dialect::OpenInference;

const TEXTS: &[(&str, Column<String>)] = &[
    ("llm.request.model_name", |row| &mut row.request_model),
    ("llm.response.model_name", |row| &mut row.response_model),
    ("embedding.model_name", |row| &mut row.request_model),
    ("reranker.model_name", |row| &mut row.request_model),
    ("reranker.query", |row| &mut row.retrieval_query),
    ("tool.name", |row| &mut row.tool_name),
    ("tool.id", |row| &mut row.tool_call_id),
    ("tool_call.id", |row| &mut row.tool_call_id),
    ("llm.prompt_template.version", |row| &mut row.prompt_version),
];

const COUNTS: &[(&str, Column<u64>)] = &[
    ("llm.token_count.prompt", |row| &mut row.input_tokens),
    ("llm.token_count.completion", |row| &mut row.output_tokens),
    ("llm.token_count.prompt_details.cache_read", |row| &mut row.cache_read_tokens),
    ("llm.token_count.prompt_details.cache_write", |row| &mut row.cache_write_tokens),
    ("llm.token_count.prompt_details.audio", |row| &mut row.audio_input_tokens),
    ("llm.token_count.completion_details.reasoning", |row| &mut row.reasoning_tokens),
    ("llm.token_count.completion_details.audio", |row| &mut row.audio_output_tokens),
];

/// Fills what OpenInference knows and nobody before it filled.
pub(super) fn apply(draft: &mut Draft) {
    operation(draft);
    draft.texts(DIALECT, TEXTS);
    draft.counts(DIALECT, COUNTS);
    asked_for(draft);
    model_name(draft);
    draft.fill(DIALECT, "llm.provider", |row| &mut row.provider, provider::parse);
    if draft.row.provider.is_empty() {
        draft.fill(DIALECT, "llm.system", |row| &mut row.provider, provider::parse);
    }
    draft.fill(
        DIALECT,
        "llm.finish_reason",
        |row| &mut row.finish_reasons,
        |value| Some(values::texts(value)),
    );
    draft.groups(
        DIALECT,
        "llm.input_messages.",
        |row| &mut row.input_messages,
        |groups| conversation(groups, "user"),
    );
    draft.groups(
        DIALECT,
        "llm.output_messages.",
        |row| &mut row.output_messages,
        |groups| conversation(groups, "assistant"),
    );
    draft.groups(DIALECT, "llm.prompts.", |row| &mut row.input_messages, |groups| prompts(groups, "user"));
    draft.groups(
        DIALECT,
        "llm.choices.",
        |row| &mut row.output_messages,
        |groups| prompts(groups, "assistant"),
    );
    draft.groups(DIALECT, "llm.tools.", |row| &mut row.tool_definitions, |groups| list(groups, tool));
    draft.groups(
        DIALECT,
        "retrieval.documents.",
        |row| &mut row.retrieval_documents,
        |groups| list(groups, document),
    );
    draft.groups(
        DIALECT,
        "reranker.output_documents.",
        |row| &mut row.retrieval_documents,
        |groups| list(groups, document),
    );
    draft.groups(DIALECT, "embedding.embeddings.", |row| &mut row.input_messages, embedded);
    in_and_out(draft);
}

/// The span kind as an operation. A kind without one (GUARDRAIL, EVALUATOR, …) stays an attribute.
fn operation(draft: &mut Draft) {
    let has_prompts = draft.fields.has_prefix("llm.prompts.");
    draft.fill(
        DIALECT,
        "openinference.span.kind",
        |row| &mut row.operation,
        |value| {
            let operation = match values::text(value).to_ascii_uppercase().as_str() {
                "LLM" if has_prompts => "text_completion",
                "LLM" => "chat",
                "EMBEDDING" => "embeddings",
                "RETRIEVER" | "RERANKER" => "retrieval",
                "TOOL" => "execute_tool",
                "AGENT" => "invoke_agent",
                "CHAIN" => "invoke_workflow",
                _ => return None,
            };
            Some(operation.to_owned())
        },
    );
}

/// What was asked for stands in the invocation's parameters, a JSON text that stays an attribute: the model, and whether
/// to stream.
fn asked_for(draft: &mut Draft) {
    let Some(text) = draft.fields.get("llm.invocation_parameters").map(values::text) else { return };
    let Json::Object(parameters) = values::parsed_text(text) else { return };
    if let Some(model) = parameters.get("model").and_then(Json::as_str)
        && draft.row.request_model.is_empty()
    {
        draft.set(DIALECT, |row| &mut row.request_model, model.to_owned());
    }
    if parameters.get("stream") == Some(&Json::Bool(true)) {
        draft.set(DIALECT, |row| &mut row.stream, true);
    }
}

/// `llm.model_name` is the model that answered, and, where nothing else says so, the one that was asked for.
fn model_name(draft: &mut Draft) {
    let Some(name) = draft.fields.get("llm.model_name").map(values::text) else { return };
    let known = [&draft.row.request_model, &draft.row.response_model].into_iter().any(|model| *model == name);
    let asked =
        draft.row.request_model.is_empty() && draft.set(DIALECT, |row| &mut row.request_model, name.clone());
    let served =
        draft.row.response_model.is_empty() && draft.set(DIALECT, |row| &mut row.response_model, name);
    if known || asked || served {
        draft.fields.take("llm.model_name");
    } else {
        draft.tally.conflicts += 1;
    }
}

fn conversation(groups: Vec<Fields>, role: &str) -> Json {
    let prefixed = |fields: Fields| -> Json {
        let mut fields = strip(fields, "message.");
        let mut message = Message {
            role: fields.take_text("role"),
            name: fields.take_text("name"),
            finish_reason: fields.take_text("finish_reason"),
            ..Message::default()
        };
        let tool_call_id = fields.take_text("tool_call_id");
        let mut contents: Vec<Json> = fields.take_groups("contents.").into_iter().map(content).collect();
        if let Some(text) = fields.take_text("content") {
            contents.insert(0, serde_json::json!({"type": "text", "text": text}));
        }
        match (contents.len(), tool_call_id) {
            (0, None) => {}
            (1, id @ Some(_)) => message.push_content(contents.pop().map(inner_text), id),
            (_, id) => message.push_content((!contents.is_empty()).then_some(Json::Array(contents)), id),
        }
        for call in fields.take_groups("tool_calls.") {
            let mut call = strip(call, "tool_call.");
            let (id, name) = (call.take_text("id"), call.take_text("function.name"));
            message.push_tool_call(id, name, call.take_text("function.arguments"));
        }
        message.keep(fields);
        message.into_json(role)
    };
    Json::Array(groups.into_iter().map(prefixed).collect())
}

/// One item of `message.contents`: `{"type", "text" | "image" | …}`.
fn content(fields: Fields) -> Json {
    let fields = strip(fields, "message_content.");
    Json::Object(fields.into_entries().map(|(key, value)| (key, values::json(&value))).collect())
}

fn inner_text(content: Json) -> Json {
    content.get("text").cloned().unwrap_or(content)
}

/// `llm.prompts.N.prompt.text`, `llm.choices.N.completion.text`.
fn prompts(groups: Vec<Fields>, role: &str) -> Json {
    let one = |mut fields: Fields| {
        let text =
            ["prompt.text", "completion.text", "text", ""].iter().find_map(|key| fields.take_text(key));
        let mut message = Message::default();
        message.push_content(text.map(Json::String), None);
        message.keep(fields);
        message.into_json(role)
    };
    Json::Array(groups.into_iter().map(one).collect())
}

fn list(groups: Vec<Fields>, one: impl Fn(Fields) -> Json) -> Json {
    Json::Array(groups.into_iter().map(one).collect())
}

/// `tool.json_schema` holds the definition as JSON in a text.
fn tool(mut fields: Fields) -> Json {
    let schema = fields.take_text("tool.json_schema").map(values::parsed_text);
    match schema {
        Some(schema) if fields.is_empty() => schema,
        schema => {
            let mut tool = members(strip(fields, "tool."));
            if let Some(schema) = schema {
                tool.insert("json_schema".into(), schema);
            }
            Json::Object(tool)
        }
    }
}

fn document(fields: Fields) -> Json {
    let mut document = members(strip(fields, "document."));
    if let Some(Json::String(metadata)) = document.get("metadata") {
        let metadata = values::parsed_text(metadata.clone());
        document.insert("metadata".into(), metadata);
    }
    Json::Object(document)
}

/// The texts that were embedded; a vector that was sent along stays with its text.
fn embedded(groups: Vec<Fields>) -> Json {
    let one = |fields: Fields| {
        let mut fields = strip(fields, "embedding.");
        let mut message = Message::default();
        message.push_content(fields.take_text("text").map(Json::String), None);
        message.keep(fields);
        message.into_json("user")
    };
    Json::Array(groups.into_iter().map(one).collect())
}

fn members(fields: Fields) -> Map<String, Json> {
    fields.into_entries().map(|(key, value)| (key, values::json(&value))).collect()
}

fn strip(fields: Fields, prefix: &str) -> Fields {
    let mut stripped = Fields::default();
    for (key, value) in fields.into_entries() {
        stripped.put(key.strip_prefix(prefix).unwrap_or(&key), value);
    }
    stripped
}

/// `input.value` and `output.value` mean what the operation makes of them; they stay attributes where the column they would
/// fill was filled by something more exact.
fn in_and_out(draft: &mut Draft) {
    let (input, output): (Column<String>, Column<String>) = match draft.row.operation.as_str() {
        "retrieval" => (|row| &mut row.retrieval_query, |row| &mut row.retrieval_documents),
        "execute_tool" => (|row| &mut row.tool_arguments, |row| &mut row.tool_result),
        _ => (|row| &mut row.input_messages, |row| &mut row.output_messages),
    };
    let is_message = !matches!(draft.row.operation.as_str(), "retrieval" | "execute_tool");
    draft.fill(DIALECT, "tool.parameters", |row| &mut row.tool_arguments, |value| Some(values::text(value)));
    for (name, role, column) in [("input", "user", input), ("output", "assistant", output)] {
        let key = format!("{name}.value");
        if !column(&mut draft.row).is_empty() || draft.fields.get(&key).is_none() {
            continue;
        }
        let Some(text) = draft.fields.take_text(&key) else { continue };
        draft.fields.take(&format!("{name}.mime_type"));
        let value = if is_message { messages::single(role, &text) } else { text };
        draft.set(DIALECT, column, value);
    }
}
