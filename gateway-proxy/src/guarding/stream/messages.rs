//! Events of Anthropic's messages.

use super::{Aside, Ending, Out, Rewrite};
use crate::guarding::Compiled;
use crate::guarding::chain::{Chain, Found, Stop};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(super) struct Messages {
    aside: Aside,
    chain: Chain,
    blocks: BTreeMap<u64, Block>,
    /// The event that began the message.
    start: Value,
    /// The block that the client has begun to get, and whether it has text.
    open: Option<(u64, bool)>,
    /// The number of the next block.
    next: u64,
    is_silent: bool,
    /// What was used, once the message's end says so.
    usage: Option<Value>,
}

/// Blocks of an answer: more than any has.
const MOST: u64 = 1_024;

/// A block of content that has begun.
#[derive(Debug)]
enum Block {
    Text,
    /// A call, held until it is whole: the block and its arguments so far.
    Tool(Value, String),
    /// What the model thinks.
    Thinking(Box<Chain>),
    Other,
}

impl Messages {
    pub(super) fn new(compiled: &[Arc<Compiled>], whole: bool) -> Self {
        Self {
            aside: Aside::new(compiled),
            chain: Chain::new(compiled, whole),
            blocks: BTreeMap::new(),
            start: Value::Null,
            open: None,
            next: 0,
            is_silent: false,
            usage: None,
        }
    }

    fn begin(&mut self, index: u64, event: &mut Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        if index >= MOST {
            return Ok(());
        }
        let block = &mut event["content_block"];
        let kind = block["type"].as_str().unwrap_or_default().to_owned();
        if kind.ends_with("tool_use") {
            self.blocks.insert(index, Block::Tool(block.take(), String::new()));
            return Ok(());
        }
        let (state, field) = match kind.as_str() {
            "text" => (Block::Text, "text"),
            "thinking" => (Block::Thinking(Box::new(self.aside.chain())), "thinking"),
            _ => {
                let has_changed = self.aside.sweep(block)?;
                self.blocks.insert(index, Block::Other);
                self.opened(index);
                send(event, (!has_changed).then_some(raw), out);
                return Ok(());
            }
        };
        let initial = block[field].as_str().unwrap_or_default().to_owned();
        block[field] = "".into();
        self.blocks.insert(index, state);
        self.opened(index);
        send(event, initial.is_empty().then_some(raw), out);
        if initial.is_empty() { Ok(()) } else { self.text(index, &initial, None, out) }
    }

    fn opened(&mut self, index: u64) {
        self.open = Some((index, false));
        self.next = self.next.max(index.saturating_add(1));
    }

    /// Takes text of a block. `raw` is the event that it came in.
    fn text(&mut self, index: u64, text: &str, raw: Option<&[u8]>, out: &mut Out<'_>) -> Result<(), Stop> {
        let mut released = String::with_capacity(text.len());
        let (result, kind, field) = match self.blocks.get_mut(&index) {
            Some(Block::Thinking(chain)) => (chain.push(text, &mut released), "thinking_delta", "thinking"),
            _ => (self.chain.push(text, &mut released), "text_delta", "text"),
        };
        self.speak(index, kind, field, &released, raw.filter(|_| released == text), out);
        result
    }

    fn speak(
        &mut self,
        index: u64,
        kind: &str,
        field: &str,
        text: &str,
        raw: Option<&[u8]>,
        out: &mut Out<'_>,
    ) {
        if text.is_empty() && raw.is_none() {
            return;
        }
        if !text.is_empty() && kind == "text_delta" {
            self.open = Some((index, true));
        }
        let event =
            json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: text}});
        send(&event, raw, out);
    }

    fn piece(&mut self, index: u64, event: &mut Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let delta = &mut event["delta"];
        match (delta["type"].as_str().unwrap_or_default(), self.blocks.get_mut(&index)) {
            ("input_json_delta", Some(Block::Tool(_, json))) => {
                json.push_str(delta["partial_json"].as_str().unwrap_or_default());
                Ok(())
            }
            ("text_delta", _) => {
                let text = delta["text"].as_str().unwrap_or_default().to_owned();
                self.text(index, &text, Some(raw), out)
            }
            ("thinking_delta", _) => {
                let text = delta["thinking"].as_str().unwrap_or_default().to_owned();
                self.text(index, &text, Some(raw), out)
            }
            ("signature_delta", Some(Block::Thinking(chain))) => {
                let mut released = String::new();
                let result = chain.flush(&mut released);
                // It is of other thoughts than the client got.
                let raw = (!chain.has_masked()).then_some(raw);
                self.speak(index, "thinking_delta", "thinking", &released, None, out);
                result?;
                if let Some(raw) = raw {
                    send(event, Some(raw), out);
                }
                Ok(())
            }
            // What a call is made of is held, of whatever kind it is.
            (_, Some(Block::Tool(..))) => Ok(()),
            _ => {
                let has_changed = self.aside.sweep(delta)?;
                send(event, (!has_changed).then_some(raw), out);
                Ok(())
            }
        }
    }

    fn end(&mut self, index: u64, event: &Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        match self.blocks.remove(&index) {
            Some(Block::Text) => {
                let mut released = String::new();
                let result = self.chain.flush(&mut released);
                self.speak(index, "text_delta", "text", &released, None, out);
                result?;
            }
            Some(Block::Thinking(mut chain)) => {
                let mut released = String::new();
                let result = chain.flush(&mut released);
                self.speak(index, "thinking_delta", "thinking", &released, None, out);
                chain.tell(&mut self.aside.found);
                result?;
            }
            Some(Block::Tool(mut block, json)) => {
                let whole = if json.is_empty() { block["input"].to_string() } else { json };
                let name = block["name"].as_str().unwrap_or_default().to_owned();
                let judged = self.chain.tool(&name, &whole)?;
                block["input"] = json!({});
                self.opened(index);
                let start = json!({"type": "content_block_start", "index": index, "content_block": block});
                send(&start, None, out);
                let delta = json!({"type": "input_json_delta", "partial_json": judged});
                send(&json!({"type": "content_block_delta", "index": index, "delta": delta}), None, out);
            }
            Some(Block::Other) | None => {}
        }
        self.open = None;
        send(event, Some(raw), out);
        Ok(())
    }
}

/// Sends an event, as it came where that is `raw`.
fn send(event: &Value, raw: Option<&[u8]>, out: &mut Out<'_>) {
    match raw {
        Some(raw) => out.pass(event["type"].as_str(), raw),
        None => out.send(event["type"].as_str(), event),
    }
}

impl Rewrite for Messages {
    fn event(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let index = event["index"].as_u64().unwrap_or(0);
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => {
                let has_content = event["message"]["content"].as_array().is_some_and(|all| !all.is_empty());
                if has_content {
                    event["message"]["content"] = json!([]);
                }
                send(&event, (!has_content).then_some(raw), out);
                self.start = event;
                Ok(())
            }
            "content_block_start" => self.begin(index, &mut event, raw, out),
            "content_block_delta" => self.piece(index, &mut event, raw, out),
            "content_block_stop" => self.end(index, &event, raw, out),
            "message_delta" => {
                self.usage = Some(event["usage"].clone());
                // All texts were ended: what is judged now is the answer as a whole.
                self.chain.finish(&mut String::new())?;
                send(&event, Some(raw), out);
                Ok(())
            }
            "message_stop" | "ping" | "error" => {
                send(&event, Some(raw), out);
                Ok(())
            }
            _ => {
                let has_changed = self.aside.sweep(&mut event)?;
                send(&event, (!has_changed).then_some(raw), out);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, text: &str, ending: &Ending<'_>, out: &mut Out<'_>) {
        if self.is_silent {
            let start = self.start.take();
            send(&start, None, out);
        }
        let index = match self.open {
            Some((index, false)) if matches!(self.blocks.get(&index), Some(Block::Text)) => index,
            open => {
                if let Some((index, _)) = open {
                    send(&json!({"type": "content_block_stop", "index": index}), None, out);
                }
                let block = json!({"type": "text", "text": ""});
                let start =
                    json!({"type": "content_block_start", "index": self.next, "content_block": block});
                send(&start, None, out);
                self.next
            }
        };
        self.speak(index, "text_delta", "text", text, None, out);
        send(&json!({"type": "content_block_stop", "index": index}), None, out);
        let counted = ending.usage.map_or(0, |usage| usage.output);
        let has_finished = self.usage.is_some();
        let usage = self.usage.clone().unwrap_or_else(|| json!({"output_tokens": counted}));
        let delta = json!({"stop_reason": "refusal", "stop_sequence": null});
        send(&json!({"type": "message_delta", "delta": delta, "usage": usage}), None, out);
        if !has_finished {
            send(&json!({"type": "message_stop"}), None, out);
        }
    }

    fn begin_again(&mut self) {
        (self.open, self.next, self.is_silent) = (None, 0, true);
    }

    fn has_finished(&self) -> bool {
        self.usage.is_some()
    }

    fn is_usage(&self, _event: &Value) -> bool {
        false
    }

    fn tell(&mut self, found: &mut Vec<Found>) {
        self.chain.tell(found);
        for block in self.blocks.values_mut() {
            if let Block::Thinking(chain) = block {
                chain.tell(found);
            }
        }
        found.append(&mut self.aside.found);
    }
}
