//! A streamed answer, put together as the whole one that it would have been.

use crate::call::Facts;
use bytes::Bytes;
use cache::Protocol;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The last event of a response.
#[derive(Deserialize)]
struct Last<'a> {
    #[serde(borrow)]
    response: &'a RawValue,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

/// The response that a stream's last event carries, as it stands there; `None` when it carries none, or one without its output.
pub(super) fn of_last_event(event: &[u8]) -> Option<Bytes> {
    let last: Last<'_> = serde_json::from_slice(event).ok()?;
    let response: Response<'_> = serde_json::from_str(last.response.get()).ok()?;
    (!response.output.is_empty()).then(|| Bytes::copy_from_slice(last.response.get().as_bytes()))
}

/// The whole answer in its protocol; `None` when not all of it is known.
pub(super) fn of(protocol: Protocol, facts: &Facts) -> Option<Bytes> {
    let (said, answer) = (&facts.answer, facts.told());
    let asks_logprobs = facts.ask.as_ref().is_none_or(|ask| ask.asks_logprobs);
    // Of one that is too long only the beginning was kept.
    if answer.kept.beyond > 0 || said.says_more || asks_logprobs && !said.logprobs.is_empty() {
        return None;
    }
    let output: Value = serde_json::from_str(&answer.output.to_json()).ok()?;
    let (id, model) = (answer.id.as_deref()?, answer.model.as_deref()?);
    let created = facts.identity.started.unix_seconds();
    let usage = said.usage?;
    let whole = match protocol {
        Protocol::Chat => {
            let messages = output.as_array().filter(|all| all.len() == answer.finish_reasons.len())?;
            let choices = messages.iter().zip(&answer.finish_reasons).enumerate();
            let choices: Vec<Value> = choices
                .map(|(index, (message, reason))| {
                    json!({"index": index, "message": message, "logprobs": null, "finish_reason": reason})
                })
                .collect();
            json!({
                "id": id, "object": "chat.completion", "created": created, "model": model, "choices": choices,
                "usage": {
                    "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.total(),
                    "prompt_tokens_details": {"cached_tokens": usage.cache_read},
                    "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
                },
            })
        }
        // The last event has it all: see `of_last_event`.
        Protocol::Responses => return None,
        Protocol::Messages => {
            let mut content: Vec<Value> = Vec::new();
            if let Some(text) = output[0]["content"].as_str() {
                content.push(json!({"type": "text", "text": text}));
            }
            for call in output[0]["tool_calls"].as_array().into_iter().flatten() {
                let (id, function) = (&call["id"], &call["function"]);
                if function["name"].as_str().is_none_or(str::is_empty) {
                    continue;
                }
                let input: Value = match function["arguments"].as_str()? {
                    "" => json!({}),
                    arguments => serde_json::from_str(arguments).ok()?,
                };
                content.push(json!({"type": "tool_use", "id": id, "name": function["name"], "input": input}));
            }
            let written = usage.cache_write.saturating_add(usage.cache_write_1h);
            let cached = usage.cache_read.saturating_add(written);
            json!({
                "id": id, "type": "message", "role": "assistant", "model": model, "content": content,
                "stop_reason": answer.finish_reasons.first()?, "stop_sequence": null,
                "usage": {
                    "input_tokens": usage.input.saturating_sub(cached),
                    "cache_read_input_tokens": usage.cache_read,
                    "cache_creation_input_tokens": written, "output_tokens": usage.output,
                },
            })
        }
    };
    serde_json::to_vec(&whole).ok().map(Bytes::from)
}
