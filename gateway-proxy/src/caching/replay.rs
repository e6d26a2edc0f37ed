//! A whole answer as the stream that it would have been.

use bytes::Bytes;
use cache::Protocol;
use serde_json::{Value, json};
use std::fmt::Write;

/// Most characters of text in one event: clients that draw what comes should have something to draw.
const PIECE: usize = 48;
/// Most bytes of what every event repeats.
const MOST_REPEATED: usize = 1 << 10;

/// The events of `whole`; `None` when it cannot be told as a stream.
pub(crate) fn events(protocol: Protocol, whole: &[u8], usage: bool) -> Option<Bytes> {
    let bytes = whole.len();
    let whole: Value = serde_json::from_slice(whole).ok()?;
    // What a server says of itself stands in every event.
    let repeated = ["id", "model", "system_fingerprint", "created"].map(|name| match &whole[name] {
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::Array(_) | Value::Object(_) => bytes,
    });
    if repeated.iter().sum::<usize>() > MOST_REPEATED {
        return None;
    }
    let mut out = String::new();
    match protocol {
        Protocol::Chat => chat(&whole, usage, &mut out)?,
        Protocol::Responses => response(&whole, &mut out)?,
        Protocol::Messages => message(&whole, &mut out)?,
    }
    Some(out.into())
}

fn data(out: &mut String, event: &Value) {
    // Writing to a text cannot fail.
    let _ = write!(out, "data: {event}\n\n");
}

fn named(out: &mut String, event: &Value) {
    let _ = write!(out, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
}

/// A text in pieces of a few words.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(PIECE).map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

fn chat(whole: &Value, usage: bool, out: &mut String) -> Option<()> {
    let chunk = |choices: Value| {
        json!({
            "id": whole["id"], "object": "chat.completion.chunk", "created": whole["created"], "model": whole["model"],
            "system_fingerprint": whole["system_fingerprint"], "choices": choices,
        })
    };
    for choice in whole["choices"].as_array()? {
        let (index, message) = (choice["index"].as_u64(), &choice["message"]);
        let one = |delta: Value| {
            chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]))
        };
        data(
            out,
            &one(
                json!({"role": "assistant", "content": if message["content"].is_string() { json!("") } else { Value::Null }}),
            ),
        );
        for field in ["reasoning_content", "content", "refusal"] {
            for piece in pieces(message[field].as_str().unwrap_or_default()) {
                data(out, &one(json!({field: piece})));
            }
        }
        for (at, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let mut call = call.as_object()?.clone();
            call.insert("index".into(), at.into());
            data(out, &one(json!({"tool_calls": [call]})));
        }
        // What else a server says of its answer, at once.
        for (field, value) in message.as_object()?.iter().filter(|(_, value)| !value.is_null()) {
            if !["role", "content", "reasoning_content", "refusal", "tool_calls"].contains(&field.as_str()) {
                data(out, &one(json!({field: value})));
            }
        }
        let end = json!([{"index": index, "delta": {}, "logprobs": choice["logprobs"], "finish_reason": choice["finish_reason"]}]);
        data(out, &chunk(end));
    }
    if usage {
        let mut last = chunk(json!([]));
        last["usage"] = whole["usage"].clone();
        data(out, &last);
    }
    out.push_str("data: [DONE]\n\n");
    Some(())
}

fn message(whole: &Value, out: &mut String) -> Option<()> {
    let mut start = whole.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    if let Some(usage) = start["usage"].as_object_mut() {
        usage.insert("output_tokens".into(), 1.into());
    }
    named(out, &json!({"type": "message_start", "message": start}));
    for (index, block) in whole["content"].as_array()?.iter().enumerate() {
        let mut empty = block.clone();
        let kind = block["type"].as_str()?;
        let deltas: Vec<Value> = match kind {
            "text" => {
                empty["text"] = "".into();
                pieces(block["text"].as_str()?)
                    .map(|piece| json!({"type": "text_delta", "text": piece}))
                    .collect()
            }
            "tool_use" => {
                empty["input"] = json!({});
                vec![json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})]
            }
            "thinking" => {
                (empty["thinking"], empty["signature"]) = ("".into(), "".into());
                let thoughts = pieces(block["thinking"].as_str()?);
                let thoughts = thoughts.map(|piece| json!({"type": "thinking_delta", "thinking": piece}));
                thoughts
                    .chain([json!({"type": "signature_delta", "signature": block["signature"]})])
                    .collect()
            }
            _ => Vec::new(),
        };
        named(out, &json!({"type": "content_block_start", "index": index, "content_block": empty}));
        for delta in deltas {
            named(out, &json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        named(out, &json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]});
    named(out, &json!({"type": "message_delta", "delta": delta, "usage": whole["usage"]}));
    named(out, &json!({"type": "message_stop"}));
    Some(())
}

fn response(whole: &Value, out: &mut String) -> Option<()> {
    let mut number = 0_u64;
    let mut tell = |mut event: Value| {
        event["sequence_number"] = number.into();
        number += 1;
        named(out, &event);
    };
    let mut begun = whole.clone();
    (begun["status"], begun["output"], begun["usage"]) = ("in_progress".into(), json!([]), Value::Null);
    tell(json!({"type": "response.created", "response": begun}));
    tell(json!({"type": "response.in_progress", "response": begun}));
    for (at, item) in whole["output"].as_array()?.iter().enumerate() {
        if !item["id"].is_null() && item["id"].as_str()?.len() > MOST_REPEATED {
            return None;
        }
        let mut empty = item.clone();
        empty["status"] = "in_progress".into();
        let id = &item["id"];
        match item["type"].as_str()? {
            "message" => {
                empty["content"] = json!([]);
                tell(json!({"type": "response.output_item.added", "output_index": at, "item": empty}));
                for (part, content) in item["content"].as_array()?.iter().enumerate() {
                    let place = json!({"item_id": id, "output_index": at, "content_index": part});
                    let at_place = |kind: &str, more: &[(&str, Value)]| {
                        let mut event = place.clone();
                        event["type"] = kind.into();
                        for (name, value) in more {
                            event[*name] = value.clone();
                        }
                        event
                    };
                    let text = content["text"].as_str();
                    let mut bare = content.clone();
                    if text.is_some() {
                        bare["text"] = "".into();
                    }
                    tell(at_place("response.content_part.added", &[("part", bare)]));
                    for piece in pieces(text.unwrap_or_default()) {
                        tell(at_place(
                            "response.output_text.delta",
                            &[("delta", piece.into()), ("logprobs", json!([]))],
                        ));
                    }
                    if let Some(text) = text {
                        tell(at_place(
                            "response.output_text.done",
                            &[("text", text.into()), ("logprobs", json!([]))],
                        ));
                    }
                    tell(at_place("response.content_part.done", &[("part", content.clone())]));
                }
            }
            "function_call" => {
                empty["arguments"] = "".into();
                tell(json!({"type": "response.output_item.added", "output_index": at, "item": empty}));
                let arguments = &item["arguments"];
                tell(
                    json!({"type": "response.function_call_arguments.delta", "item_id": id, "output_index": at, "delta": arguments}),
                );
                tell(
                    json!({"type": "response.function_call_arguments.done", "item_id": id, "output_index": at, "name": item["name"], "arguments": arguments}),
                );
            }
            _ => tell(json!({"type": "response.output_item.added", "output_index": at, "item": item})),
        }
        tell(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
    }
    tell(json!({"type": "response.completed", "response": whole}));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_or_would_repeat_itself_without_end_is_not_told_as_a_stream() {
        let told = |protocol, whole: Value| events(protocol, whole.to_string().as_bytes(), true);
        let message = json!({"role": "assistant", "content": "Hi", "tool_calls": ["x"]});
        assert_eq!(told(Protocol::Chat, json!({"choices": [{"index": 0, "message": message}]})), None);
        assert!(told(Protocol::Messages, json!({"usage": [], "content": []})).is_some());
        let fingerprint = "f".repeat(2_000);
        assert_eq!(told(Protocol::Chat, json!({"system_fingerprint": fingerprint, "choices": []})), None);
        assert_eq!(
            told(
                Protocol::Responses,
                json!({"output": [{"type": "message", "id": fingerprint, "content": []}]})
            ),
            None
        );
    }
    use crate::endpoints::{CHAT_COMPLETIONS, Endpoint, MESSAGES, RESPONSES};
    use crate::meter::Answer;
    use crate::sse::{Relay, Verdict};

    /// What a client reads of the events.
    fn read(endpoint: &Endpoint, events: Bytes) -> Answer {
        let mut answer = Answer::default();
        Relay::default().push(events, |event| {
            (endpoint.read_event)(&mut answer, event);
            Verdict::Keep
        });
        answer
    }

    #[test]
    fn what_is_replayed_reads_like_what_was_kept() {
        let text = "A long answer, with more than one piece of it: äöü and so on, until it ends somewhere.";
        let chat = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": text, "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
        let message = json!({"id": "c", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}}], "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}});
        let response = json!({"id": "c", "object": "response", "status": "completed", "model": "m", "output": [{"type": "message", "id": "i",
            "role": "assistant", "content": [{"type": "output_text", "text": text}]}], "usage": {"input_tokens": 3, "output_tokens": 2}});
        for (endpoint, protocol, whole) in [
            (&CHAT_COMPLETIONS, Protocol::Chat, chat),
            (&MESSAGES, Protocol::Messages, message),
            (&RESPONSES, Protocol::Responses, response),
        ] {
            let bytes = Bytes::from(whole.to_string());
            let kept = (endpoint.read_answer)(&bytes).unwrap();
            let replayed = read(endpoint, events(protocol, &bytes, true).unwrap());
            assert_eq!(
                (replayed.id, replayed.model, &replayed.finish_reasons),
                (kept.id, kept.model, &kept.finish_reasons)
            );
            assert_eq!(replayed.usage, kept.usage, "{}", endpoint.path);
            assert!(replayed.output.text().contains(text), "{}", replayed.output.to_json());
        }
    }
}
