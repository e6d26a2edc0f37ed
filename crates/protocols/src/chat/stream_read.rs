//! A provider's stream of chat completions, as events.
//!
//! Text, reasoning and calls come as pieces of one message; the pieces of a call carry its index. What comes decides which
//! block is open. A call whose arguments are whole is closed when another begins; a provider that sends the pieces of several
//! calls by turns has all of them open.

use super::usage::read_usage;
use crate::canonical::{Block, Event};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;
use serde_json::value::RawValue;

/// Calls of an answer: more than any has.
const MOST_CALLS: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    is_started: bool,
    id: String,
    /// The next block's number.
    next: usize,
    /// The open block of text or reasoning.
    open: Option<(usize, Kind)>,
    calls: Vec<Call>,
    has_call: bool,
    has_refusal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
}

#[derive(Debug)]
struct Call {
    index: u64,
    id: String,
    block: usize,
    is_open: bool,
    depth: Depth,
}

impl StreamReader {
    pub fn read(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), Invalid> {
        if data == b"[DONE]" {
            self.close_all(events);
            events.push(Event::End);
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let raw = document(data)?;
        let mut fields = Fields::read(raw, Path::ROOT)?;
        if fields.raw("error").is_some() {
            let error = UpstreamError::from_json(raw, None);
            events.push(Event::Error(error.unwrap_or_else(|| UpstreamError::malformed(raw.get()))));
            return Ok(());
        }
        if !self.is_started {
            self.is_started = true;
            let id = fields.string("id")?.filter(|id| !id.is_empty());
            self.id = id.clone().unwrap_or_default();
            let model = fields.string("model")?.filter(|model| !model.is_empty());
            events.push(Event::Start { id, model });
        }
        if let Some(tier) = fields.string("service_tier")? {
            events.push(Event::Tier(tier));
        }
        let choices = fields.items("choices")?.unwrap_or_default();
        if let Some(first) = choices.first() {
            let path = Path::ROOT.field("choices");
            self.read_choice(first, path.index(0), events)?;
        }
        if let Some(usage) = fields.raw("usage").and_then(read_usage) {
            events.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn read_choice(
        &mut self,
        raw: &RawValue,
        path: Path<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Invalid> {
        let mut choice = Fields::read(raw, path)?;
        if choice.count("index")?.unwrap_or(0) != 0 {
            // Only one choice was asked for.
            return Ok(());
        }
        if let Some(delta) = choice.raw("delta") {
            let path = path.field("delta");
            let mut delta = Fields::read(delta, path)?;
            let reasoning = match delta.string("reasoning_content")? {
                Some(text) => Some(text),
                None => delta.string("reasoning")?,
            };
            self.say(Kind::Reasoning, reasoning, events);
            self.say(Kind::Text, delta.string("content")?, events);
            let refusal = delta.string("refusal")?;
            self.has_refusal |= refusal.is_some();
            self.say(Kind::Refusal, refusal, events);
            let path = path.field("tool_calls");
            for (at, raw) in delta.items("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
                self.read_call(raw, path.index(at), events)?;
            }
        }
        // Some servers have an empty reason where others have none.
        if let Some(reason) = choice.text("finish_reason")?.filter(|reason| !reason.is_empty()) {
            self.close_all(events);
            let finish = match Finish::from_chat(&reason) {
                _ if self.has_refusal => Finish::Refusal,
                Finish::Stop if self.has_call => Finish::ToolUse,
                finish => finish,
            };
            events.push(Event::Finish(finish));
        }
        Ok(())
    }

    /// More of a text; opens the block where it begins.
    fn say(&mut self, kind: Kind, text: Option<String>, events: &mut Vec<Event>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let block = match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                self.close_text(events);
                self.close_calls(true, events);
                let block = self.next_block();
                self.open = Some((block, kind));
                let kind = match kind {
                    Kind::Text => Block::Text,
                    Kind::Refusal => Block::Refusal,
                    Kind::Reasoning => Block::Reasoning,
                };
                events.push(Event::Open { block, kind });
                block
            }
        };
        events.push(Event::Delta { block, text });
    }

    fn read_call(&mut self, raw: &RawValue, path: Path<'_>, events: &mut Vec<Event>) -> Result<(), Invalid> {
        let mut piece = Fields::read(raw, path)?;
        let index = piece.count("index")?.unwrap_or(0);
        let id = piece.string("id")?.filter(|id| !id.is_empty());
        let (mut name, mut arguments) = (None, None);
        if let Some(raw) = piece.raw("function") {
            let mut function = Fields::read(raw, path.field("function"))?;
            name = function.string("name")?.filter(|name| !name.is_empty());
            arguments = function.string("arguments")?;
        }
        // A server that gives every call the same index still gives each its own id.
        let known = self
            .calls
            .iter()
            .rposition(|call| call.index == index)
            .filter(|&at| id.as_ref().is_none_or(|id| *id == self.calls[at].id));
        let at = if let Some(at) = known {
            at
        } else {
            let name =
                name.ok_or_else(|| Invalid::missing(path.field("function.name"), "the tool's name"))?;
            if self.calls.len() >= MOST_CALLS {
                return Err(Invalid::new(path, index, format!("at most {MOST_CALLS} calls in an answer")));
            }
            let signature = thought_signature(&mut piece, path)?;
            self.open_call(index, id, name, signature, events)
        };
        let Some(text) = arguments.filter(|text| !text.is_empty()) else { return Ok(()) };
        let call = &mut self.calls[at];
        call.depth.take(&text);
        if call.is_open {
            events.push(Event::Delta { block: call.block, text });
        } else if !text.trim().is_empty() {
            return Err(Invalid::new(path, text, "no more arguments after they were whole"));
        }
        Ok(())
    }

    fn open_call(
        &mut self,
        index: u64,
        id: Option<String>,
        name: String,
        signature: Option<Signature>,
        events: &mut Vec<Event>,
    ) -> usize {
        self.close_text(events);
        self.close_calls(false, events);
        self.has_call = true;
        let block = self.next_block();
        let id = id.unwrap_or_else(|| crate::ids::of_gemini(None, &self.id, self.calls.len()));
        events.push(Event::Open { block, kind: Block::ToolCall { id: id.clone(), name, signature } });
        self.calls.push(Call { index, id, block, is_open: true, depth: Depth::default() });
        self.calls.len() - 1
    }

    const fn next_block(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn close_text(&mut self, events: &mut Vec<Event>) {
        if let Some((block, _)) = self.open.take() {
            events.push(Event::Close { block });
        }
    }

    fn close_calls(&mut self, also_partial: bool, events: &mut Vec<Event>) {
        for call in &mut self.calls {
            if call.is_open && (also_partial || call.depth.is_whole()) {
                call.is_open = false;
                events.push(Event::Close { block: call.block });
            }
        }
    }

    fn close_all(&mut self, events: &mut Vec<Event>) {
        self.close_text(events);
        self.close_calls(true, events);
    }
}

fn thought_signature(piece: &mut Fields<'_, '_>, path: Path<'_>) -> Result<Option<Signature>, Invalid> {
    let Some(raw) = piece.raw("extra_content") else { return Ok(None) };
    let Some(google) = Fields::read(raw, path)?.raw("google") else { return Ok(None) };
    Ok(Fields::read(google, path)?.string("thought_signature")?.map(Signature::gemini))
}

/// How deep in objects and arrays a text of JSON is.
#[derive(Debug, Default)]
struct Depth {
    open: usize,
    in_string: bool,
    after_backslash: bool,
    has_begun: bool,
}

impl Depth {
    fn take(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.after_backslash {
                self.after_backslash = false;
            } else if self.in_string {
                self.after_backslash = byte == b'\\';
                self.in_string = byte != b'"';
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => {
                        self.open += 1;
                        self.has_begun = true;
                    }
                    b'}' | b']' => self.open = self.open.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }

    const fn is_whole(&self) -> bool {
        self.has_begun && self.open == 0
    }
}
