//! Converse's content blocks, written.

use crate::canonical::{Cache, Part, Source, ToolResult, arguments_object};
use crate::ids::portable;
use crate::problem::{Invalid, Notes};
use crate::signature::Origin;
use crate::write::{Array, Object, array};

/// One block, and the cache point after it. `at` is its place in the turn, which names a document that has no name.
pub(super) fn write_part(
    a: &mut Array<'_>,
    part: &Part,
    at: usize,
    may_think: bool,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    match part {
        // Bedrock refuses empty texts.
        Part::Text { text, cache, .. } => {
            if !text.is_empty() {
                a.object(|o| {
                    o.put("text", text);
                });
            }
            write_cache(a, *cache);
        }
        Part::Refusal { text } => a.object(|o| {
            o.put("text", text);
        }),
        Part::Image { source, detail, cache } => {
            if detail.as_deref().is_some_and(|detail| detail != "auto") {
                notes.once("image_url.detail", "left out: Bedrock has none");
            }
            let (format, data) = image_of(source)?;
            a.object(|o| {
                o.object("image", |o| {
                    o.put("format", format).object("source", |o| {
                        o.put("bytes", data);
                    });
                });
            });
            write_cache(a, *cache);
        }
        Part::Document { source, name, context, citations, cache } => {
            let format = document_format(source)?;
            a.object(|o| {
                o.object("document", |o| {
                    o.put("format", format).put("name", &document_name(name.as_deref(), at));
                    o.object("source", |o| write_source(o, source)).opt("context", context.as_ref());
                    if *citations {
                        o.object("citations", |o| {
                            o.put("enabled", &true);
                        });
                    }
                });
            });
            write_cache(a, *cache);
        }
        Part::Audio { data, format } => a.object(|o| {
            o.object("audio", |o| {
                o.put("format", format).object("source", |o| {
                    o.put("bytes", data);
                });
            });
        }),
        Part::Reasoning { text, signature } => match signature {
            Some(signature) if signature.origin == Origin::Anthropic && may_think => a.object(|o| {
                o.object("reasoningContent", |o| {
                    o.object("reasoningText", |o| {
                        o.put("text", text).put("signature", &signature.value);
                    });
                });
            }),
            _ => notes.once("thinking", "left out: this model takes back only thoughts that it signed"),
        },
        Part::Redacted { data } if data.origin == Origin::Anthropic && may_think => a.object(|o| {
            o.object("reasoningContent", |o| {
                o.put("redactedContent", &data.value);
            });
        }),
        Part::Redacted { .. } => {
            notes.once("redacted_thinking", "left out: only the provider that wrote it can read it");
        }
        Part::ToolCall(call) => {
            let (input, is_whole) = arguments_object(&call.arguments);
            if !is_whole {
                notes.once("tool_calls.arguments", "passed on within an object: they are no JSON object");
            }
            a.object(|o| {
                o.object("toolUse", |o| {
                    o.put("toolUseId", &portable(&call.id)).put("name", &call.name).json("input", &input);
                });
            });
            write_cache(a, call.cache);
        }
        Part::ToolResult(result) => write_result(a, result, notes)?,
    }
    Ok(())
}

fn write_result(a: &mut Array<'_>, result: &ToolResult, notes: &mut Notes) -> Result<(), Invalid> {
    let mut content = Vec::new();
    let mut outcome = Ok(());
    array(&mut content, |a| {
        for (at, part) in result.content.iter().enumerate() {
            if outcome.is_ok() {
                outcome = match part {
                    // No cache points within a result.
                    Part::Text { text, .. } if !text.is_empty() => {
                        write_part(a, &Part::text(text.clone()), at, false, notes)
                    }
                    part => write_part(a, part, at, false, notes),
                };
            }
        }
    });
    outcome?;
    if content == b"[]" {
        // A result says something, if only nothing.
        content = br#"[{"text":" "}]"#.to_vec();
    }
    a.object(|o| {
        o.object("toolResult", |o| {
            o.put("toolUseId", &portable(&result.id)).json("content", &String::from_utf8_lossy(&content));
            if result.is_error {
                o.put("status", "error");
            }
        });
    });
    write_cache(a, result.cache);
    Ok(())
}

pub(super) fn write_cache(a: &mut Array<'_>, cache: Option<Cache>) {
    if let Some(cache) = cache {
        a.object(|o| {
            o.object("cachePoint", |o| {
                o.put("type", "default");
                if let Some(hour) = cache.hour {
                    o.put("ttl", if hour { "1h" } else { "5m" });
                }
            });
        });
    }
}

fn image_of(source: &Source) -> Result<(&str, &str), Invalid> {
    const EXPECTED: &str = "a data URL of a png, jpeg, gif or webp: Bedrock fetches no URLs";
    match source {
        Source::Base64 { media_type, data } => {
            let format = match media_type.as_str() {
                "image/png" => "png",
                "image/jpeg" | "image/jpg" => "jpeg",
                "image/gif" => "gif",
                "image/webp" => "webp",
                other => return Err(Invalid::new("image", other, EXPECTED)),
            };
            Ok((format, data))
        }
        Source::Url(url) => Err(Invalid::new("image", url, EXPECTED)),
        Source::Text(text) => Err(Invalid::new("image", text, EXPECTED)),
    }
}

fn document_format(source: &Source) -> Result<&'static str, Invalid> {
    const EXPECTED: &str =
        "base64 of a pdf, csv, doc, docx, xls, xlsx, html, txt or md: Bedrock fetches no URLs";
    match source {
        Source::Text(_) => Ok("txt"),
        Source::Url(url) => Err(Invalid::new("document", url, EXPECTED)),
        Source::Base64 { media_type, .. } => Ok(match media_type.as_str() {
            "application/pdf" => "pdf",
            "text/csv" => "csv",
            "application/msword" => "doc",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
            "application/vnd.ms-excel" => "xls",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
            "text/html" => "html",
            "text/plain" => "txt",
            "text/markdown" => "md",
            other => return Err(Invalid::new("document", other, EXPECTED)),
        }),
    }
}

fn write_source(o: &mut Object<'_>, source: &Source) {
    match source {
        Source::Base64 { data, .. } => o.put("bytes", data),
        Source::Text(text) | Source::Url(text) => o.put("text", text),
    };
}

/// Bedrock takes letters, digits, single spaces, hyphens, parentheses and brackets.
fn document_name(name: Option<&str>, at: usize) -> String {
    let fit: String = name
        .unwrap_or_default()
        .chars()
        .take(200)
        .map(|c| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' })
        .collect();
    let words: Vec<&str> = fit.split_whitespace().collect();
    if words.is_empty() { format!("document-{}", at + 1) } else { words.join(" ") }
}
