//! A whole answer of chat completions, read and written.

use super::message::read_assistant;
use super::usage::{read_usage, write_usage};
use super::write::write_thought_signature;
use crate::Context;
use crate::canonical::{Answer, Part, ToolCall, openai_tier, text_of};
use crate::finish::Finish;
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, document};
use crate::signature::{Origin, Signature, UNSIGNED};
use crate::write::{Array, Object, object_text};
use serde_json::value::RawValue;

pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let mut answer = Answer {
        id: fields.string("id")?.filter(|id| !id.is_empty()),
        model: fields.string("model")?,
        usage: fields.raw("usage").and_then(read_usage),
        service_tier: fields.string("service_tier")?,
        ..Answer::default()
    };
    let choices: Vec<&RawValue> = fields.need("choices", "an array")?;
    let path = Path::ROOT.field("choices");
    let path = path.index(0);
    let first = choices.first().ok_or_else(|| Invalid::missing(path, "a choice"))?;
    let mut choice = Fields::read(first, path)?;
    let message: &RawValue = choice.need("message", "an object")?;
    let path = path.field("message");
    let mut message = Fields::read(message, path)?;
    read_assistant(&mut message, path, &mut answer.parts, &mut Notes::default())?;
    name_calls(&mut answer);
    answer.finish = choice.text("finish_reason")?.map(|reason| Finish::from_chat(&reason));
    let has = |want: fn(&Part) -> bool| answer.parts.iter().any(want);
    if has(|part| matches!(part, Part::Refusal { .. })) {
        answer.finish = Some(Finish::Refusal);
    } else if has(|part| matches!(part, Part::ToolCall(_))) && answer.finish == Some(Finish::Stop) {
        // Some servers say `stop` beside calls, and a client of another protocol would not run them.
        answer.finish = Some(Finish::ToolUse);
    }
    Ok(answer)
}

/// Every call needs an id, whatever the server thinks.
fn name_calls(answer: &mut Answer) {
    let of = answer.id.clone().unwrap_or_default();
    let mut place = 0;
    for part in &mut answer.parts {
        if let Part::ToolCall(call) = part {
            if call.id.is_empty() {
                call.id = crate::ids::of_gemini(None, &of, place);
            }
            place += 1;
        }
    }
}

pub(crate) fn write_answer(answer: &Answer, context: &Context) -> Vec<u8> {
    object_text(|o| {
        o.put("id", answer.id.as_deref().unwrap_or(&context.response_id));
        o.put("object", "chat.completion").put("created", &context.created);
        o.put("model", answer.model.as_deref().unwrap_or(&context.model));
        o.array("choices", |a| {
            a.object(|o| {
                o.put("index", &0).object("message", |o| write_message(o, answer));
                o.put("logprobs", &None::<u8>);
                let finish =
                    answer.finish.as_ref().map_or("stop", |finish| chat_finish(finish, &answer.parts));
                o.put("finish_reason", finish);
            });
        });
        if let Some(usage) = &answer.usage {
            o.object("usage", |o| write_usage(o, usage));
        }
        o.opt("service_tier", answer.service_tier.as_deref().map(openai_tier).as_ref());
    })
}

/// A model's own refusal in words ends with `stop`; one that the provider made of it is filtered.
fn chat_finish(finish: &Finish, parts: &[Part]) -> &'static str {
    let has_refusal = parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
    if *finish == Finish::Refusal && has_refusal { "stop" } else { finish.chat() }
}

fn write_message(o: &mut Object<'_>, answer: &Answer) {
    o.put("role", "assistant");
    let text = text_of_kind(&answer.parts, |part| matches!(part, Part::Text { .. }));
    o.put("content", &text);
    o.put("refusal", &text_of_kind(&answer.parts, |part| matches!(part, Part::Refusal { .. })));
    let mut reasoning = String::new();
    let (mut has_blocks, mut text_signature) = (false, None);
    for part in &answer.parts {
        match part {
            Part::Reasoning { text, signature } => {
                reasoning.push_str(text);
                has_blocks |= signature.is_some();
            }
            Part::Redacted { .. } => has_blocks = true,
            Part::Text { signature: Some(signature), .. } => text_signature = Some(signature),
            _ => {}
        }
    }
    if !reasoning.is_empty() {
        o.put("reasoning_content", &reasoning);
    }
    if has_blocks {
        o.array("thinking_blocks", |a| write_thinking(a, &answer.parts));
    }
    write_thought_signature(o, text_signature);
    let calls: Vec<&ToolCall> = answer
        .parts
        .iter()
        .filter_map(|p| if let Part::ToolCall(call) = p { Some(call) } else { None })
        .collect();
    if !calls.is_empty() {
        o.array("tool_calls", |a| {
            for call in calls {
                a.object(|o| {
                    o.put("id", &call.id).put("type", "function").object("function", |o| {
                        o.put("name", &call.name).put("arguments", &call.arguments);
                    });
                    write_thought_signature(o, call.signature.as_ref());
                });
            }
        });
    }
}

/// `None` where there is no such part.
fn text_of_kind(parts: &[Part], want: fn(&Part) -> bool) -> Option<String> {
    let of_kind: Vec<Part> = parts.iter().filter(|part| want(part)).cloned().collect();
    if of_kind.is_empty() { None } else { Some(text_of(&of_kind)) }
}

fn write_thinking(a: &mut Array<'_>, parts: &[Part]) {
    for part in parts {
        match part {
            Part::Reasoning { text, signature } => a.object(|o| {
                let signature =
                    signature.as_ref().map_or_else(|| UNSIGNED.to_owned(), Signature::for_anthropic);
                o.put("type", "thinking").put("thinking", text).put("signature", &signature);
            }),
            Part::Redacted { data } if data.origin == Origin::Anthropic => a.object(|o| {
                o.put("type", "redacted_thinking").put("data", &data.value);
            }),
            _ => {}
        }
    }
}
