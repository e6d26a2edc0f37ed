//! Prompts and answers as a person reads them: recorded messages, in whatever dialect they came, become roles and parts;
//! text becomes prose and code blocks; a call becomes the `curl` command that repeats it.
//!
//! Two shapes are understood: OpenTelemetry's (`{role, parts: [{type, content, …}]}`) and OpenAI's (`{role, content,
//! tool_calls}`), which most instrumentation records as it is. What is not understood is shown as JSON, never dropped.

use contracts::reads::{CallDetail, SpanView};
use serde_json::{Value, json};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, …
    pub role: String,
    /// What it consists of, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text to read.
    Text(String),
    /// The model's reasoning, where it was given.
    Reasoning(String),
    /// A tool that the model wants called.
    ToolCall {
        /// Id of the call.
        id: String,
        /// Tool.
        name: String,
        /// Arguments, JSON laid out over lines where they are JSON.
        arguments: String,
    },
    /// What a tool answered.
    ToolResult {
        /// Id of the call.
        id: String,
        /// The answer, JSON laid out over lines where it is JSON.
        content: String,
    },
    /// An image, audio or file; its content is not shown.
    Media {
        /// `image`, `audio`, `file`, …
        kind: String,
        /// Where it is or how large it was.
        detail: String,
    },
    /// Something else, as JSON.
    Other(String),
}

/// Messages in the recorded text. Text that is no JSON is one message of `role`; empty text is none.
pub fn messages(recorded: &str, role: &str) -> Vec<Message> {
    if recorded.trim().is_empty() {
        return Vec::new();
    }
    match serde_json::from_str(recorded) {
        Ok(Value::Array(items)) if items.iter().any(|item| item.get("role").is_some()) => {
            items.iter().map(|item| message(item, role)).collect()
        }
        // System instructions are recorded as parts without a role.
        Ok(Value::Array(items)) => {
            vec![Message { role: role.to_owned(), parts: items.iter().map(part).collect() }]
        }
        Ok(item @ Value::Object(_)) => vec![message(&item, role)],
        Ok(Value::String(text)) => vec![Message { role: role.to_owned(), parts: vec![Part::Text(text)] }],
        _ => vec![Message { role: role.to_owned(), parts: vec![Part::Text(recorded.to_owned())] }],
    }
}

fn message(item: &Value, role: &str) -> Message {
    // A choice of a chat completion wraps its message.
    let item = item.get("message").filter(|inner| inner.is_object()).unwrap_or(item);
    let mut parts: Vec<Part> = Vec::new();
    for reasoning in ["reasoning_content", "reasoning"] {
        if let Some(text) = item[reasoning].as_str().filter(|t| !t.is_empty()) {
            parts.push(Part::Reasoning(text.to_owned()));
        }
    }
    let is_tool = item["role"] == "tool" && item.get("tool_call_id").is_some();
    match item.get("parts").or_else(|| item.get("content")) {
        Some(Value::String(text)) if is_tool => {
            parts.push(Part::ToolResult { id: string(&item["tool_call_id"]), content: laid_out(text) });
        }
        Some(Value::String(text)) => parts.push(Part::Text(text.clone())),
        Some(Value::Array(items)) => parts.extend(items.iter().map(part)),
        Some(Value::Null) | None => {}
        Some(other) => parts.push(Part::Other(pretty(other))),
    }
    if let Some(text) = item["refusal"].as_str() {
        parts.push(Part::Text(text.to_owned()));
    }
    for call in item["tool_calls"].as_array().into_iter().flatten() {
        let function = call.get("function").unwrap_or(call);
        parts.push(Part::ToolCall {
            id: string(&call["id"]),
            name: string(&function["name"]),
            arguments: laid_out_value(&function["arguments"]),
        });
    }
    if parts.is_empty() && item.get("role").is_none() {
        parts.push(Part::Other(pretty(item)));
    }
    let role = item["role"].as_str().unwrap_or(role);
    Message { role: role.to_owned(), parts }
}

fn part(item: &Value) -> Part {
    if let Value::String(text) = item {
        return Part::Text(text.clone());
    }
    let text = || item.get("content").or_else(|| item.get("text")).and_then(Value::as_str).map(str::to_owned);
    let other = || Part::Other(pretty(item));
    match item["type"].as_str().unwrap_or_default() {
        "text" | "input_text" | "output_text" => text().map_or_else(other, Part::Text),
        "reasoning" | "thinking" => text().map_or_else(other, Part::Reasoning),
        "refusal" => item["refusal"].as_str().map_or_else(other, |t| Part::Text(t.to_owned())),
        "tool_call" | "tool_use" | "function_call" => Part::ToolCall {
            id: string(item.get("id").or_else(|| item.get("call_id")).unwrap_or(&Value::Null)),
            name: string(&item["name"]),
            arguments: laid_out_value(
                item.get("arguments").or_else(|| item.get("input")).unwrap_or(&Value::Null),
            ),
        },
        "tool_call_response" | "tool_result" | "function_call_output" => {
            let content = ["response", "result", "content", "output"].iter().find_map(|key| item.get(*key));
            Part::ToolResult {
                id: string(item.get("id").or_else(|| item.get("tool_call_id")).unwrap_or(&Value::Null)),
                content: laid_out_value(content.unwrap_or(&Value::Null)),
            }
        }
        "image_url" => media("image", &item["image_url"]["url"]),
        "input_image" => media("image", &item["image_url"]),
        "input_audio" => media("audio", &item["input_audio"]["data"]),
        "file" | "input_file" => media("file", &item["file"]),
        "blob" | "uri" | "image" | "audio" | "video" => {
            let kind = item["modality"].as_str().or_else(|| item["type"].as_str()).unwrap_or("file");
            let source = ["uri", "url", "content", "data"].iter().find_map(|key| item.get(*key));
            media(kind, source.unwrap_or(&Value::Null))
        }
        _ => other(),
    }
}

fn media(kind: &str, source: &Value) -> Part {
    let detail = match source.as_str() {
        Some(url) if url.starts_with("http") => url.chars().take(200).collect(),
        Some(data) => {
            let kind = data
                .strip_prefix("data:")
                .and_then(|d| d.split_once([';', ',']))
                .map_or("inline", |(k, _)| k);
            format!("{kind}, {} kB", data.len() / 1024)
        }
        None => String::from("content not recorded"),
    };
    Part::Media { kind: kind.to_owned(), detail }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn laid_out_value(value: &Value) -> String {
    match value {
        Value::String(text) => laid_out(text),
        Value::Null => String::new(),
        other => pretty(other),
    }
}

/// JSON objects and arrays over several lines; anything else as it is.
pub fn laid_out(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => pretty(&value),
        _ => text.to_owned(),
    }
}

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Words.
    Prose(String),
    /// What stood between fences of three backticks.
    Code {
        /// Named after the opening fence; may be empty.
        language: String,
        /// The lines between.
        code: String,
    },
}

/// Splits text at Markdown's code fences. A text that is JSON as a whole is one block of code.
pub fn blocks(text: &str) -> Vec<Block> {
    let trimmed = text.trim();
    if trimmed.starts_with(['{', '[']) && serde_json::from_str::<Value>(trimmed).is_ok() {
        return vec![Block::Code { language: String::from("json"), code: laid_out(trimmed) }];
    }
    let mut blocks = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), fence.take()) {
            (Some(_), Some(language)) => {
                blocks.push(Block::Code { language, code: lines.join("\n") });
                lines.clear();
            }
            (Some(language), None) => {
                push_prose(&mut blocks, &lines);
                lines.clear();
                fence = Some(language.trim().to_owned());
            }
            (None, open) => {
                fence = open;
                lines.push(line);
            }
        }
    }
    match fence {
        Some(language) => blocks.push(Block::Code { language, code: lines.join("\n") }),
        None => push_prose(&mut blocks, &lines),
    }
    blocks
}

fn push_prose(blocks: &mut Vec<Block>, lines: &[&str]) {
    let prose = lines.join("\n");
    if !prose.trim().is_empty() {
        blocks.push(Block::Prose(prose.trim_matches('\n').to_owned()));
    }
}

/// The span that carries the call's messages: its own, or else the first of the trace that has any.
pub fn speaking_span(detail: &CallDetail) -> Option<&SpanView> {
    let speaks = |span: &&SpanView| !span.input_messages.is_empty() || !span.output_messages.is_empty();
    detail
        .spans
        .iter()
        .filter(|span| span.span_id == detail.call.span_id)
        .find(speaks)
        .or_else(|| detail.spans.iter().find(speaks))
}

/// A shell command that makes the call again, through the gateway at `gateway_url`. The key is the caller's to fill in.
pub fn curl(detail: &CallDetail, gateway_url: &str) -> String {
    let span = speaking_span(detail);
    let recorded = span.map(|s| s.input_messages.as_str()).unwrap_or_default();
    let model = &detail.call.request_model;
    let (path, mut body) = match detail.call.operation.as_str() {
        "embeddings" => ("embeddings", json!({ "model": model, "input": plain_text(recorded) })),
        "text_completion" => ("completions", json!({ "model": model, "prompt": plain_text(recorded) })),
        _ => {
            let instructions = span.map(|s| s.system_instructions.as_str()).unwrap_or_default();
            let all = messages(instructions, "system").into_iter().chain(messages(recorded, "user"));
            (
                "chat/completions",
                json!({ "model": model, "messages": all.flat_map(openai).collect::<Vec<_>>() }),
            )
        }
    };
    if detail.call.stream {
        body["stream"] = Value::Bool(true);
    }
    // In single quotes a shell leaves everything alone but the quote itself.
    let body = pretty(&body).replace('\'', r"'\''");
    format!(
        "curl {}/{path} \\\n  -H \"Authorization: Bearer $CONTROL_TOWER_KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'",
        gateway_url.trim_end_matches('/')
    )
}

fn plain_text(recorded: &str) -> String {
    let texts = messages(recorded, "user").into_iter().flat_map(|m| m.parts).filter_map(|p| match p {
        Part::Text(text) => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A message in `OpenAI`'s shape; each tool result becomes a message of its own.
fn openai(message: Message) -> Vec<Value> {
    let mut text = String::new();
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for part in message.parts {
        match part {
            Part::Text(t) => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&t);
            }
            Part::ToolCall { id, name, arguments } => {
                calls.push(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }));
            }
            Part::ToolResult { id, content } => {
                results.push(json!({ "role": "tool", "tool_call_id": id, "content": content }));
            }
            Part::Media { .. } | Part::Reasoning(_) | Part::Other(_) => {}
        }
    }
    if !calls.is_empty() {
        let content = if text.is_empty() { Value::Null } else { Value::String(text) };
        results.insert(0, json!({ "role": message.role, "content": content, "tool_calls": calls }));
    } else if !text.is_empty() || results.is_empty() {
        results.insert(0, json!({ "role": message.role, "content": text }));
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_dialects_say_the_same() {
        let otel = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]},
            {"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"f","arguments":{"a":1}}]},
            {"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"42"}]}]"#;
        let openai = r#"[{"role":"user","content":"hi"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"42"}]"#;
        assert_eq!(messages(otel, "user"), messages(openai, "user"));
        assert_eq!(messages(otel, "user")[1].parts.len(), 1);
    }

    #[test]
    fn images_become_placeholders() {
        let recorded = r#"[{"role":"user","content":[{"type":"text","text":"what is it?"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#;
        let Part::Media { kind, detail } = &messages(recorded, "user")[0].parts[1] else {
            panic!("no image")
        };
        assert_eq!((kind.as_str(), detail.as_str()), ("image", "image/png, 0 kB"));
    }

    #[test]
    fn what_is_not_understood_is_shown() {
        assert_eq!(messages("plain words", "user")[0].parts, [Part::Text("plain words".into())]);
        assert!(matches!(messages(r#"[{"type":"martian","x":1}]"#, "system")[0].parts[0], Part::Other(_)));
        assert!(messages(" ", "user").is_empty());
    }

    #[test]
    fn fences_part_code_from_prose() {
        let text = "Do this:\n```rust\nlet a = 1;\n```\nDone.";
        assert_eq!(
            blocks(text),
            [
                Block::Prose("Do this:".into()),
                Block::Code { language: "rust".into(), code: "let a = 1;".into() },
                Block::Prose("Done.".into()),
            ]
        );
        assert!(matches!(&blocks("{\"a\":1}")[..], [Block::Code { language, .. }] if language == "json"));
    }

    proptest! {
        #[test]
        fn no_text_is_lost_and_nothing_panics(text in ".{0,200}") {
            let _ = messages(&text, "user");
            let shown: usize = blocks(&text).iter().map(|b| match b { Block::Prose(t) => t.len(), Block::Code { code, .. } => code.len() }).sum();
            prop_assert!(shown <= text.len() * 8 + 8);
        }
    }
}
