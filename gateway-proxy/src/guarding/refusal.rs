//! What a client gets in the place of an answer: an answer in its own protocol that says no.

use crate::caching::replay;
use crate::endpoints::Endpoint;
use bytes::Bytes;
use protocols::Dialect;
use serde_json::{Value, json};

/// Whose answer it seems to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    /// Seconds since the epoch.
    pub(super) created: i64,
}

/// A message that refuses, as an item of a response.
pub(super) fn item(id: &str, text: &str) -> Value {
    json!({"id": format!("msg_{id}"), "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "refusal", "refusal": text}]})
}

/// A whole answer; `None` for an endpoint whose answers have no text.
pub(super) fn whole(endpoint: &Endpoint, names: Names<'_>, text: &str) -> Option<Value> {
    let Names { id, model, created } = names;
    if !endpoint.max_output.is_empty() && endpoint.dialect.is_none() {
        return Some(
            json!({"id": format!("cmpl-{id}"), "object": "text_completion", "created": created, "model": model,
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "content_filter"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
        );
    }
    Some(match endpoint.dialect? {
        Dialect::OpenAiResponses => {
            json!({"id": format!("resp_{id}"), "object": "response", "created_at": created,
            "status": "incomplete", "error": null, "incomplete_details": {"reason": "content_filter"}, "model": model,
            "output": [item(id, text)], "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {},
            "usage": {"input_tokens": 0, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0}})
        }
        Dialect::Anthropic => {
            json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": text}], "stop_reason": "refusal", "stop_sequence": null,
            "usage": {"input_tokens": 0, "output_tokens": 0}})
        }
        Dialect::OpenAiChat | Dialect::Gemini | Dialect::Bedrock => json!({"id": format!("chatcmpl-{id}"),
            "object": "chat.completion", "created": created, "model": model, "choices": [{"index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": null,
                "finish_reason": "content_filter"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
    })
}

/// The same as the stream that was asked for.
pub(super) fn events(endpoint: &Endpoint, whole: &Value, usage: bool) -> Option<Bytes> {
    let protocol = match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => cache::Protocol::Responses,
        Some(Dialect::Anthropic) => cache::Protocol::Messages,
        Some(_) => cache::Protocol::Chat,
        // One chunk has the form of the whole.
        None => {
            let mut chunk = whole.clone();
            chunk.as_object_mut()?.remove("usage");
            return Some(format!("data: {chunk}\n\ndata: [DONE]\n\n").into());
        }
    };
    replay::events(protocol, whole.to_string().as_bytes(), usage)
}
