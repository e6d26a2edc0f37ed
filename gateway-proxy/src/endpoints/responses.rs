//! `POST /v1/responses`. Its streams are typed events; the last one carries the whole response, usage included.

use super::{Endpoint, EventKind, chunk, openai_error, whole};
use crate::meter::{Answer, Logprobs, Text, usage};
use crate::request::{Field, Kind};
use crate::sse::Event;
use bytes::Bytes;
use contracts::ApiError;
use protocols::Dialect;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) static RESPONSES: Endpoint = Endpoint {
    path: "/v1/responses",
    upstream_path: "/responses",
    operation: "chat",
    span_name: "POST /v1/responses",
    prompt: "input",
    instructions: Some("instructions"),
    format: Some("text"),
    fields: FIELDS,
    dialect: Some(Dialect::OpenAiResponses),
    max_output: &["max_output_tokens"],
    has_background: true,
    usage_on_request: false,
    read_answer,
    read_event,
    error_body: openai_error,
    error_event,
};

const FIELDS: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::optional("input", &[Kind::String, Kind::Array]),
    Field::optional("instructions", &[Kind::String, Kind::Array]),
    Field::optional("stream", &[Kind::Boolean]),
    Field::optional("stream_options", &[Kind::Object]),
    Field::optional("temperature", &[Kind::Number]),
    Field::optional("top_p", &[Kind::Number]),
    Field::optional("max_output_tokens", &[Kind::Integer]),
    Field::optional("tools", &[Kind::Array]),
    Field::optional("tool_choice", &[Kind::String, Kind::Object]),
    Field::optional("parallel_tool_calls", &[Kind::Boolean]),
    Field::optional("previous_response_id", &[Kind::String]),
    Field::optional("text", &[Kind::Object]),
    Field::optional("reasoning", &[Kind::Object]),
    Field::optional("include", &[Kind::Array]),
    Field::optional("metadata", &[Kind::Object]),
    Field::optional("store", &[Kind::Boolean]),
    Field::optional("background", &[Kind::Boolean]),
    Field::optional("service_tier", &[Kind::String]),
    Field::optional("truncation", &[Kind::String]),
    Field::optional("user", &[Kind::String]),
];

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    output: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

/// An item of the output, as far as its texts' tokens are concerned; items of other kinds say nothing of them.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    content: Vec<Part<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

fn read_answer(body: &Bytes) -> Option<Answer> {
    let response: Response<'_> = whole(body)?;
    response.output.as_ref()?;
    let mut answer = Answer::default();
    take(&mut answer, response);
    Some(answer)
}

/// Takes over what a whole response says.
fn take(answer: &mut Answer, response: Response<'_>) {
    answer.learn(response.id, response.model, response.service_tier.as_ref());
    answer.learn_usage(response.usage.and_then(usage), true);
    let reason = match (response.incomplete_details.and_then(|i| i.reason), response.status) {
        (Some(reason), _) => Some(reason.0.into_owned()),
        (None, Some(status)) if status.0 == "completed" => Some("stop".to_owned()),
        (None, status) => status.map(|s| s.0.into_owned()),
    };
    answer.finish_reasons = reason.into_iter().collect();
    let items = response.output.unwrap_or_default();
    if !items.is_empty() {
        answer.output.clear();
        let mut logprobs = Logprobs::default();
        for item in items {
            if let Ok(item) = serde_json::from_str::<Item<'_>>(item.get()) {
                item.content.iter().for_each(|part| logprobs.learn_list(part.logprobs));
            }
            answer.output.push_raw(Some(Bytes::copy_from_slice(item.get().as_bytes())));
        }
        // A server may give them with the pieces of the text alone.
        if !logprobs.is_empty() {
            answer.logprobs = logprobs;
        }
    }
}

#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
    #[serde(default)]
    sequence_number: Option<u64>,
    #[serde(default)]
    output_index: usize,
    /// Text for the text events, something else for others.
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

fn read_event(answer: &mut Answer, event: &Event<'_>) -> EventKind {
    let streamed: Streamed<'_> = match chunk(event) {
        Ok(streamed) => streamed,
        Err(kind) => return kind,
    };
    answer.sequence = streamed.sequence_number.unwrap_or(answer.sequence);
    let kind = streamed.kind.0.as_ref();
    match kind {
        "response.created" | "response.in_progress" => {
            if let Some(response) = streamed.response {
                answer.learn(response.id, response.model, None);
            }
            EventKind::Other
        }
        "response.completed" | "response.incomplete" => {
            if let Some(response) = streamed.response {
                take(answer, response);
            }
            EventKind::End
        }
        "response.failed" => {
            if let Some(response) = streamed.response {
                answer.error = Some(response.error.map_or("response.failed", RawValue::get).to_owned());
                take(answer, response);
            }
            EventKind::Error
        }
        "error" => {
            answer.error = Some(String::from_utf8_lossy(event.data()).into_owned());
            EventKind::Error
        }
        "response.output_text.delta"
        | "response.refusal.delta"
        | "response.function_call_arguments.delta"
        | "response.custom_tool_call_input.delta"
        | "response.mcp_call_arguments.delta"
        | "response.code_interpreter_call_code.delta"
        | "response.reasoning_text.delta"
        | "response.reasoning_summary_text.delta" => {
            let text = streamed.delta.and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok());
            let said = answer.output.choice(streamed.output_index);
            let into =
                if kind.starts_with("response.reasoning") { &mut said.reasoning } else { &mut said.content };
            if kind == "response.output_text.delta" {
                answer.logprobs.learn_list(streamed.logprobs);
            }
            answer.kept.push(into, &text.unwrap_or_default().0);
            EventKind::Content
        }
        _ => EventKind::Other,
    }
}

/// `event: error`, as this protocol reports a failure within a stream. Its number follows the last one seen.
fn error_event(error: &ApiError, request_id: &str, answer: &Answer) -> String {
    let data = serde_json::json!({
        "type": "error",
        "code": error.code.unwrap_or(error.kind),
        "message": error.message,
        "param": error.param,
        "sequence_number": answer.sequence.saturating_add(1),
        "request_id": request_id,
    });
    format!("event: error\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_brings_everything() {
        let mut answer = Answer::default();
        let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"r1","model":"m"}}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(created)), EventKind::Other);
        let delta =
            r#"{"type":"response.output_text.delta","sequence_number":4,"output_index":0,"delta":"H\u00e9"}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(delta)), EventKind::Content);
        assert_eq!(answer.output.to_json(), r#"[{"role":"assistant","content":"Hé"}]"#);
        let event = error_event(&ApiError::internal(502, "cut"), "req_1", &answer);
        assert!(
            event.starts_with("event: error\ndata: {") && event.contains("\"sequence_number\":5"),
            "{event}"
        );

        let done = r#"{"type":"response.completed","sequence_number":5,"response":{"id":"r1","model":"m-2","status":"completed",
            "output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],
            "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3}}}}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(done)), EventKind::End);
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.cache_read, usage.reasoning), (10, 7, 4, 3));
        assert_eq!(answer.finish_reasons, ["stop"]);
        assert_eq!(
            answer.output.to_json(),
            r#"[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]"#
        );
    }

    #[test]
    fn the_probabilities_of_tokens_are_those_of_all_texts() {
        let body = |first: &str| {
            format!(
                r#"{{"id":"r1","status":"completed","output":[{{"type":"reasoning","summary":[]}},
                {{"type":"message","content":[{{"type":"output_text","text":"a","logprobs":{first}}},
                    {{"type":"output_text","text":"b","logprobs":[{{"token":"b","logprob":-1.25,"top_logprobs":[]}}]}}]}},
                {{"type":"function_call","name":"f","arguments":"{{}}"}}]}}"#
            )
        };
        let of = |first: &str| read_answer(&Bytes::from(body(first))).unwrap().logprobs.to_json();
        assert_eq!(of(r#"[{"token":"a","logprob":-0.5}]"#).as_deref(), Some("[-0.5,-1.25]"));
        // What is in no known form says nothing, and the rest counts.
        assert_eq!(of(r#"{"content":1}"#).as_deref(), Some("[-1.25]"));

        // A stream that breaks off has those of its pieces; one that ends, those of the whole.
        let mut answer = Answer::default();
        let delta =
            r#"{"type":"response.output_text.delta","delta":"a","logprobs":[{"token":"a","logprob":-0.5}]}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(delta)), EventKind::Content);
        assert_eq!(answer.logprobs.to_json().as_deref(), Some("[-0.5]"));
        let done = format!(r#"{{"type":"response.completed","response":{}}}"#, body("[]"));
        assert_eq!(read_event(&mut answer, &Event::from_data(&done)), EventKind::End);
        assert_eq!(answer.logprobs.to_json().as_deref(), Some("[-1.25]"));
    }

    #[test]
    fn whatever_the_model_writes_counts_until_its_end_says_more() {
        let mut answer = Answer::default();
        for kind in [
            "function_call_arguments",
            "custom_tool_call_input",
            "mcp_call_arguments",
            "code_interpreter_call_code",
        ] {
            let delta = format!(r#"{{"type":"response.{kind}.delta","output_index":0,"delta":"{kind}"}}"#);
            assert_eq!(read_event(&mut answer, &Event::from_data(&delta)), EventKind::Content, "{kind}");
            assert!(answer.output.text().ends_with(kind), "{}", answer.output.text());
        }
    }
}
