//! A response, written: whole, and as the events of a stream carry it.

use crate::Context;
use crate::canonical::{Answer, Part, openai_tier};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::signature::Signature;
use crate::write::{Object, array, object_text};
use contracts::TokenUsage;

pub(crate) fn write_answer(answer: &Answer, context: &Context) -> Vec<u8> {
    let mut items = Vec::new();
    let has_refusal = answer.parts.iter().any(|part| matches!(part, Part::Refusal { .. }));
    let finish = told(answer.finish.as_ref(), has_refusal);
    let status = item_status(finish);
    array(&mut items, |a| {
        let mut place = 0;
        let mut item = |fill: &dyn Fn(&mut Object<'_>, &str)| {
            let id = item_id(context, place);
            place += 1;
            a.object(|o| fill(o, &id));
        };
        for part in &answer.parts {
            match part {
                Part::Text { text, signature, .. } => {
                    if !text.is_empty() {
                        item(&|o, id| fill_message(o, id, status, |o| fill_text(o, text)));
                    }
                    if let Some(signature) = signature {
                        item(&|o, id| fill_reasoning(o, id, "", Some(&signature.marked(false))));
                    }
                }
                Part::Refusal { text } => {
                    item(&|o, id| fill_message(o, id, status, |o| fill_refusal(o, text)));
                }
                Part::Reasoning { text, signature } => {
                    let proof = signature.as_ref().map(|signature| signature.marked(false));
                    item(&|o, id| fill_reasoning(o, id, text, proof.as_deref()));
                }
                Part::Redacted { data } => {
                    item(&|o, id| fill_reasoning(o, id, "", Some(&data.marked(true))));
                }
                Part::ToolCall(call) => {
                    if let Some(signature) = &call.signature {
                        item(&|o, id| fill_reasoning(o, id, "", Some(&signature.marked(false))));
                    }
                    item(&|o, id| fill_call(o, id, status, &call.id, &call.name, &call.arguments));
                }
                Part::Image { .. } | Part::Document { .. } | Part::Audio { .. } | Part::ToolResult(_) => {}
            }
        }
    });
    let state = State {
        model: answer.model.as_deref(),
        finish,
        usage: answer.usage.as_ref(),
        tier: answer.service_tier.as_deref(),
        error: None,
        is_done: true,
    };
    object_text(|o| fill_response(o, context, &items, &state))
}

/// A refusal without a word of the model's own is the provider's: the answer was filtered.
pub(super) const fn told(finish: Option<&Finish>, has_refusal: bool) -> Option<&Finish> {
    match finish {
        Some(Finish::Refusal) if !has_refusal => Some(&Finish::Filtered),
        finish => finish,
    }
}

/// What is known of a response.
#[derive(Debug, Default)]
pub(super) struct State<'a> {
    pub model: Option<&'a str>,
    pub finish: Option<&'a Finish>,
    pub usage: Option<&'a TokenUsage>,
    pub tier: Option<&'a str>,
    pub error: Option<&'a UpstreamError>,
    pub is_done: bool,
}

/// The whole object; `items` is its output as JSON.
pub(super) fn fill_response(o: &mut Object<'_>, context: &Context, items: &[u8], state: &State<'_>) {
    let reason = state.finish.and_then(Finish::incomplete);
    let status = match (state.error, state.is_done, reason) {
        (Some(_), ..) => "failed",
        (None, false, _) => "in_progress",
        (None, true, Some(_)) => "incomplete",
        (None, true, None) => "completed",
    };
    o.put("id", &response_id(context)).put("object", "response").put("created_at", &context.created);
    o.put("status", status);
    match state.error {
        None => o.put("error", &None::<&str>),
        Some(error) => o.object("error", |o| {
            let code = if error.status == 429 { "rate_limit_exceeded" } else { "server_error" };
            o.put("code", code).put("message", &error.message);
        }),
    };
    match reason.filter(|_| state.is_done && state.error.is_none()) {
        None => o.put("incomplete_details", &None::<&str>),
        Some(reason) => o.object("incomplete_details", |o| {
            o.put("reason", reason);
        }),
    };
    o.put("model", state.model.unwrap_or(&context.model));
    o.json("output", &String::from_utf8_lossy(items));
    let empty = super::Echo::default();
    let echo = context.echo.as_deref().unwrap_or(&empty);
    for (name, json) in &echo.members {
        // A schema may have been written over several lines, which an event's line cannot hold.
        o.json(name, &one_line(json.text()));
    }
    for (name, usual) in [
        ("instructions", "null"),
        ("metadata", "{}"),
        ("parallel_tool_calls", "true"),
        ("temperature", "null"),
        ("tool_choice", "\"auto\""),
        ("tools", "[]"),
        ("top_p", "null"),
    ] {
        if !echo.has(name) {
            o.json(name, usual);
        }
    }
    o.put("previous_response_id", &None::<&str>).put("store", &false);
    o.opt("service_tier", state.tier.map(openai_tier).as_ref());
    match state.usage.filter(|_| state.is_done) {
        None => o.put("usage", &None::<&str>),
        Some(usage) => o.object("usage", |o| fill_usage(o, usage)),
    };
}

/// A line feed in JSON stands between its tokens, where a space does as well.
fn one_line(json: &str) -> std::borrow::Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

fn fill_usage(o: &mut Object<'_>, usage: &TokenUsage) {
    o.put("input_tokens", &usage.input);
    o.object("input_tokens_details", |o| {
        o.put("cached_tokens", &usage.cache_read);
        o.put("cache_write_tokens", &usage.cache_write.saturating_add(usage.cache_write_1h));
    });
    o.put("output_tokens", &usage.output);
    o.object("output_tokens_details", |o| {
        o.put("reasoning_tokens", &usage.reasoning);
    });
    o.put("total_tokens", &usage.total());
    if usage.cache_write_1h > 0 {
        o.object("cache_creation", |o| {
            o.put("ephemeral_5m_input_tokens", &usage.cache_write);
            o.put("ephemeral_1h_input_tokens", &usage.cache_write_1h);
        });
    }
}

pub(super) fn response_id(context: &Context) -> String {
    let id = &context.response_id;
    if id.starts_with("resp_") { id.clone() } else { format!("resp_{id}") }
}

pub(super) fn item_id(context: &Context, place: usize) -> String {
    format!("item_{}_{place}", context.response_id)
}

/// Of the last items of an answer that was cut.
pub(super) fn item_status(finish: Option<&Finish>) -> &'static str {
    if finish.and_then(Finish::incomplete).is_some() { "incomplete" } else { "completed" }
}

pub(super) fn fill_message(o: &mut Object<'_>, id: &str, status: &str, part: impl FnOnce(&mut Object<'_>)) {
    o.put("id", id).put("type", "message").put("status", status).put("role", "assistant");
    o.array("content", |a| a.object(part));
}

pub(super) fn fill_text(o: &mut Object<'_>, text: &str) {
    o.put("type", "output_text").put("text", text).array("annotations", |_| {}).array("logprobs", |_| {});
}

pub(super) fn fill_refusal(o: &mut Object<'_>, text: &str) {
    o.put("type", "refusal").put("refusal", text);
}

pub(super) fn fill_reasoning(o: &mut Object<'_>, id: &str, text: &str, proof: Option<&str>) {
    o.put("id", id).put("type", "reasoning");
    o.array("summary", |a| {
        if !text.is_empty() {
            a.object(|o| {
                o.put("type", "summary_text").put("text", text);
            });
        }
    });
    o.put("encrypted_content", &proof);
}

pub(super) fn fill_call(
    o: &mut Object<'_>,
    id: &str,
    status: &str,
    call_id: &str,
    name: &str,
    arguments: &str,
) {
    let arguments = if arguments.is_empty() && status != "in_progress" { "{}" } else { arguments };
    o.put("id", id).put("type", "function_call").put("status", status);
    o.put("call_id", call_id).put("name", name).put("arguments", arguments);
}

/// How a signature stands beside reasoning.
pub(super) fn proof(signature: &Signature) -> String {
    signature.marked(false)
}
