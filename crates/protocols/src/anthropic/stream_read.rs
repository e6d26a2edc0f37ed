//! Anthropic's stream, as events.

use super::usage::Counts;
use crate::canonical::{Block, Event};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;
use serde_json::value::RawValue;

#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    counts: Counts,
    next: usize,
    /// Anthropic's number of an open block and ours.
    open: Vec<(u64, usize)>,
}

impl StreamReader {
    pub fn read(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Invalid> {
        if data.is_empty() {
            return Ok(());
        }
        let raw = document(data)?;
        let mut fields = Fields::read(raw, Path::ROOT)?;
        match fields.need_string("type")?.as_str() {
            "message_start" => {
                let message: &RawValue = fields.need("message", "an object")?;
                let mut message = Fields::read(message, Path::ROOT.field("message"))?;
                let (id, model) = (message.string("id")?, message.string("model")?);
                events.push(Event::Start { id, model });
                self.learn(message.raw("usage"), events);
            }
            "content_block_start" => {
                let index: u64 = fields.need("index", "a number")?;
                let block: &RawValue = fields.need("content_block", "an object")?;
                self.open(index, block, events)?;
            }
            "content_block_delta" => {
                let index: u64 = fields.need("index", "a number")?;
                let delta: &RawValue = fields.need("delta", "an object")?;
                if let Some(&(_, block)) = self.open.iter().find(|(open, _)| *open == index) {
                    grow(block, delta, events)?;
                }
            }
            "content_block_stop" => {
                let index: u64 = fields.need("index", "a number")?;
                if let Some(at) = self.open.iter().position(|(open, _)| *open == index) {
                    events.push(Event::Close { block: self.open.remove(at).1 });
                }
            }
            "message_delta" => {
                let delta: &RawValue = fields.need("delta", "an object")?;
                let mut delta = Fields::read(delta, Path::ROOT.field("delta"))?;
                let sequence = delta.string("stop_sequence")?;
                if let Some(reason) = delta.text("stop_reason")? {
                    events.push(Event::Finish(Finish::from_anthropic(&reason, sequence)));
                }
                self.learn(fields.raw("usage"), events);
            }
            "message_stop" => events.push(Event::End),
            "error" => {
                let error = UpstreamError::from_json(raw, None);
                events.push(Event::Error(error.unwrap_or_else(|| UpstreamError::malformed(raw.get()))));
            }
            // `ping`, and events that are yet to be invented, as Anthropic asks of its clients.
            _ => {}
        }
        Ok(())
    }

    fn learn(&mut self, usage: Option<&RawValue>, events: &mut Vec<Event>) {
        let Some(raw) = usage else { return };
        if let Ok(mut fields) = Fields::read(raw, Path::ROOT)
            && let Ok(Some(tier)) = fields.string("service_tier")
        {
            events.push(Event::Tier(tier));
        }
        if self.counts.learn(raw) {
            events.push(Event::Usage(self.counts.usage()));
        }
    }

    fn open(&mut self, index: u64, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), Invalid> {
        let mut fields = Fields::read(raw, Path::ROOT.field("content_block"))?;
        let mut first = None;
        let kind = match fields.need_string("type")?.as_str() {
            "text" => {
                first = fields.string("text")?;
                Block::Text
            }
            "thinking" => {
                first = fields.string("thinking")?;
                Block::Reasoning
            }
            "redacted_thinking" => {
                Block::Redacted { data: Signature::anthropic(fields.need_string("data")?) }
            }
            "tool_use" => {
                // Arguments that come at once rather than in pieces.
                first = fields.raw("input").map(|raw| raw.get().to_owned()).filter(|input| !is_empty(input));
                Block::ToolCall {
                    id: fields.need_string("id")?,
                    name: fields.need_string("name")?,
                    signature: None,
                }
            }
            // Blocks of Anthropic's own tools, which no request that comes through here can have asked for.
            _ => return Ok(()),
        };
        let block = self.next;
        self.next += 1;
        self.open.push((index, block));
        events.push(Event::Open { block, kind });
        if let Some(text) = first.filter(|text| !text.is_empty()) {
            events.push(Event::Delta { block, text });
        }
        Ok(())
    }
}

fn is_empty(input: &str) -> bool {
    input.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

fn grow(block: usize, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), Invalid> {
    let mut delta = Fields::read(raw, Path::ROOT.field("delta"))?;
    let name = match delta.need_string("type")?.as_str() {
        "text_delta" => "text",
        "input_json_delta" => "partial_json",
        "thinking_delta" => "thinking",
        "signature_delta" => {
            let signature = Signature::anthropic(delta.need_string("signature")?);
            events.push(Event::Signed { block, signature });
            return Ok(());
        }
        _ => return Ok(()),
    };
    let text = delta.need_string(name)?;
    if !text.is_empty() {
        events.push(Event::Delta { block, text });
    }
    Ok(())
}
