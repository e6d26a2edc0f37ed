//! Anthropic's content blocks of a request, written.

use crate::canonical::{Cache, Part, Source, ToolCall, ToolResult, arguments_object};
use crate::ids::portable;
use crate::problem::{Invalid, Notes};
use crate::signature::{Origin, Signature};
use crate::write::{Array, Object};

/// The blocks of one turn. A tool's results come first: Anthropic wants them right after the calls.
pub(super) fn write_blocks(
    a: &mut Array<'_>,
    parts: &[&Part],
    may_think: bool,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let (results, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    for part in results.into_iter().chain(others) {
        write_block(a, part, may_think, notes)?;
    }
    Ok(())
}

fn write_block(a: &mut Array<'_>, part: &Part, may_think: bool, notes: &mut Notes) -> Result<(), Invalid> {
    match part {
        // Anthropic refuses empty texts.
        Part::Text { text, .. } | Part::Refusal { text } if text.is_empty() => {}
        Part::Text { text, cache, .. } => a.object(|o| {
            o.put("type", "text").put("text", text);
            write_cache(o, *cache);
        }),
        Part::Refusal { text } => a.object(|o| {
            o.put("type", "text").put("text", text);
        }),
        Part::Image { source, detail, cache } => {
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                notes.once("image_url.detail", "left out: Anthropic has one resolution");
            }
            a.object(|o| {
                o.put("type", "image");
                write_source(o, source);
                write_cache(o, *cache);
            });
        }
        Part::Document { source, name, context, citations, cache } => a.object(|o| {
            o.put("type", "document");
            write_source(o, source);
            o.opt("title", name.as_ref()).opt("context", context.as_ref());
            if *citations {
                o.object("citations", |o| {
                    o.put("enabled", &true);
                });
            }
            write_cache(o, *cache);
        }),
        Part::Audio { format, .. } => {
            return Err(Invalid::new(
                "input_audio",
                format,
                "text, images or documents: Anthropic takes no audio",
            ));
        }
        Part::Reasoning { text, signature } => match signature {
            Some(signature) if signature.origin == Origin::Anthropic && may_think => a.object(|o| {
                o.put("type", "thinking").put("thinking", text).put("signature", &signature.value);
            }),
            Some(signature) if signature.origin == Origin::Anthropic => {
                notes.once("thinking", "left out: thinking is off in this request");
            }
            _ => notes.once("thinking", "left out: Anthropic takes back only thoughts that it signed"),
        },
        Part::Redacted { data } if data.origin == Origin::Anthropic && may_think => a.object(|o| {
            o.put("type", "redacted_thinking").put("data", &data.value);
        }),
        Part::Redacted { .. } => {
            notes.once("redacted_thinking", "left out: only the provider that wrote it can read it");
        }
        Part::ToolCall(call) => write_call(a, call, notes),
        Part::ToolResult(result) => return write_result(a, result, notes),
    }
    Ok(())
}

fn write_call(a: &mut Array<'_>, call: &ToolCall, notes: &mut Notes) {
    let (input, is_whole) = arguments_object(&call.arguments);
    if !is_whole {
        notes.once("tool_calls.arguments", "passed on within an object: they are no JSON object");
    }
    a.object(|o| {
        o.put("type", "tool_use")
            .put("id", &portable(&call.id))
            .put("name", &call.name)
            .json("input", &input);
        write_cache(o, call.cache);
    });
}

fn write_result(a: &mut Array<'_>, result: &ToolResult, notes: &mut Notes) -> Result<(), Invalid> {
    let mut content = Vec::new();
    let mut outcome = Ok(());
    crate::write::array(&mut content, |a| {
        outcome = result.content.iter().try_for_each(|part| write_block(a, part, false, notes));
    });
    outcome?;
    a.object(|o| {
        o.put("type", "tool_result").put("tool_use_id", &portable(&result.id));
        match result.content.as_slice() {
            [] => {}
            [Part::Text { text, cache: None, .. }] => {
                o.put("content", text);
            }
            _ => {
                o.json("content", &String::from_utf8_lossy(&content));
            }
        }
        if result.is_error {
            o.put("is_error", &true);
        }
        write_cache(o, result.cache);
    });
    Ok(())
}

fn write_source(o: &mut Object<'_>, source: &Source) {
    o.object("source", |o| match source {
        Source::Base64 { media_type, data } => {
            o.put("type", "base64").put("media_type", media_type).put("data", data);
        }
        Source::Url(url) => {
            o.put("type", "url").put("url", url);
        }
        Source::Text(text) => {
            o.put("type", "text").put("media_type", "text/plain").put("data", text);
        }
    });
}

pub(super) fn write_cache(o: &mut Object<'_>, cache: Option<Cache>) {
    if let Some(cache) = cache {
        o.object("cache_control", |o| {
            o.put("type", "ephemeral");
            if let Some(hour) = cache.hour {
                o.put("ttl", if hour { "1h" } else { "5m" });
            }
        });
    }
}

/// A block of no thought whose signature belongs to the part beside it: the one place where an Anthropic client keeps Gemini's.
pub(super) fn write_marked_thought(a: &mut Array<'_>, signature: Option<&Signature>) {
    if let Some(signature) = signature {
        a.object(|o| {
            o.put("type", "thinking").put("thinking", "").put("signature", &signature.marked(false));
        });
    }
}
