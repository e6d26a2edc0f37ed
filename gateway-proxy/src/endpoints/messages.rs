//! `POST /v1/messages`, as Anthropic's SDKs speak it. Its streams are typed events; what was used grows from event to event.

use super::known::known;
use super::{Endpoint, EventKind, chunk, whole};
use crate::meter::{Answer, Text, finish, usage};
use crate::request::{Field, Kind};
use crate::sse::Event;
use bytes::Bytes;
use contracts::{ApiError, TokenUsage};
use protocols::Dialect;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) static MESSAGES: Endpoint = Endpoint {
    path: "/v1/messages",
    upstream_path: "/messages",
    operation: "chat",
    span_name: "POST /v1/messages",
    prompt: "messages",
    instructions: Some("system"),
    format: None,
    fields: FIELDS,
    dialect: Some(Dialect::Anthropic),
    max_output: &["max_tokens"],
    has_background: false,
    usage_on_request: false,
    read_answer,
    read_event,
    error_body,
    error_event,
};

/// How many tokens a prompt has. No model answers it: it is a request of the same form without an answer's length.
pub(crate) static COUNT_TOKENS: Endpoint = Endpoint {
    path: "/v1/messages/count_tokens",
    upstream_path: "/messages/count_tokens",
    span_name: "POST /v1/messages/count_tokens",
    fields: COUNTED,
    max_output: &[],
    ..MESSAGES
};

const COUNTED: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::required("messages", &[Kind::Array]),
    Field::optional("system", &[Kind::String, Kind::Array]),
    Field::optional("tools", &[Kind::Array]),
    Field::optional("tool_choice", &[Kind::Object]),
    Field::optional("thinking", &[Kind::Object]),
];

const FIELDS: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::required("messages", &[Kind::Array]),
    Field::required("max_tokens", &[Kind::Integer]),
    Field::optional("system", &[Kind::String, Kind::Array]),
    Field::optional("stream", &[Kind::Boolean]),
    Field::optional("temperature", &[Kind::Number]),
    Field::optional("top_p", &[Kind::Number]),
    Field::optional("top_k", &[Kind::Integer]),
    Field::optional("stop_sequences", &[Kind::Array]),
    Field::optional("tools", &[Kind::Array]),
    Field::optional("tool_choice", &[Kind::Object]),
    Field::optional("thinking", &[Kind::Object]),
    Field::optional("metadata", &[Kind::Object]),
    Field::optional("service_tier", &[Kind::String]),
];

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

fn read_answer(body: &Bytes) -> Option<Answer> {
    let message: Message<'_> = whole(body)?;
    let content = message.content?;
    let mut answer = Answer::named(message.id, message.model, None);
    answer.usage = message.usage.and_then(usage);
    finish(&mut answer.finish_reasons, message.stop_reason);
    answer.output.push_raw(Some(format!(r#"{{"role":"assistant","content":{}}}"#, content.get()).into()));
    Some(answer)
}

#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    index: usize,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

known! {
    /// A piece of content as it begins.
    struct Block {
        "type" => kind: Text<'a>,
        "id" => id: Text<'a>,
        "name" => name: Text<'a>,
    }
}

known! {
    /// What is added to a piece of content, or to the message.
    struct Delta {
        "type" => kind: Text<'a>,
        "text" => text: Text<'a>,
        "thinking" => thinking: Text<'a>,
        "partial_json" => partial_json: Text<'a>,
        "stop_reason" => stop_reason: Text<'a>,
    }
}

impl Block<'_> {
    /// Whether it can be put together again at this place: one text, and calls after it.
    fn is_plain(&self, index: usize) -> bool {
        let kind = self.kind.as_ref().map_or("", |kind| &kind.0);
        !self.says_more && (kind == "tool_use" || kind == "text" && index == 0)
    }
}

fn read_event(answer: &mut Answer, event: &Event<'_>) -> EventKind {
    let streamed: Streamed<'_> = match chunk(event) {
        Ok(streamed) => streamed,
        Err(kind) => return kind,
    };
    match streamed.kind.0.as_ref() {
        "message_start" => {
            if let Some(message) = streamed.message {
                answer.learn(message.id, message.model, None);
                learn_usage(answer, message.usage, false);
            }
            EventKind::Other
        }
        "content_block_start" => {
            let block = streamed.content_block.unwrap_or_default();
            answer.says_more |= !block.is_plain(streamed.index);
            let Some(name) = block.name else { return EventKind::Other };
            let call = answer.output.choice(0).tool_call(streamed.index);
            answer.kept.push(&mut call.id, &block.id.unwrap_or_default().0);
            answer.kept.push(&mut call.name, &name.0);
            EventKind::Content
        }
        "content_block_delta" => {
            let delta = streamed.delta.unwrap_or_default();
            // Thoughts are kept without the signatures that they need.
            answer.says_more |= delta.says_more || delta.thinking.is_some();
            let said = answer.output.choice(0);
            let mut content = false;
            for (into, text) in [(&mut said.content, delta.text), (&mut said.reasoning, delta.thinking)] {
                let text = text.unwrap_or_default().0;
                content |= !text.is_empty();
                answer.kept.push(into, &text);
            }
            if let Some(arguments) = delta.partial_json {
                content = true;
                answer.kept.push(&mut said.tool_call(streamed.index).arguments, &arguments.0);
            }
            if content { EventKind::Content } else { EventKind::Other }
        }
        "message_delta" => {
            let delta = streamed.delta.unwrap_or_default();
            answer.says_more |= delta.says_more;
            answer.finish(0, delta.stop_reason);
            learn_usage(answer, streamed.usage, true);
            EventKind::Other
        }
        "message_stop" => EventKind::End,
        "error" => {
            answer.error = Some(String::from_utf8_lossy(event.data()).into_owned());
            EventKind::Error
        }
        _ => EventKind::Other,
    }
}

/// Counts are cumulative, and an event may leave out those that it does not change.
fn learn_usage(answer: &mut Answer, raw: Option<&RawValue>, is_final: bool) {
    let Some(more) = raw.and_then(usage) else { return };
    if !is_final && [more.input, more.cache_read, more.cache_write] == [0; 3] {
        // A server that does not count until the end says zeros before, and of a stream that is cut they are no count.
        return;
    }
    let so_far = answer.usage.unwrap_or_default();
    let usage = TokenUsage {
        input: so_far.input.max(more.input),
        output: so_far.output.max(more.output),
        cache_read: so_far.cache_read.max(more.cache_read),
        cache_write: so_far.cache_write.max(more.cache_write),
        cache_write_1h: so_far.cache_write_1h.max(more.cache_write_1h),
        reasoning: so_far.reasoning.max(more.reasoning),
        ..so_far
    };
    (answer.usage, answer.usage_is_final) = (Some(usage), is_final);
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: Body<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    code: Option<&'static str>,
    fault: contracts::Fault,
    retryable: bool,
}

/// `{"type": "error", "error": {type, message, …}}`, with what we say of every error beside.
fn error_body(error: &ApiError, request_id: &str) -> String {
    let body = Body {
        kind: kind_of(error.status),
        message: &error.message,
        code: error.code,
        fault: error.fault,
        retryable: error.retryable,
    };
    let envelope = Envelope { kind: "error", error: body, request_id };
    // Plain strings and booleans always serialise; the fallback keeps this function total.
    serde_json::to_string(&envelope).unwrap_or_else(|_| r#"{"type":"error"}"#.into())
}

/// The kinds of errors that this protocol knows.
const fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

fn error_event(error: &ApiError, request_id: &str, _answer: &Answer) -> String {
    format!("event: error\ndata: {}\n\n", error_body(error, request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_all_that_was_cached() {
        let body = Bytes::from_static(
            br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hi"}],
            "stop_reason":"end_turn","usage":{"input_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":10},"output_tokens":7,
            "output_tokens_details":{"thinking_tokens":4}}}"#,
        );
        let answer = read_answer(&body).unwrap();
        assert_eq!((answer.id.as_deref(), answer.model.as_deref()), (Some("msg_1"), Some("claude-x")));
        assert_eq!(answer.finish_reasons, ["end_turn"]);
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.reasoning), (135, 7, 4));
        assert_eq!((usage.cache_read, usage.cache_write, usage.cache_write_1h), (100, 20, 10));
        assert_eq!(
            answer.output.to_json(),
            r#"[{"role":"assistant","content":[{"type":"text","text":"Hi"}]}]"#
        );
    }

    #[test]
    fn zeros_before_the_end_are_no_count() {
        let start = |usage: &str| {
            let mut answer = Answer::default();
            let data = format!(r#"{{"type":"message_start","message":{{"id":"m","usage":{usage}}}}}"#);
            read_event(&mut answer, &Event::from_data(&data));
            answer.usage.map(|usage| usage.input)
        };
        assert_eq!(start(r#"{"input_tokens":0,"output_tokens":0}"#), None);
        // All of it from the provider's cache.
        assert_eq!(start(r#"{"input_tokens":0,"cache_read_input_tokens":9,"output_tokens":1}"#), Some(9));
    }

    #[test]
    fn a_stream_is_put_together() {
        let mut answer = Answer::default();
        for (data, kind) in [
            (
                r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":100,"output_tokens":1}}}"#,
                EventKind::Other,
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                EventKind::Other,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                EventKind::Content,
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abc"}}"#,
                EventKind::Other,
            ),
            (r#"{"type":"ping"}"#, EventKind::Other),
            (
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}"#,
                EventKind::Content,
            ),
            (
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
                EventKind::Content,
            ),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":5}}}"#,
                EventKind::Other,
            ),
            (r#"{"type":"message_stop"}"#, EventKind::End),
        ] {
            assert_eq!(read_event(&mut answer, &Event::from_data(data)), kind, "{data}");
        }
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning), (105, 100, 9, 5));
        assert!(answer.usage_is_final);
        assert_eq!(answer.finish_reasons, ["tool_use"]);
        let said = answer.output.choice(0);
        assert_eq!(said.reasoning, "hm");
        assert_eq!(said.tool_call(1).arguments, "{}");
        assert_eq!(
            answer.output.to_json(),
            r#"[{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]}]"#
        );
    }

    #[test]
    fn errors_have_this_protocols_shape() {
        let error = ApiError::client(429, "rate_limit_error", Some("rate_limited"), "slow down");
        let event = error_event(&error, "req_1", &Answer::default());
        assert!(
            event.starts_with(
                r#"event: error
data: {"type":"error","error":{"type":"rate_limit_error","message":"slow down""#
            ),
            "{event}"
        );
    }
}
