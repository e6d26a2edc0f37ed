//! Events as a stream of responses for a client.
//!
//! Every event has a number. The events that end a text, a call or the response repeat all of it, so this writer, alone of all,
//! keeps the answer until it is over.

use super::answer::{
    State, fill_call, fill_message, fill_reasoning, fill_refusal, fill_response, fill_text, item_id,
    item_status, told,
};
use crate::Context;
use crate::canonical::{Block, Event};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::signature::Signature;
use crate::sse;
use crate::write::{Object, object_text};
use contracts::TokenUsage;

#[derive(Debug)]
pub(crate) struct StreamWriter {
    context: Context,
    model: Option<String>,
    is_started: bool,
    sequence: u64,
    /// Of every block of the provider's; those that are over keep nothing but their place.
    blocks: Vec<Item>,
    /// The output's items that are over, as JSON, by their place.
    done: Vec<Option<Vec<u8>>>,
    has_refusal: bool,
    finish: Option<Finish>,
    usage: Option<TokenUsage>,
    tier: Option<String>,
}

#[derive(Debug)]
struct Item {
    place: usize,
    kind: Kind,
    text: String,
    signature: Option<Signature>,
}

#[derive(Debug, Clone)]
enum Kind {
    Text,
    Refusal,
    Reasoning { has_part: bool },
    Call { id: String, name: String },
    Over,
}

impl StreamWriter {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            model: None,
            is_started: false,
            sequence: 0,
            blocks: Vec::new(),
            done: Vec::new(),
            has_refusal: false,
            finish: None,
            usage: None,
            tier: None,
        }
    }

    pub fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, .. } => {
                self.model = model;
                self.start(out);
            }
            Event::Open { kind, .. } => {
                self.start(out);
                self.open(kind, out);
            }
            Event::Delta { block, text } => self.delta(block, &text, out),
            Event::Signed { block, signature } => {
                if let Some(item) = self.blocks.get_mut(block) {
                    item.signature = Some(signature);
                }
            }
            Event::Close { block } => self.close(block, out),
            Event::Finish(finish) => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Tier(tier) => self.tier = Some(tier),
            Event::Error(error) => self.fail(&error, out),
            Event::End => self.end(out),
        }
    }

    /// One event with the next number.
    fn event(&mut self, out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let sequence = self.sequence;
        self.sequence += 1;
        sse::event(out, name, |o| {
            o.put("sequence_number", &sequence);
            fill(o);
        });
    }

    fn response(&self, error: Option<&UpstreamError>, is_done: bool) -> Vec<u8> {
        let mut items = Vec::new();
        crate::write::array(&mut items, |a| self.done.iter().flatten().for_each(|item| a.json(item)));
        let state = State {
            model: self.model.as_deref(),
            finish: told(self.finish.as_ref(), self.has_refusal),
            usage: self.usage.as_ref(),
            tier: self.tier.as_deref(),
            error,
            is_done,
        };
        object_text(|o| fill_response(o, &self.context, &items, &state))
    }

    fn response_event(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        error: Option<&UpstreamError>,
        is_done: bool,
    ) {
        let response = self.response(error, is_done);
        self.event(out, name, |o| {
            o.json("response", &String::from_utf8_lossy(&response));
        });
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            self.is_started = true;
            self.response_event(out, "response.created", None, false);
            self.response_event(out, "response.in_progress", None, false);
        }
    }

    fn open(&mut self, kind: Block, out: &mut Vec<u8>) {
        let (kind, signature) = match kind {
            Block::Text => (Kind::Text, None),
            Block::Refusal => {
                self.has_refusal = true;
                (Kind::Refusal, None)
            }
            Block::Reasoning => (Kind::Reasoning { has_part: false }, None),
            Block::Redacted { data } => {
                self.whole_reasoning(&data.marked(true), out);
                (Kind::Over, None)
            }
            Block::ToolCall { id, name, signature } => (Kind::Call { id, name }, signature),
        };
        if let Some(signature) = signature {
            self.whole_reasoning(&super::answer::proof(&signature), out);
        }
        let place = self.done.len();
        if !matches!(kind, Kind::Over) {
            self.done.push(None);
            self.begin(place, &kind, out);
        }
        self.blocks.push(Item { place, kind, text: String::new(), signature: None });
    }

    /// The events that begin an item.
    fn begin(&mut self, place: usize, kind: &Kind, out: &mut Vec<u8>) {
        let id = item_id(&self.context, place);
        self.event(out, "response.output_item.added", |o| {
            o.put("output_index", &place).object("item", |o| match kind {
                Kind::Text | Kind::Refusal => {
                    o.put("id", &id).put("type", "message").put("status", "in_progress");
                    o.put("role", "assistant").array("content", |_| {});
                }
                Kind::Reasoning { .. } => fill_reasoning(o, &id, "", None),
                Kind::Call { id: call_id, name } => fill_call(o, &id, "in_progress", call_id, name, ""),
                Kind::Over => {}
            });
        });
        if matches!(kind, Kind::Text | Kind::Refusal) {
            self.event(out, "response.content_part.added", |o| {
                head(o, &id, place);
                o.object("part", |o| fill_part(o, kind, ""));
            });
        }
    }

    fn delta(&mut self, block: usize, text: &str, out: &mut Vec<u8>) {
        let Some(item) = self.blocks.get_mut(block) else { return };
        item.text.push_str(text);
        let place = item.place;
        let id = item_id(&self.context, place);
        let name = match &mut item.kind {
            Kind::Text => "response.output_text.delta",
            Kind::Refusal => "response.refusal.delta",
            Kind::Call { .. } => {
                return self.event(out, "response.function_call_arguments.delta", |o| {
                    o.put("item_id", &id).put("output_index", &place).put("delta", text);
                });
            }
            Kind::Reasoning { has_part } => {
                if !std::mem::replace(has_part, true) {
                    self.event(out, "response.reasoning_summary_part.added", |o| {
                        summary_head(o, &id, place);
                        o.object("part", |o| {
                            o.put("type", "summary_text").put("text", "");
                        });
                    });
                }
                return self.event(out, "response.reasoning_summary_text.delta", |o| {
                    summary_head(o, &id, place);
                    o.put("delta", text);
                });
            }
            Kind::Over => return,
        };
        let is_text = name == "response.output_text.delta";
        self.event(out, name, |o| {
            head(o, &id, place);
            o.put("delta", text);
            if is_text {
                o.array("logprobs", |_| {});
            }
        });
    }

    fn close(&mut self, block: usize, out: &mut Vec<u8>) {
        let Some(item) = self.blocks.get_mut(block) else { return };
        let kind = std::mem::replace(&mut item.kind, Kind::Over);
        let (place, text, signature) = (item.place, std::mem::take(&mut item.text), item.signature.take());
        let id = item_id(&self.context, place);
        let mut follows = None;
        let whole = match &kind {
            Kind::Over => return,
            Kind::Text | Kind::Refusal => {
                self.close_part(&id, place, &kind, &text, out);
                follows = signature;
                object_text(|o| fill_message(o, &id, "completed", |o| fill_part(o, &kind, &text)))
            }
            Kind::Reasoning { has_part } => {
                if *has_part {
                    self.event(out, "response.reasoning_summary_text.done", |o| {
                        summary_head(o, &id, place);
                        o.put("text", &text);
                    });
                    self.event(out, "response.reasoning_summary_part.done", |o| {
                        summary_head(o, &id, place);
                        o.object("part", |o| {
                            o.put("type", "summary_text").put("text", &text);
                        });
                    });
                }
                let proof = signature.as_ref().map(super::answer::proof);
                object_text(|o| fill_reasoning(o, &id, &text, proof.as_deref()))
            }
            Kind::Call { id: call_id, name } => {
                let arguments = if text.is_empty() { "{}" } else { &text };
                self.event(out, "response.function_call_arguments.done", |o| {
                    o.put("item_id", &id).put("output_index", &place).put("name", name);
                    o.put("arguments", arguments);
                });
                object_text(|o| fill_call(o, &id, "completed", call_id, name, arguments))
            }
        };
        self.item_done(place, whole, out);
        if let Some(signature) = follows {
            self.whole_reasoning(&super::answer::proof(&signature), out);
        }
    }

    fn close_part(&mut self, id: &str, place: usize, kind: &Kind, text: &str, out: &mut Vec<u8>) {
        if matches!(kind, Kind::Refusal) {
            self.event(out, "response.refusal.done", |o| {
                head(o, id, place);
                o.put("refusal", text);
            });
        } else {
            self.event(out, "response.output_text.done", |o| {
                head(o, id, place);
                o.put("text", text).array("logprobs", |_| {});
            });
        }
        self.event(out, "response.content_part.done", |o| {
            head(o, id, place);
            o.object("part", |o| fill_part(o, kind, text));
        });
    }

    fn item_done(&mut self, place: usize, item: Vec<u8>, out: &mut Vec<u8>) {
        self.event(out, "response.output_item.done", |o| {
            o.put("output_index", &place).json("item", &String::from_utf8_lossy(&item));
        });
        if let Some(slot) = self.done.get_mut(place) {
            *slot = Some(item);
        }
    }

    /// Reasoning that nobody can read, or of which there is only its proof.
    fn whole_reasoning(&mut self, proof: &str, out: &mut Vec<u8>) {
        let place = self.done.len();
        self.done.push(None);
        self.begin(place, &Kind::Reasoning { has_part: false }, out);
        let id = item_id(&self.context, place);
        self.item_done(place, object_text(|o| fill_reasoning(o, &id, "", Some(proof))), out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let is_cut = item_status(told(self.finish.as_ref(), self.has_refusal)) == "incomplete";
        let name = if is_cut { "response.incomplete" } else { "response.completed" };
        self.response_event(out, name, None, true);
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        let request_id = self.context.response_id.clone();
        self.event(out, "error", |o| {
            o.put("code", &error.openai_code().unwrap_or_else(|| "server_error".to_owned()));
            o.put("message", &error.message).put("param", &error.param).put("request_id", &request_id);
        });
        if self.is_started {
            self.response_event(out, "response.failed", Some(error), true);
        }
    }
}

fn head(o: &mut Object<'_>, id: &str, place: usize) {
    o.put("item_id", id).put("output_index", &place).put("content_index", &0);
}

fn summary_head(o: &mut Object<'_>, id: &str, place: usize) {
    o.put("item_id", id).put("output_index", &place).put("summary_index", &0);
}

fn fill_part(o: &mut Object<'_>, kind: &Kind, text: &str) {
    match kind {
        Kind::Refusal => fill_refusal(o, text),
        _ => fill_text(o, text),
    }
}
