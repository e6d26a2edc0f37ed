//! The one place between a normalised row and the disk: what may not be kept is taken out here, before the spool.
//!
//! Today a tenant's policy decides between content and metadata. A detector of personal data has its place here too, and
//! the contract for it: when it fails, the row is dropped to its metadata, never kept raw.

use crate::auth::Principal;
use crate::row::Row;
use serde_json::Value as Json;
use warehouse::{EventRow, SpanRow};

/// Attributes that carry content and may be left in the map when a dialect was only partly understood.
const CONTENT: &[&str] = &[
    "control_tower.context",
    "control_tower.feedback.comment",
    "ai.prompt",
    "ai.response.object",
    "ai.response.reasoning",
    "ai.response.text",
    "ai.response.toolCalls",
    "ai.result",
    "ai.schema",
    "ai.toolCall.args",
    "ai.toolCall.result",
    "ai.value",
    "ai.values",
    "embedding.embeddings",
    "embedding.text",
    "gen_ai.completion",
    "gen_ai.evaluation.explanation",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.prompt",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "exception.message",
    "exception.stacktrace",
    "input.value",
    "llm.choices",
    "llm.completions",
    "llm.function_call",
    "llm.input_messages",
    "llm.invocation_parameters",
    "llm.output_messages",
    "llm.prompt_template.template",
    "llm.prompt_template.variables",
    "llm.prompts",
    "llm.request.functions",
    "llm.tools",
    "output.value",
    "reranker.input_documents",
    "reranker.output_documents",
    "reranker.query",
    "retrieval.documents",
    "tool.parameters",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.template",
    "traceloop.prompt.template_variables",
];

/// Longer values are taken for content whatever their name is: no list of names is ever whole.
const MOST_CHARACTERS: usize = 256;

/// Ours that may be longer: lists of ids and of names.
const LONG: &[&str] =
    &["control_tower.action.responses", "control_tower.action.traces", "control_tower.truncated"];

/// Attributes of the same names that carry no content.
const NOT_CONTENT: &[&str] = &["gen_ai.prompt.name", "gen_ai.prompt.version"];

/// Attributes of events that carry content.
const EVENT_CONTENT: &[&str] = &["content", "message", "tool_calls", "gen_ai.event.content", "body"];

/// Takes out what the sender's policy does not let us keep; whether anything was taken.
pub fn redact(row: &mut Row, principal: &Principal) -> bool {
    match principal {
        // Our own services have applied the policy themselves.
        Principal::Service { .. } => false,
        Principal::Tenant(policy) if policy.capture_content => false,
        Principal::Tenant(_) => match row {
            Row::Span(row) => drop_to_metadata(row),
            Row::Event(row) => drop_event_to_metadata(row),
        },
    }
}

/// Empties every place of a row that may hold content; ids, names, times, counts and costs stay. Whether there was any.
pub fn drop_to_metadata(row: &mut SpanRow) -> bool {
    let mut found = false;
    for column in [
        &mut row.input_messages,
        &mut row.output_messages,
        &mut row.system_instructions,
        &mut row.tool_definitions,
        &mut row.retrieval_query,
        &mut row.tool_arguments,
        &mut row.tool_result,
    ] {
        found |= !column.is_empty();
        column.clear();
    }
    found |= documents_to_ids(&mut row.retrieval_documents);
    // Errors of validation and of SDKs quote what they fail at.
    found |= !row.status_message.is_empty();
    row.status_message.clear();
    found |= thin(&mut row.span_attributes, |key| is_content(key) || is_of_link(key));
    for attributes in &mut row.event_attributes {
        found |= thin(attributes, |key| is_content(key) || EVENT_CONTENT.contains(&key));
    }
    found
}

/// As [`drop_to_metadata`], of a log record: its body goes, and attributes that carry what people or models wrote.
fn drop_event_to_metadata(row: &mut EventRow) -> bool {
    let found = thin(&mut row.attributes, |key| is_content(key) || EVENT_CONTENT.contains(&key));
    let had_body = !row.body.is_empty();
    row.body.clear();
    found || had_body
}

/// Takes out content, by name or length; whether there was any.
fn thin(attributes: &mut Vec<(String, String)>, is_content: impl Fn(&str) -> bool) -> bool {
    let before = attributes.len();
    attributes.retain(|(key, text)| {
        !is_content(key) && (text.chars().nth(MOST_CHARACTERS).is_none() || LONG.contains(&key.as_str()))
    });
    attributes.len() != before
}

/// The attributes of a span's link, which are one attribute of the span.
fn is_of_link(key: &str) -> bool {
    key.strip_prefix("otel.links.").is_some_and(|rest| rest.ends_with(".attributes"))
}

fn is_content(key: &str) -> bool {
    let matches =
        |name: &&str| key.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    CONTENT.iter().any(matches) && !NOT_CONTENT.contains(&key)
}

/// Of each document id and score stay. What is not a list of documents goes altogether.
fn documents_to_ids(documents: &mut String) -> bool {
    if documents.is_empty() {
        return false;
    }
    let kept = match serde_json::from_str(documents) {
        Ok(Json::Array(items)) => Json::Array(items.into_iter().map(id_and_score).collect()).to_string(),
        _ => String::new(),
    };
    let changed = kept != *documents;
    *documents = kept;
    changed
}

fn id_and_score(document: Json) -> Json {
    match document {
        Json::Object(mut members) => {
            members.retain(|key, value| {
                matches!(key.as_str(), "id" | "score") && !value.is_object() && !value.is_array()
            });
            Json::Object(members)
        }
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::policy::TenantPolicy;
    use std::sync::Arc;

    fn principal(capture_content: bool) -> Principal {
        let id = "acme".parse().unwrap();
        Principal::Tenant(Arc::new(TenantPolicy { capture_content, ..TenantPolicy::new(id) }))
    }

    fn row() -> SpanRow {
        let pair = |key: &str| (key.to_owned(), "SECRET".to_owned());
        SpanRow {
            name: "chat m".into(),
            input_messages: "SECRET".into(),
            output_messages: "SECRET".into(),
            system_instructions: "SECRET".into(),
            tool_definitions: "SECRET".into(),
            retrieval_query: "SECRET".into(),
            tool_arguments: "SECRET".into(),
            tool_result: "SECRET".into(),
            retrieval_documents: r#"[{"id":"d1","score":0.5,"content":"SECRET"}]"#.into(),
            input_tokens: 3,
            status_message: "SECRET".into(),
            span_attributes: vec![
                pair("input.value"),
                pair("llm.input_messages.0.message.content"),
                pair("gen_ai.prompt.0.content"),
                pair("ai.values"),
                pair("llm.completions.0.content"),
                pair("traceloop.prompt.template_variables.question"),
                pair("otel.links.0.attributes"),
                ("of.some.sdk".into(), format!("{}SECRET", "x".repeat(251))),
                ("gen_ai.prompt.name".into(), "greeting".into()),
                ("user.id".into(), "u1".into()),
            ],
            event_name: vec!["gen_ai.user.message".into(), "exception".into()],
            event_attributes: vec![
                vec![pair("content"), ("role".into(), "user".into())],
                vec![
                    pair("exception.message"),
                    pair("exception.stacktrace"),
                    ("exception.type".into(), "ValueError".into()),
                ],
            ],
            ..SpanRow::default()
        }
    }

    #[test]
    fn a_tenant_without_capture_keeps_metadata_alone() {
        let mut kept = Row::from(row());
        assert!(redact(&mut kept, &principal(false)));
        assert!(!format!("{kept:?}").contains("SECRET"), "{kept:?}");
        assert!(!redact(&mut kept, &principal(false)), "nothing is left to take");
        let kept = kept.span().unwrap();
        assert_eq!(kept.retrieval_documents, r#"[{"id":"d1","score":0.5}]"#);
        assert_eq!(kept.span_attributes.len(), 2);
        assert_eq!(kept.event_attributes[1], [("exception.type".to_owned(), "ValueError".to_owned())]);
        assert_eq!(kept.input_tokens, 3);
    }

    #[test]
    fn of_a_log_record_what_people_wrote_goes() {
        let pair = |key: &str| (key.to_owned(), "SECRET".to_owned());
        let event = EventRow {
            body: "SECRET".into(),
            attributes: vec![
                pair("control_tower.feedback.comment"),
                pair("gen_ai.evaluation.explanation"),
                ("control_tower.feedback.score".into(), "1".into()),
            ],
            ..EventRow::default()
        };
        let mut kept = Row::from(event);
        assert!(redact(&mut kept, &principal(false)));
        assert!(!format!("{kept:?}").contains("SECRET"), "{kept:?}");
        assert_eq!(kept.event().unwrap().attributes.len(), 1);
        assert!(!redact(&mut kept, &principal(false)), "nothing is left to take");
    }

    #[test]
    fn a_tenant_with_capture_keeps_everything() {
        let mut kept = Row::from(row());
        assert!(!redact(&mut kept, &principal(true)));
        assert_eq!(kept, Row::from(row()));
    }
}
