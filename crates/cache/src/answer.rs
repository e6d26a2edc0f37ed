//! Which answers may be given again.

use crate::question::Protocol;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How far an answer may be given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepable {
    /// Not at all: it failed, was filtered, or is not whole.
    No,
    /// To the same request: it calls tools, was cut at the length that the request set, or refuses.
    Exact,
    /// Also to requests of the same meaning.
    Both,
}

/// Judges a whole answer (status 200, not a stream) in its protocol's form.
pub fn keepable(protocol: Protocol, body: &[u8]) -> Keepable {
    let judged = if protocol == Protocol::Chat {
        serde_json::from_slice(body).ok().and_then(|answer| chat(&answer))
    } else {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Keepable::No };
        if protocol == Protocol::Responses { responses(&answer) } else { messages(&answer) }
    };
    judged.unwrap_or(Keepable::No)
}

/// As much of a chat completion as is looked at; nearly all answers are of this form.
#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Cow<'a, str>,
    #[serde(borrow)]
    message: Said<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

fn chat(answer: &Completion<'_>) -> Option<Keepable> {
    let mut all = answer.choices.first().map(|_| Keepable::Both)?;
    for Choice { finish_reason, message } in &answer.choices {
        // An empty list of them, or anything that is no list, is no call.
        let calls = message.tool_calls.is_some_and(|calls| {
            calls.get().strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']'))
        });
        all = match finish_reason.as_ref() {
            _ if message.audio.is_some() => return None,
            "stop" if calls || message.function_call.is_some() || message.refusal.is_some() => {
                Keepable::Exact
            }
            "stop" if !speaks(message.content) => Keepable::Exact,
            "stop" => all,
            "tool_calls" | "function_call" | "length" => Keepable::Exact,
            _ => return None,
        };
    }
    Some(all)
}

/// Whether a member is a text that is not blank.
fn speaks(content: Option<&RawValue>) -> bool {
    let text = content.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    text.is_some_and(|text| !text.trim().is_empty())
}

fn responses(answer: &Value) -> Option<Keepable> {
    if answer.get("status")?.as_str()? != "completed" {
        return None;
    }
    let mut spoke = false;
    let mut all = Keepable::Both;
    for item in answer.get("output")?.as_array()? {
        match item.get("type")?.as_str()? {
            "message" => {
                for part in item.get("content")?.as_array()? {
                    match part.get("type")?.as_str()? {
                        "output_text" => spoke |= says(part.get("text")),
                        _ => all = Keepable::Exact,
                    }
                }
            }
            "reasoning" => {}
            "function_call" | "custom_tool_call" => all = Keepable::Exact,
            _ => return None,
        }
    }
    Some(if spoke { all } else { Keepable::Exact })
}

fn messages(answer: &Value) -> Option<Keepable> {
    let content = answer.get("content")?.as_array()?;
    match answer.get("stop_reason")?.as_str()? {
        "end_turn" | "stop_sequence" => {}
        "tool_use" | "max_tokens" => return Some(Keepable::Exact),
        _ => return None,
    }
    let is = |part: &Value, kind: &str| part.get("type").and_then(Value::as_str) == Some(kind);
    let spoke = content.iter().any(|part| is(part, "text") && says(part.get("text")));
    let known = ["text", "thinking", "redacted_thinking"];
    let plain = content.iter().all(|part| known.iter().any(|kind| is(part, kind)));
    Some(if spoke && plain { Keepable::Both } else { Keepable::Exact })
}

/// Whether there is text.
fn says(content: Option<&Value>) -> bool {
    content.and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge(protocol: Protocol, answer: &Value) -> Keepable {
        keepable(protocol, answer.to_string().as_bytes())
    }

    #[test]
    fn chat_answers() {
        let of = |reason: &str, message: Value| {
            judge(Protocol::Chat, &json!({"choices": [{"finish_reason": reason, "message": message}]}))
        };
        assert_eq!(of("stop", json!({"content": "Yes."})), Keepable::Both);
        assert_eq!(of("stop", json!({"content": "Yes.", "tool_calls": [], "refusal": null})), Keepable::Both);
        assert_eq!(of("stop", json!({"content": ""})), Keepable::Exact);
        assert_eq!(of("stop", json!({"content": null, "refusal": "No."})), Keepable::Exact);
        assert_eq!(of("stop", json!({"content": "x", "tool_calls": [{}]})), Keepable::Exact);
        assert_eq!(of("length", json!({"content": "Ye"})), Keepable::Exact);
        assert_eq!(of("tool_calls", json!({"content": null})), Keepable::Exact);
        assert_eq!(of("content_filter", json!({"content": ""})), Keepable::No);
        assert_eq!(of("stop", json!({"content": "x", "audio": {"id": "a"}})), Keepable::No);
        assert_eq!(judge(Protocol::Chat, &json!({"choices": []})), Keepable::No);
        assert_eq!(judge(Protocol::Chat, &json!({"error": {"message": "no"}})), Keepable::No);
        assert_eq!(keepable(Protocol::Chat, b"data: {}"), Keepable::No);
    }

    #[test]
    fn responses_answers() {
        let of = |status: &str, output: Value| {
            judge(Protocol::Responses, &json!({"status": status, "output": output}))
        };
        let said = json!({"type": "message", "content": [{"type": "output_text", "text": "Yes."}]});
        assert_eq!(of("completed", json!([{"type": "reasoning"}, said])), Keepable::Both);
        assert_eq!(of("completed", json!([said, {"type": "function_call"}])), Keepable::Exact);
        assert_eq!(of("completed", json!([])), Keepable::Exact);
        assert_eq!(of("completed", json!([said, {"type": "web_search_call"}])), Keepable::No);
        assert_eq!(of("incomplete", json!([said])), Keepable::No);
        assert_eq!(of("failed", json!([])), Keepable::No);
    }

    #[test]
    fn messages_answers() {
        let of = |reason: &str, content: Value| {
            judge(Protocol::Messages, &json!({"stop_reason": reason, "content": content}))
        };
        let said = json!({"type": "text", "text": "Yes."});
        assert_eq!(of("end_turn", json!([{"type": "thinking"}, said])), Keepable::Both);
        assert_eq!(of("stop_sequence", json!([])), Keepable::Exact);
        assert_eq!(of("tool_use", json!([said, {"type": "tool_use"}])), Keepable::Exact);
        assert_eq!(of("max_tokens", json!([said])), Keepable::Exact);
        assert_eq!(of("refusal", json!([said])), Keepable::No);
        assert_eq!(of("pause_turn", json!([said])), Keepable::No);
    }
}
