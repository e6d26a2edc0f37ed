//! The conversation as Gemini's contents.
//!
//! Gemini names a tool's result by the tool and, where it gave one, by the call's id. It matches calls and results by their order,
//! so results follow their calls in one turn of the user.

use crate::canonical::{Part, Request, Source, ToolResult, arguments_object, turns};
use crate::ids::to_gemini;
use crate::problem::{Invalid, Notes};
use crate::read::Json;
use crate::signature::{Origin, Signature};
use crate::write::{Array, Object, array};
use std::collections::HashMap;

/// What Google lets stand for the signature of a call that another model made.
const FOREIGN_CALL: &str = "skip_thought_signature_validator";

/// Writes all turns; those of the same side become one.
pub(super) fn write_contents(
    a: &mut Array<'_>,
    request: &Request,
    is_signing: bool,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for turn in turns(request) {
        let (parts, is_model) = (turn.parts, turn.is_model);
        let mut written = Vec::new();
        let mut outcome = Ok(());
        array(&mut written, |a| {
            if is_model {
                write_model_parts(a, &parts, is_signing, notes);
            } else {
                outcome = write_user_parts(a, &parts, &names, notes);
            }
        });
        outcome?;
        for part in &parts {
            if let Part::ToolCall(call) = part {
                names.insert(&call.id, &call.name);
            }
        }
        if written != b"[]" {
            a.object(|o| {
                o.put("role", if is_model { "model" } else { "user" });
                o.json("parts", &String::from_utf8_lossy(&written));
            });
        }
    }
    Ok(())
}

fn write_user_parts(
    a: &mut Array<'_>,
    parts: &[&Part],
    names: &HashMap<&str, &str>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let (results, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    let mut shown: Vec<&Part> = Vec::new();
    for part in results {
        let Part::ToolResult(result) = part else { continue };
        let name = names.get(result.id.as_str()).ok_or_else(|| {
            Invalid::new(
                "tool_call_id",
                format!("{:?}", result.id),
                "the id of a tool call earlier in the conversation",
            )
        })?;
        write_result(a, result, name);
        // What is not text stands beside the result.
        shown.extend(result.content.iter().filter(|part| !matches!(part, Part::Text { .. })));
    }
    shown.into_iter().chain(others).for_each(|part| write_part(a, part, None, notes));
    Ok(())
}

/// A text that is an object is the response itself; any other is its `output`, or its `error`.
fn write_result(a: &mut Array<'_>, result: &ToolResult, name: &str) {
    let text = crate::canonical::text_of(&result.content);
    a.object(|o| {
        o.object("functionResponse", |o| {
            o.opt("id", to_gemini(&result.id).as_ref()).put("name", name);
            let trimmed = text.trim();
            if !result.is_error && trimmed.starts_with('{') && Json::parse(trimmed).is_some() {
                o.json("response", trimmed);
            } else {
                o.object("response", |o| {
                    o.put(if result.is_error { "error" } else { "output" }, &text);
                });
            }
        });
    });
}

/// What a model said. A signature that its client kept as a thought belongs to the call after it, or else to the text before it.
fn write_model_parts(a: &mut Array<'_>, parts: &[&Part], is_signing: bool, notes: &mut Notes) {
    let mut said: Vec<(&Part, Option<&str>)> = Vec::new();
    let mut pending: Option<&str> = None;
    let own = |signature: &'_ Signature| signature.origin == Origin::Gemini;
    for part in parts {
        match part {
            Part::Reasoning { signature: Some(signature), .. } if own(signature) => {
                if let Some(earlier) = pending.replace(&signature.value) {
                    sign_text(&mut said, earlier);
                }
            }
            Part::Reasoning { .. } => {
                notes.once("thinking", "left out: Gemini wants no thoughts back, only its own signatures");
            }
            Part::Redacted { .. } => {
                notes.once("redacted_thinking", "left out: only the provider that wrote it can read it");
            }
            Part::ToolCall(call) => {
                let signature = call.signature.as_ref().filter(|s| own(s)).map(|s| s.value.as_str());
                said.push((*part, signature.or_else(|| pending.take())));
            }
            Part::Text { signature, .. } => {
                said.push((*part, signature.as_ref().filter(|s| own(s)).map(|s| s.value.as_str())));
            }
            other => said.push((*other, None)),
        }
    }
    if let Some(signature) = pending {
        sign_text(&mut said, signature);
    }
    if is_signing
        && let Some((_, signature)) = said.iter_mut().find(|(part, _)| matches!(part, Part::ToolCall(_)))
    {
        signature.get_or_insert(FOREIGN_CALL);
    }
    for (part, signature) in said {
        write_part(a, part, signature, notes);
    }
}

fn sign_text<'s>(said: &mut [(&Part, Option<&'s str>)], value: &'s str) {
    let text = said.iter_mut().rev().find(|(part, _)| matches!(part, Part::Text { .. }));
    if let Some((_, signature)) = text {
        signature.get_or_insert(value);
    }
}

pub(super) fn write_part(a: &mut Array<'_>, part: &Part, signature: Option<&str>, notes: &mut Notes) {
    match part {
        Part::Text { text, .. } | Part::Refusal { text } => a.object(|o| {
            o.put("text", text).opt("thoughtSignature", signature.as_ref());
        }),
        Part::Image { source, detail, .. } => {
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                notes.once("image_url.detail", "left out: it has no counterpart at Gemini");
            }
            a.object(|o| write_source(o, source, "image/jpeg"));
        }
        Part::Document { source, name, context, citations, .. } => {
            if context.is_some() || *citations {
                notes.once("document", "its context and citations are left out: Gemini has none");
            }
            if let Source::Text(text) = source {
                let titled = name.as_ref().map(|name| format!("{name}\n\n{text}"));
                a.object(|o| {
                    o.put("text", titled.as_ref().unwrap_or(text));
                });
            } else {
                a.object(|o| write_source(o, source, "application/pdf"));
            }
        }
        Part::Audio { data, format } => a.object(|o| {
            o.object("inlineData", |o| {
                o.put("mimeType", &format!("audio/{format}")).put("data", data);
            });
        }),
        Part::ToolCall(call) => {
            let (input, is_whole) = arguments_object(&call.arguments);
            if !is_whole {
                notes.once("tool_calls.arguments", "passed on within an object: they are no JSON object");
            }
            a.object(|o| {
                o.object("functionCall", |o| {
                    o.opt("id", to_gemini(&call.id).as_ref()).put("name", &call.name).json("args", &input);
                });
                o.opt("thoughtSignature", signature.as_ref());
            });
        }
        Part::Reasoning { .. } | Part::Redacted { .. } | Part::ToolResult(_) => {}
    }
}

fn write_source(o: &mut Object<'_>, source: &Source, usual: &str) {
    match source {
        Source::Base64 { media_type, data } => {
            o.object("inlineData", |o| {
                o.put("mimeType", media_type).put("data", data);
            });
        }
        Source::Url(url) => {
            o.object("fileData", |o| {
                o.put("mimeType", media_type_of(url).unwrap_or(usual)).put("fileUri", url);
            });
        }
        Source::Text(text) => {
            o.put("text", text);
        }
    }
}

/// By the name's ending, which is all that is known of what lies at a URL.
fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "html" => "text/html",
        "csv" => "text/csv",
        "md" => "text/markdown",
        _ => return None,
    })
}
