//! A streamed answer, put together as the whole one that it would have been.

use crate::call::Facts;
use bytes::Bytes;
use cache::Protocol;
use serde_json::{Value, json};

/// The whole answer in its protocol; `None` when not all of it is known.
pub(super) fn of(protocol: Protocol, facts: &Facts) -> Option<Bytes> {
    let answer = facts.told();
    // Of one that is too long only the beginning was kept.
    if answer.kept.beyond > 0 || answer.finish_reasons.is_empty() {
        return None;
    }
    let output: Value = serde_json::from_str(&answer.output.to_json()).ok()?;
    let (id, model) = (answer.id.as_deref()?, answer.model.as_deref()?);
    let created = facts.identity.started.unix_seconds();
    let usage = facts.answer.usage?;
    let whole = match protocol {
        Protocol::Chat => {
            let messages = output.as_array()?;
            let choices: Vec<Value> = messages
                .iter()
                .enumerate()
                .map(|(index, message)| {
                    let reason = answer.finish_reasons.get(index).or(answer.finish_reasons.last());
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
        Protocol::Responses => json!({
            "id": id, "object": "response", "created_at": created, "status": "completed", "model": model, "output": output,
            "error": null, "incomplete_details": null, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
            "usage": {
                "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cache_read},
                "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.total(),
            },
        }),
        // Thoughts come with signatures, which are not kept: such an answer would not be the one that was given.
        Protocol::Messages if output[0]["reasoning_content"].is_string() => return None,
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
                let input: Value =
                    serde_json::from_str(function["arguments"].as_str()?).unwrap_or_else(|_| json!({}));
                content.push(json!({"type": "tool_use", "id": id, "name": function["name"], "input": input}));
            }
            json!({
                "id": id, "type": "message", "role": "assistant", "model": model, "content": content,
                "stop_reason": answer.finish_reasons.first(), "stop_sequence": null,
                "usage": {
                    "input_tokens": usage.input.saturating_sub(usage.cache_read + usage.cache_write + usage.cache_write_1h),
                    "cache_read_input_tokens": usage.cache_read,
                    "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h, "output_tokens": usage.output,
                },
            })
        }
    };
    serde_json::to_vec(&whole).ok().map(Bytes::from)
}
