//! `ConverseStream`'s frames, as events. A text has no start of its own: its first piece opens it. The last frame is the metadata.

use super::answer::{read_tier, read_usage};
use crate::canonical::{Block, Event};
use crate::eventstream::Frame;
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;
use serde_json::value::RawValue;

#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    next: usize,
    /// Bedrock's number of an open block and ours.
    open: Vec<(u64, usize)>,
}

impl StreamReader {
    pub fn read(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), Invalid> {
        if frame.message_type == "exception" || frame.message_type == "error" {
            events.push(Event::Error(UpstreamError::of_exception(
                frame.kind,
                frame.payload,
                frame.error_message,
            )));
            return Ok(());
        }
        let mut fields = Fields::read(document(frame.payload)?, Path::ROOT)?;
        match frame.kind {
            "messageStart" => events.push(Event::Start { id: None, model: None }),
            "contentBlockStart" => {
                let index: u64 = fields.need("contentBlockIndex", "a number")?;
                if let Some(raw) = fields.raw("start") {
                    let path = Path::ROOT.field("start");
                    if let Some(raw) = Fields::read(raw, path)?.raw("toolUse") {
                        let mut call = Fields::read(raw, path.field("toolUse"))?;
                        let (id, name) = (call.need_string("toolUseId")?, call.need_string("name")?);
                        self.open(index, Block::ToolCall { id, name, signature: None }, events);
                    }
                }
            }
            "contentBlockDelta" => {
                let index: u64 = fields.need("contentBlockIndex", "a number")?;
                let delta: &RawValue = fields.need("delta", "an object")?;
                self.grow(index, delta, events)?;
            }
            "contentBlockStop" => {
                let index: u64 = fields.need("contentBlockIndex", "a number")?;
                if let Some(at) = self.open.iter().position(|(open, _)| *open == index) {
                    events.push(Event::Close { block: self.open.remove(at).1 });
                }
            }
            "messageStop" => {
                events.extend(self.open.drain(..).map(|(_, block)| Event::Close { block }));
                events.push(Event::Finish(Finish::from_bedrock(&fields.need_string("stopReason")?)));
            }
            "metadata" => {
                events.extend(fields.raw("usage").and_then(read_usage).map(Event::Usage));
                events.extend(fields.raw("serviceTier").and_then(read_tier).map(Event::Tier));
                events.push(Event::End);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, index: u64, kind: Block, events: &mut Vec<Event>) -> usize {
        let block = self.next;
        self.next += 1;
        self.open.push((index, block));
        events.push(Event::Open { block, kind });
        block
    }

    fn block(&mut self, index: u64, kind: Block, events: &mut Vec<Event>) -> usize {
        match self.open.iter().find(|(open, _)| *open == index) {
            Some((_, block)) => *block,
            None => self.open(index, kind, events),
        }
    }

    fn grow(&mut self, index: u64, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), Invalid> {
        let path = Path::ROOT.field("delta");
        let mut delta = Fields::read(raw, path)?;
        if let Some(text) = delta.string("text")?.filter(|text| !text.is_empty()) {
            let block = self.block(index, Block::Text, events);
            events.push(Event::Delta { block, text });
        }
        if let Some(raw) = delta.raw("toolUse") {
            let input = Fields::read(raw, path.field("toolUse"))?.string("input")?;
            if let Some(text) = input.filter(|text| !text.is_empty())
                && let Some(&(_, block)) = self.open.iter().find(|(open, _)| *open == index)
            {
                events.push(Event::Delta { block, text });
            }
        }
        if let Some(raw) = delta.raw("reasoningContent") {
            let mut reasoning = Fields::read(raw, path.field("reasoningContent"))?;
            if let Some(data) = reasoning.string("redactedContent")? {
                let data = Signature::anthropic(data);
                self.block(index, Block::Redacted { data }, events);
            }
            if let Some(text) = reasoning.string("text")?.filter(|text| !text.is_empty()) {
                let block = self.block(index, Block::Reasoning, events);
                events.push(Event::Delta { block, text });
            }
            if let Some(signature) = reasoning.string("signature")?.filter(|text| !text.is_empty()) {
                let block = self.block(index, Block::Reasoning, events);
                events.push(Event::Signed { block, signature: Signature::anthropic(signature) });
            }
        }
        Ok(())
    }
}
