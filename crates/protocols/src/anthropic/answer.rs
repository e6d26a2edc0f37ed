//! A whole answer of Anthropic's messages, read and written.

use super::blocks::read_block;
use super::usage::{Counts, write_usage};
use super::write_blocks::write_marked_thought;
use crate::Context;
use crate::canonical::{Answer, Part, anthropic_tier, arguments_object};
use crate::finish::Finish;
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, document};
use crate::signature::{Origin, Signature, UNSIGNED};
use crate::write::{Array, object_text};
use serde_json::value::RawValue;

pub(crate) fn read_answer(body: &[u8], notes: &mut Notes) -> Result<Answer, Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let sequence = fields.string("stop_sequence")?;
    let mut answer = Answer {
        id: fields.string("id")?,
        model: fields.string("model")?,
        finish: fields.text("stop_reason")?.map(|reason| Finish::from_anthropic(&reason, sequence)),
        ..Answer::default()
    };
    if let Some(raw) = fields.raw("usage") {
        let mut counts = Counts::default();
        answer.usage = counts.learn(raw).then(|| counts.usage());
        answer.service_tier = Fields::read(raw, Path::ROOT.field("usage"))?.string("service_tier")?;
    }
    let path = Path::ROOT.field("content");
    for (at, raw) in fields.need::<Vec<&RawValue>>("content", "an array of blocks")?.into_iter().enumerate() {
        answer.parts.push(read_block(raw, path.index(at), notes)?);
    }
    Ok(answer)
}

pub(crate) fn write_answer(answer: &Answer, context: &Context) -> Vec<u8> {
    object_text(|o| {
        o.put("id", answer.id.as_deref().unwrap_or(&context.response_id));
        o.put("type", "message").put("role", "assistant");
        o.put("model", answer.model.as_deref().unwrap_or(&context.model));
        o.array("content", |a| answer.parts.iter().for_each(|part| write_block(a, part)));
        let finish = answer.finish.as_ref().unwrap_or(&Finish::Stop);
        o.put("stop_reason", finish.anthropic());
        let sequence = if let Finish::StopSequence(sequence) = finish { sequence.as_ref() } else { None };
        o.put("stop_sequence", &sequence);
        o.object("usage", |o| {
            write_usage(o, &answer.usage.unwrap_or_default());
            o.opt("service_tier", answer.service_tier.as_deref().and_then(anthropic_tier).as_ref());
        });
    })
}

fn write_block(a: &mut Array<'_>, part: &Part) {
    match part {
        Part::Text { text, signature, .. } => {
            if !text.is_empty() {
                a.object(|o| {
                    o.put("type", "text").put("text", text);
                });
            }
            write_marked_thought(a, signature.as_ref());
        }
        Part::Refusal { text } => a.object(|o| {
            o.put("type", "text").put("text", text);
        }),
        Part::Reasoning { text, signature } => a.object(|o| {
            let signature = signature.as_ref().map_or_else(|| UNSIGNED.to_owned(), Signature::for_anthropic);
            o.put("type", "thinking").put("thinking", text).put("signature", &signature);
        }),
        Part::Redacted { data } => a.object(|o| {
            let is_own = data.origin == Origin::Anthropic;
            let data = if is_own { data.value.clone() } else { data.marked(true) };
            o.put("type", "redacted_thinking").put("data", &data);
        }),
        Part::ToolCall(call) => {
            write_marked_thought(a, call.signature.as_ref());
            a.object(|o| {
                o.put("type", "tool_use").put("id", &call.id).put("name", &call.name);
                o.json("input", &arguments_object(&call.arguments).0);
            });
        }
        Part::Image { .. } | Part::Document { .. } | Part::Audio { .. } | Part::ToolResult(_) => {}
    }
}
