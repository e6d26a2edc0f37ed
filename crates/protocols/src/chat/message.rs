//! A message of chat completions, read.

use super::request::read_cache;
use crate::canonical::{Message, Part, Role, Source, ToolCall, ToolResult};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, is_string, value};
use crate::signature::{Handed, Signature, unmark};
use serde_json::value::RawValue;

pub(super) fn read_message(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Message, Invalid> {
    let mut fields = Fields::read(raw, path)?;
    let role = fields.need_string("role")?;
    let name = fields.string("name")?;
    let mut parts = Vec::new();
    let role = match role.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => {
            read_assistant(&mut fields, path, &mut parts, notes)?;
            fields.finish(notes);
            return Ok(Message { role: Role::Assistant, parts, name });
        }
        "tool" => {
            let id = fields.need_string("tool_call_id")?;
            let cache = read_cache(&mut fields, notes)?;
            let is_error = fields.boolean("is_error")?.unwrap_or_default();
            read_content(&mut fields, path, &mut parts, notes)?;
            fields.finish(notes);
            let result = ToolResult { id, content: parts, is_error, cache };
            return Ok(Message { role: Role::User, parts: vec![Part::ToolResult(result)], name });
        }
        other => {
            let expected = "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"";
            return Err(Invalid::new(path.field("role"), format!("{other:?}"), expected));
        }
    };
    let cache = read_cache(&mut fields, notes)?;
    read_content(&mut fields, path, &mut parts, notes)?;
    if let Some(Part::Text { cache: of_part, .. }) = parts.last_mut() {
        *of_part = of_part.or(cache);
    }
    fields.finish(notes);
    Ok(Message { role, parts, name })
}

/// `content`: a text, or parts.
fn read_content(
    fields: &mut Fields<'_, '_>,
    path: Path<'_>,
    parts: &mut Vec<Part>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let path = path.field("content");
    match fields.raw("content") {
        None => {}
        Some(raw) if is_string(raw) => parts.push(Part::text(value(raw, path, "a string")?)),
        Some(raw) => {
            let items: Vec<&RawValue> = value(raw, path, "a string or an array of parts")?;
            for (index, item) in items.into_iter().enumerate() {
                parts.push(read_part(item, path.index(index), notes)?);
            }
        }
    }
    Ok(())
}

fn read_part(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Part, Invalid> {
    let mut fields = Fields::read(raw, path)?;
    let kind = fields.need_string("type")?;
    let cache = read_cache(&mut fields, notes)?;
    let part = match kind.as_str() {
        "text" => Part::Text { text: fields.need_string("text")?, cache, signature: None },
        "refusal" => Part::Refusal { text: fields.need_string("refusal")? },
        "image_url" => {
            let image: &RawValue = fields.need("image_url", "an object")?;
            let path = path.field("image_url");
            let mut image = Fields::read(image, path)?;
            let url = image.need_string("url")?;
            let detail = image.string("detail")?;
            image.finish(notes);
            Part::Image { source: Source::from_url(&url), detail, cache }
        }
        "input_audio" => {
            let audio: &RawValue = fields.need("input_audio", "an object")?;
            let mut audio = Fields::read(audio, path.field("input_audio"))?;
            Part::Audio { data: audio.need_string("data")?, format: audio.need_string("format")? }
        }
        "file" => {
            let file: &RawValue = fields.need("file", "an object")?;
            let path = path.field("file");
            let mut file = Fields::read(file, path)?;
            if let Some(id) = file.raw("file_id") {
                return Err(path
                    .field("file_id")
                    .invalid(id, "file_data: another provider cannot see the file"));
            }
            let data = file.need_string("file_data")?;
            let name = file.string("filename")?;
            file.finish(notes);
            let source = match Source::from_url(&data) {
                Source::Url(data) if !data.contains("://") => {
                    Source::Base64 { media_type: "application/pdf".to_owned(), data }
                }
                source => source,
            };
            Part::Document { source, name, context: None, citations: false, cache }
        }
        other => {
            let expected = "\"text\", \"image_url\", \"input_audio\", \"file\" or \"refusal\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    };
    fields.finish(notes);
    Ok(part)
}

/// What an assistant said: thoughts, text, calls, in this order.
pub(super) fn read_assistant(
    fields: &mut Fields<'_, '_>,
    path: Path<'_>,
    parts: &mut Vec<Part>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let plain = match fields.string("reasoning_content")? {
        Some(text) => Some(text),
        None => fields.string("reasoning")?,
    };
    read_thinking(fields, path, parts, notes)?;
    if let Some(text) = plain
        && parts.is_empty()
        && !text.is_empty()
    {
        parts.push(Part::Reasoning { text, signature: None });
    }
    let cache = read_cache(fields, notes)?;
    let said = parts.len();
    read_content(fields, path, parts, notes)?;
    // An empty text beside tool calls says nothing.
    let is_empty = |part: &Part| matches!(part, Part::Text { text, .. } if text.is_empty());
    let mut index = 0;
    parts.retain(|part| {
        index += 1;
        index <= said || !is_empty(part)
    });
    let signature = read_thought_signature(fields, path)?;
    if let Some(Part::Text { cache: of_part, signature: of_text, .. }) = parts[said..].last_mut() {
        *of_part = of_part.or(cache);
        *of_text = signature;
    }
    if let Some(text) = fields.string("refusal")? {
        parts.push(Part::Refusal { text });
    }
    if let Some(raw) = fields.raw("function_call") {
        return Err(path.field("function_call").invalid(raw, "tool_calls in its place"));
    }
    let calls_path = path.field("tool_calls");
    for (index, raw) in fields.items("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
        let path = calls_path.index(index);
        let mut call = Fields::read(raw, path)?;
        let kind = call.text("type")?.unwrap_or("function".into());
        if kind != "function" {
            return Err(Invalid::new(path.field("type"), format!("{kind:?}"), "\"function\""));
        }
        let id = call.string("id")?.unwrap_or_default();
        call.raw("index");
        let signature = read_thought_signature(&mut call, path)?;
        let cache = read_cache(&mut call, notes)?;
        let function: &RawValue = call.need("function", "an object")?;
        let mut function = Fields::read(function, path.field("function"))?;
        let name = function.need_string("name")?;
        let arguments = function.string("arguments")?.unwrap_or_default();
        parts.push(Part::ToolCall(ToolCall { id, name, arguments, signature, cache }));
        call.finish(notes);
    }
    // What answers carry beside what was said; handed back by clients that echo them.
    for echoed in ["audio", "annotations", "reasoning_details", "provider_specific_fields", "index"] {
        fields.raw(echoed);
    }
    Ok(())
}

/// `thinking_blocks`: Anthropic's blocks, kept by the client.
fn read_thinking(
    fields: &mut Fields<'_, '_>,
    path: Path<'_>,
    parts: &mut Vec<Part>,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let path = path.field("thinking_blocks");
    for (index, raw) in fields.items("thinking_blocks")?.unwrap_or_default().into_iter().enumerate() {
        let path = path.index(index);
        let mut block = Fields::read(raw, path)?;
        block.raw("index");
        let kind = block.need_string("type")?;
        let read = match kind.as_str() {
            "thinking" => {
                let text = block.string("thinking")?.unwrap_or_default();
                let signature = block.string("signature")?.unwrap_or_default();
                let signature = match unmark(&signature) {
                    Handed::Signed(signature) | Handed::Redacted(signature) => Some(signature),
                    Handed::Unsigned => None,
                    Handed::Bare => Some(Signature::anthropic(signature)),
                };
                Part::Reasoning { text, signature }
            }
            "redacted_thinking" => Part::Redacted { data: Signature::anthropic(block.need_string("data")?) },
            other => {
                let expected = "\"thinking\" or \"redacted_thinking\"";
                return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
            }
        };
        parts.push(read);
        block.finish(notes);
    }
    Ok(())
}

/// `extra_content.google.thought_signature`, as Google's own compatible endpoint has it.
fn read_thought_signature(fields: &mut Fields<'_, '_>, path: Path<'_>) -> Result<Option<Signature>, Invalid> {
    let path = path.field("extra_content");
    let Some(raw) = fields.raw("extra_content") else { return Ok(None) };
    let Some(google) = Fields::read(raw, path)?.raw("google") else { return Ok(None) };
    let mut google = Fields::read(google, path.field("google"))?;
    Ok(google.string("thought_signature")?.map(Signature::gemini))
}
