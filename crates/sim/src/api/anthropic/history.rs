//! The conversation of a request to the Messages API: results follow their calls, thoughts come back as they were.

use super::request::{Block, Content, Message, Source, mark, read, say, wrong};
use crate::api::blocks::THINKING;
use crate::ask::{Ask, Thinking};
use crate::error::SimError;
use crate::seal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

struct History<'a> {
    ask: &'a mut Ask,
    /// Ids of the calls of the last turn, which must be answered by the next one.
    calls: Vec<String>,
    /// Whether the message is part of the turn that goes on, where thoughts must be kept.
    current: bool,
}

/// Adds all messages to the question.
pub(super) fn tell(ask: &mut Ask, messages: Vec<Message>) -> Result<(), SimError> {
    if messages.is_empty() {
        return Err(wrong("messages", "at least one message is required"));
    }
    let mut history = History { ask, calls: Vec::new(), current: false };
    let last = messages.len() - 1;
    let current = messages.iter().rposition(is_question).unwrap_or(0);
    for (index, message) in messages.into_iter().enumerate() {
        let at = format!("messages.{index}");
        history.current = index > current;
        let blocks = match message.content {
            Content::Text(text) => vec![json!({"type": "text", "text": text})],
            Content::Blocks(blocks) => blocks,
        };
        if blocks.is_empty() && index < last {
            let message =
                "all messages must have non-empty content except for the optional final assistant message";
            return Err(wrong(&at, message));
        }
        match message.role.as_str() {
            "user" => history.user(blocks, &at)?,
            "assistant" => history.assistant(blocks, &at)?,
            _ => return Err(wrong(&format!("{at}.role"), "Input should be 'user' or 'assistant'")),
        }
    }
    Ok(())
}

/// Whether a person says this, not a tool.
fn is_question(message: &Message) -> bool {
    let from_tool = |blocks: &[Value]| blocks.iter().all(|block| block["type"] == "tool_result");
    message.role == "user" && !matches!(&message.content, Content::Blocks(blocks) if from_tool(blocks))
}

impl History<'_> {
    fn user(&mut self, blocks: Vec<Value>, at: &str) -> Result<(), SimError> {
        let mut open = std::mem::take(&mut self.calls);
        let is_result = |block: &Value| block["type"] == "tool_result";
        let after_tool = blocks.iter().all(is_result) && !blocks.is_empty();
        self.ask.open(if after_tool { "tool" } else { "user" });
        for (index, block) in blocks.into_iter().enumerate() {
            let at = format!("{at}.content.{index}");
            match read(block, &at)? {
                Block::Text { text, cache_control, .. } => {
                    say(self.ask, &text, &at)?;
                    mark(self.ask, cache_control);
                }
                Block::Image { source, cache_control, .. }
                | Block::Document { source, cache_control, .. } => {
                    attach(self.ask, &source, &at)?;
                    mark(self.ask, cache_control);
                }
                Block::ToolResult { tool_use_id, content, cache_control, .. } => {
                    let Some(place) = open.iter().position(|id| *id == tool_use_id) else {
                        let message = format!(
                            "unexpected `tool_use_id` found in `tool_result` blocks: {tool_use_id}. Each `tool_result` block \
                             must have a corresponding `tool_use` block in the previous message."
                        );
                        return Err(wrong(&at, &message));
                    };
                    open.remove(place);
                    self.result(content, &at)?;
                    mark(self.ask, cache_control);
                }
                Block::Thinking { .. } | Block::RedactedThinking { .. } | Block::ToolUse { .. } => {
                    return Err(wrong(&at, "blocks of this type can only be in `assistant` messages"));
                }
            }
        }
        match open.first() {
            Some(id) => Err(wrong(
                at,
                &format!("`tool_use` ids were found without `tool_result` blocks immediately after: {id}."),
            )),
            None => Ok(()),
        }
    }

    fn result(&mut self, content: Option<Content>, at: &str) -> Result<(), SimError> {
        match content {
            None => {}
            Some(Content::Text(text)) => self.ask.block(&text),
            Some(Content::Blocks(blocks)) => {
                for (index, block) in blocks.into_iter().enumerate() {
                    let at = format!("{at}.content.{index}");
                    match read(block, &at)? {
                        Block::Text { text, .. } => say(self.ask, &text, &at)?,
                        Block::Image { source, .. } | Block::Document { source, .. } => {
                            attach(self.ask, &source, &at)?;
                        }
                        _ => return Err(wrong(&at, "results contain text, images and documents only")),
                    }
                }
            }
        }
        Ok(())
    }

    fn assistant(&mut self, blocks: Vec<Value>, at: &str) -> Result<(), SimError> {
        if let Some(id) = self.calls.first() {
            let message =
                format!("`tool_use` ids were found without `tool_result` blocks immediately after: {id}.");
            return Err(wrong(at, &message));
        }
        let kind = |block: &Value| block["type"].as_str().unwrap_or_default().to_owned();
        let calls = blocks.iter().any(|block| kind(block) == "tool_use");
        let thinks = blocks.first().is_some_and(|block| kind(block).ends_with("thinking"));
        if self.current && calls && !thinks && matches!(self.ask.thinking, Thinking::On(_)) {
            let message = "Expected `thinking` or `redacted_thinking`, but found another block. When `thinking` is enabled, \
                           a final `assistant` message must start with a thinking block.";
            return Err(wrong(&format!("{at}.content.0.type"), message));
        }
        self.ask.open("assistant");
        for (index, block) in blocks.into_iter().enumerate() {
            let at = format!("{at}.content.{index}");
            match read(block, &at)? {
                Block::Text { text, cache_control, .. } => {
                    say(self.ask, &text, &at)?;
                    mark(self.ask, cache_control);
                }
                Block::Thinking { thinking, signature } if seal::holds(THINKING, &thinking, &signature) => {}
                Block::RedactedThinking { data } if seal::is_encrypted(&data) => {}
                Block::Thinking { .. } => return Err(wrong(&at, "Invalid `signature` in `thinking` block")),
                Block::RedactedThinking { .. } => {
                    return Err(wrong(&at, "Invalid `data` in `redacted_thinking` block"));
                }
                Block::ToolUse { id, name, input, cache_control, .. } => {
                    self.ask.block(&format!("{name} {}", Value::Object(input)));
                    self.calls.push(id);
                    mark(self.ask, cache_control);
                }
                Block::Image { .. } | Block::Document { .. } | Block::ToolResult { .. } => {
                    return Err(wrong(&at, "blocks of this type can only be in `user` messages"));
                }
            }
        }
        Ok(())
    }
}

fn attach(ask: &mut Ask, source: &Source, at: &str) -> Result<(), SimError> {
    match source {
        Source::Base64 { media_type, data } => {
            let known = ["image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf"];
            if !known.contains(&media_type.as_str()) {
                return Err(wrong(
                    &format!("{at}.source.base64.media_type"),
                    "Input should be an image type or a PDF",
                ));
            }
            if data.is_empty() || STANDARD.decode(data).is_err() {
                return Err(wrong(
                    &format!("{at}.source.base64.data"),
                    "Could not process image: not base64",
                ));
            }
            ask.image(data);
        }
        Source::Url { url } if url.starts_with("http") => ask.image(url),
        Source::Url { .. } => {
            return Err(wrong(&format!("{at}.source.url"), "Only HTTPS URLs are supported."));
        }
        Source::File { file_id } => ask.image(file_id),
        Source::Text { media_type, data } if media_type == "text/plain" => ask.block(data),
        Source::Text { .. } => {
            return Err(wrong(&format!("{at}.source.text.media_type"), "Input should be 'text/plain'"));
        }
    }
    Ok(())
}
