//! Events as Anthropic's stream for a client.
//!
//! What ends the message comes with the usage, so it waits for the provider's last word. A provider that states the prompt's
//! tokens only at the end has them there, where Anthropic's libraries take them over.

use super::usage::write_usage;
use crate::Context;
use crate::canonical::{Block, Event};
use crate::finish::Finish;
use crate::signature::{Origin, Signature, UNSIGNED};
use crate::sse;
use crate::write::Object;
use contracts::TokenUsage;

#[derive(Debug)]
pub(crate) struct StreamWriter {
    context: Context,
    id: Option<String>,
    model: Option<String>,
    is_started: bool,
    /// The client's number of every block of the provider's.
    blocks: Vec<Written>,
    next: usize,
    finish: Option<Finish>,
    usage: TokenUsage,
}

#[derive(Debug, Clone)]
struct Written {
    index: usize,
    kind: Kind,
    /// A signature that its block has no place for: it follows in one of its own.
    pending: Option<Signature>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking { is_signed: bool },
    Call,
    Redacted,
}

impl StreamWriter {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            id: None,
            model: None,
            is_started: false,
            blocks: Vec::new(),
            next: 0,
            finish: None,
            usage: TokenUsage::default(),
        }
    }

    /// `events` that follow at once are already known: usage that stands at the stream's start is worth waiting for.
    pub fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                self.id = id;
                self.model = model;
            }
            Event::Open { block, kind } => {
                self.start(out);
                self.open(block, kind, out);
            }
            Event::Delta { block, text } => self.delta(block, &text, out),
            Event::Signed { block, signature } => self.signed(block, signature, out),
            Event::Close { block } => self.close(block, out),
            Event::Finish(finish) => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = usage,
            Event::Tier(_) => {}
            Event::Error(error) => sse::event(out, "error", |o| {
                o.object("error", |o| error.fill_anthropic(o));
                o.put("request_id", &self.context.response_id);
            }),
            Event::End => self.end(out),
        }
    }

    /// After all events of some bytes: what is known of the start goes out with them.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.id.is_some() || self.model.is_some() {
            self.start(out);
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        sse::event(out, "message_start", |o| {
            o.object("message", |o| {
                o.put("id", self.id.as_deref().unwrap_or(&self.context.response_id));
                o.put("type", "message").put("role", "assistant");
                o.put("model", self.model.as_deref().unwrap_or(&self.context.model));
                o.array("content", |_| {}).put("stop_reason", &None::<&str>);
                o.put("stop_sequence", &None::<&str>);
                o.object("usage", |o| write_usage(o, &self.usage));
            });
        });
    }

    fn open(&mut self, block: usize, kind: Block, out: &mut Vec<u8>) {
        let kind = match kind {
            Block::Text | Block::Refusal => {
                self.begin(out, |o| {
                    o.put("type", "text").put("text", "");
                });
                Kind::Text
            }
            Block::Reasoning => {
                self.begin(out, |o| {
                    o.put("type", "thinking").put("thinking", "").put("signature", "");
                });
                Kind::Thinking { is_signed: false }
            }
            Block::Redacted { data } => {
                let is_own = data.origin == Origin::Anthropic;
                let data = if is_own { data.value } else { data.marked(true) };
                self.begin(out, |o| {
                    o.put("type", "redacted_thinking").put("data", &data);
                });
                Kind::Redacted
            }
            Block::ToolCall { id, name, signature } => {
                if let Some(signature) = signature {
                    self.thought_of_none(&signature, out);
                }
                self.begin(out, |o| {
                    o.put("type", "tool_use").put("id", &id).put("name", &name).object("input", |_| {});
                });
                Kind::Call
            }
        };
        let written = Written { index: self.next - 1, kind, pending: None };
        while self.blocks.len() < block {
            self.blocks.push(written.clone());
        }
        self.blocks.push(written);
    }

    fn begin(&mut self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        sse::event(out, "content_block_start", |o| {
            o.put("index", &self.next).object("content_block", fill);
        });
        self.next += 1;
    }

    /// A block of no thought, only for its signature.
    fn thought_of_none(&mut self, signature: &Signature, out: &mut Vec<u8>) {
        self.begin(out, |o| {
            o.put("type", "thinking").put("thinking", "").put("signature", "");
        });
        let index = self.next - 1;
        signed_delta(index, &signature.marked(false), out);
        stop(index, out);
    }

    fn delta(&self, block: usize, text: &str, out: &mut Vec<u8>) {
        let Some(written) = self.blocks.get(block) else { return };
        let (kind, name) = match written.kind {
            Kind::Text => ("text_delta", "text"),
            Kind::Thinking { .. } => ("thinking_delta", "thinking"),
            Kind::Call => ("input_json_delta", "partial_json"),
            Kind::Redacted => return,
        };
        sse::event(out, "content_block_delta", |o| {
            o.put("index", &written.index).object("delta", |o| {
                o.put("type", kind).put(name, text);
            });
        });
    }

    fn signed(&mut self, block: usize, signature: Signature, out: &mut Vec<u8>) {
        let Some(written) = self.blocks.get_mut(block) else { return };
        if let Kind::Thinking { is_signed } = &mut written.kind {
            *is_signed = true;
            signed_delta(written.index, &signature.for_anthropic(), out);
        } else {
            written.pending = Some(signature);
        }
    }

    fn close(&mut self, block: usize, out: &mut Vec<u8>) {
        let Some(written) = self.blocks.get_mut(block) else { return };
        let pending = written.pending.take();
        if written.kind == (Kind::Thinking { is_signed: false }) {
            signed_delta(written.index, UNSIGNED, out);
        }
        stop(written.index, out);
        if let Some(signature) = pending {
            self.thought_of_none(&signature, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let finish = self.finish.take().unwrap_or(Finish::Stop);
        sse::event(out, "message_delta", |o| {
            o.object("delta", |o| {
                o.put("stop_reason", finish.anthropic());
                let sequence =
                    if let Finish::StopSequence(sequence) = &finish { sequence.as_ref() } else { None };
                o.put("stop_sequence", &sequence);
            });
            o.object("usage", |o| write_usage(o, &self.usage));
        });
        sse::event(out, "message_stop", |_| {});
    }
}

fn signed_delta(index: usize, signature: &str, out: &mut Vec<u8>) {
    sse::event(out, "content_block_delta", |o| {
        o.put("index", &index).object("delta", |o| {
            o.put("type", "signature_delta").put("signature", signature);
        });
    });
}

fn stop(index: usize, out: &mut Vec<u8>) {
    sse::event(out, "content_block_stop", |o| {
        o.put("index", &index);
    });
}
