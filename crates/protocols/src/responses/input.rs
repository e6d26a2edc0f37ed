//! The items of a response's input.

use crate::canonical::{Message, Part, Role, Source, ToolCall, ToolResult};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, is_string, value};
use crate::signature::{Handed, Origin, Signature, unmark};
use serde_json::value::RawValue;

pub(super) fn read_item(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Message, Invalid> {
    let mut item = Fields::read(raw, path)?;
    let kind = item.string("type")?.unwrap_or_else(|| "message".to_owned());
    // What an item was called and how far it came, in the response that it came from.
    for echoed in ["id", "status", "phase"] {
        item.raw(echoed);
    }
    let message = match kind.as_str() {
        "message" => read_message(&mut item, path, notes)?,
        "function_call" => Message::new(
            Role::Assistant,
            vec![Part::ToolCall(ToolCall {
                id: item.need_string("call_id")?,
                name: item.need_string("name")?,
                arguments: item.string("arguments")?.unwrap_or_default(),
                signature: None,
                cache: None,
            })],
        ),
        "function_call_output" => {
            let id = item.need_string("call_id")?;
            let output: &RawValue = item.need("output", "a string or an array of parts")?;
            let content = read_content(output, path.field("output"), notes)?;
            let result = ToolResult { id, content, is_error: false, cache: None };
            Message::new(Role::User, vec![Part::ToolResult(result)])
        }
        "reasoning" => Message::new(Role::Assistant, vec![read_reasoning(&mut item, path)?]),
        other => {
            let expected = "\"message\", \"function_call\", \"function_call_output\" or \"reasoning\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    };
    item.finish(notes);
    Ok(message)
}

fn read_message(item: &mut Fields<'_, '_>, path: Path<'_>, notes: &mut Notes) -> Result<Message, Invalid> {
    let role = match item.need_string("role")?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let expected = "\"user\", \"assistant\", \"system\" or \"developer\"";
            return Err(Invalid::new(path.field("role"), format!("{other:?}"), expected));
        }
    };
    let content: &RawValue = item.need("content", "a string or an array of parts")?;
    Ok(Message::new(role, read_content(content, path.field("content"), notes)?))
}

fn read_content(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Vec<Part>, Invalid> {
    if is_string(raw) {
        return Ok(vec![Part::text(value(raw, path, "a string")?)]);
    }
    let parts: Vec<&RawValue> = value(raw, path, "a string or an array of parts")?;
    parts.into_iter().enumerate().map(|(at, part)| read_part(part, path.index(at), notes)).collect()
}

fn read_part(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Part, Invalid> {
    let mut part = Fields::read(raw, path)?;
    if let Some(raw) = part.raw("file_id") {
        return Err(path
            .field("file_id")
            .invalid(raw, "the data itself: another provider cannot see the file"));
    }
    let cache = part.raw("prompt_cache_breakpoint").map(|_| crate::canonical::Cache::default());
    let read = match part.need_string("type")?.as_str() {
        "input_text" | "output_text" | "text" => {
            part.raw("annotations");
            part.raw("logprobs");
            Part::Text { text: part.need_string("text")?, cache, signature: None }
        }
        "refusal" => Part::Refusal { text: part.need_string("refusal")? },
        "input_image" => {
            let url = part.need_string("image_url")?;
            Part::Image { source: Source::from_url(&url), detail: part.string("detail")?, cache }
        }
        "input_file" => {
            let name = part.string("filename")?;
            let source = match (part.string("file_data")?, part.string("file_url")?) {
                (Some(data), _) => match Source::from_url(&data) {
                    Source::Url(data) => Source::Base64 { media_type: "application/pdf".to_owned(), data },
                    source => source,
                },
                (None, Some(url)) => Source::Url(url),
                (None, None) => return Err(part.missing("file_data", "a data URL")),
            };
            Part::Document { source, name, context: None, citations: false, cache }
        }
        "input_audio" => {
            let audio: &RawValue = part.need("input_audio", "an object")?;
            let mut audio = Fields::read(audio, path.field("input_audio"))?;
            Part::Audio { data: audio.need_string("data")?, format: audio.need_string("format")? }
        }
        other => {
            let expected = "\"input_text\", \"input_image\", \"input_file\", \"input_audio\", \"output_text\" or \"refusal\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    };
    part.finish(notes);
    Ok(read)
}

fn read_reasoning(item: &mut Fields<'_, '_>, path: Path<'_>) -> Result<Part, Invalid> {
    let mut text = String::new();
    for name in ["summary", "content"] {
        let path = path.field(name);
        let parts = item.items(name)?.unwrap_or_default();
        if text.is_empty() {
            for (at, raw) in parts.into_iter().enumerate() {
                text.push_str(&Fields::read(raw, path.index(at))?.string("text")?.unwrap_or_default());
            }
        }
    }
    let proof = item.string("encrypted_content")?.unwrap_or_default();
    Ok(match unmark(&proof) {
        Handed::Redacted(data) => Part::Redacted { data },
        Handed::Signed(signature) => Part::Reasoning { text, signature: Some(signature) },
        Handed::Unsigned => Part::Reasoning { text, signature: None },
        Handed::Bare => {
            Part::Reasoning { text, signature: Some(Signature { origin: Origin::OpenAi, value: proof }) }
        }
    })
}
