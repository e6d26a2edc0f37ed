//! Anthropic's content blocks, read: of requests and of answers.

use super::request::read_cache;
use crate::canonical::{Part, Source, ToolCall, ToolResult, text_of};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, is_string, value};
use crate::signature::{Handed, Signature, unmark};
use serde_json::value::RawValue;

/// Steps to the deepest content that there is: `messages[0].content[0].content[0].source.content`. What is nested more deeply would be
/// read anew at each level only to be refused.
const MOST_DEEP: usize = 12;

/// A text, or blocks.
pub(super) fn read_content(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Vec<Part>, Invalid> {
    if path.depth() > MOST_DEEP {
        return Err(Invalid::new(path, "content", "blocks that are nested less deeply"));
    }
    if is_string(raw) {
        return Ok(vec![Part::text(value(raw, path, "a string")?)]);
    }
    let blocks: Vec<&RawValue> = value(raw, path, "a string or an array of blocks")?;
    blocks.into_iter().enumerate().map(|(at, block)| read_block(block, path.index(at), notes)).collect()
}

pub(super) fn read_block(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Part, Invalid> {
    let mut fields = Fields::read(raw, path)?;
    let kind = fields.need_string("type")?;
    let cache = read_cache(&mut fields, notes)?;
    let part = match kind.as_str() {
        "text" => {
            let text = fields.need_string("text")?;
            // An empty list is what answers without citations have.
            if fields.raw("citations").is_some_and(|raw| raw.get() != "[]") {
                notes.once("citations", "left out: only the text they belong to is passed on");
            }
            Part::Text { text, cache, signature: None }
        }
        "image" => Part::Image { source: read_source(&mut fields, path)?, detail: None, cache },
        "document" => {
            let source = read_source(&mut fields, path)?;
            let citations = match fields.raw("citations") {
                None => false,
                Some(raw) => {
                    Fields::read(raw, path.field("citations"))?.boolean("enabled")?.unwrap_or_default()
                }
            };
            let name = fields.string("title")?;
            Part::Document { source, name, context: fields.string("context")?, citations, cache }
        }
        "search_result" => read_search_result(&mut fields, path, notes)?,
        "thinking" => {
            let text = fields.string("thinking")?.unwrap_or_default();
            let signature = fields.string("signature")?.unwrap_or_default();
            match unmark(&signature) {
                Handed::Signed(signature) => Part::Reasoning { text, signature: Some(signature) },
                Handed::Redacted(data) => Part::Redacted { data },
                Handed::Unsigned => Part::Reasoning { text, signature: None },
                Handed::Bare => Part::Reasoning { text, signature: Some(Signature::anthropic(signature)) },
            }
        }
        "redacted_thinking" => {
            let data = fields.need_string("data")?;
            match unmark(&data) {
                Handed::Redacted(data) | Handed::Signed(data) => Part::Redacted { data },
                Handed::Unsigned | Handed::Bare => Part::Redacted { data: Signature::anthropic(data) },
            }
        }
        "tool_use" => {
            fields.raw("caller");
            Part::ToolCall(ToolCall {
                id: fields.need_string("id")?,
                name: fields.need_string("name")?,
                arguments: fields.raw("input").map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
                signature: None,
                cache,
            })
        }
        "tool_result" => {
            let content = match fields.raw("content") {
                None => Vec::new(),
                Some(raw) => read_content(raw, path.field("content"), notes)?,
            };
            if let Some(nested) =
                content.iter().find(|p| matches!(p, Part::ToolResult(_) | Part::ToolCall(_)))
            {
                let what = if matches!(nested, Part::ToolCall(_)) { "tool_use" } else { "tool_result" };
                let expected = "text, image, document or search_result blocks";
                return Err(Invalid::new(path.field("content"), what, expected));
            }
            Part::ToolResult(ToolResult {
                id: fields.need_string("tool_use_id")?,
                content,
                is_error: fields.boolean("is_error")?.unwrap_or_default(),
                cache,
            })
        }
        other => {
            let expected = "\"text\", \"image\", \"document\", \"search_result\", \"thinking\", \"redacted_thinking\", \"tool_use\" or \"tool_result\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    };
    fields.finish(notes);
    Ok(part)
}

fn read_source(fields: &mut Fields<'_, '_>, path: Path<'_>) -> Result<Source, Invalid> {
    let raw: &RawValue = fields.need("source", "an object")?;
    let path = path.field("source");
    let mut source = Fields::read(raw, path)?;
    let kind = source.need_string("type")?;
    Ok(match kind.as_str() {
        "base64" => Source::Base64 {
            media_type: source.need_string("media_type")?,
            data: source.need_string("data")?,
        },
        "url" => Source::Url(source.need_string("url")?),
        "text" => Source::Text(source.need_string("data")?),
        "content" => {
            let content: &RawValue = source.need("content", "a string or an array of blocks")?;
            Source::Text(text_of(&read_content(content, path.field("content"), &mut Notes::default())?))
        }
        other => {
            let expected =
                "\"base64\", \"url\", \"text\" or \"content\": another provider cannot see Anthropic's files";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    })
}

/// What a search found is a document of text, wherever there are no search results.
fn read_search_result(
    fields: &mut Fields<'_, '_>,
    path: Path<'_>,
    notes: &mut Notes,
) -> Result<Part, Invalid> {
    let content: &RawValue = fields.need("content", "an array of blocks")?;
    let text = text_of(&read_content(content, path.field("content"), notes)?);
    let context = fields.string("source")?;
    let name = fields.string("title")?;
    fields.raw("citations");
    notes.once("search_result", "passed on as a document of text");
    Ok(Part::Document { source: Source::Text(text), name, context, citations: false, cache: None })
}
