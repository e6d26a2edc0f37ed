//! Events as a stream of chat completions for a client.
//!
//! The first chunk has the role; a call's first piece has its index, id and name, the others only arguments. Reasoning goes as
//! `reasoning_content` and, so that the client can hand it back, as pieces of `thinking_blocks`, each with the index that
//! OpenAI's own libraries join list entries by.

use super::usage::write_usage;
use crate::Context;
use crate::canonical::{Block, Event, openai_tier};
use crate::finish::Finish;
use crate::signature::{Origin, Signature};
use crate::sse;
use crate::write::Object;
use contracts::TokenUsage;

#[derive(Debug)]
pub(crate) struct StreamWriter {
    context: Context,
    id: Option<String>,
    model: Option<String>,
    is_started: bool,
    blocks: Vec<Target>,
    /// Of every call, whether it has arguments yet.
    calls: Vec<bool>,
    thoughts: usize,
    has_refusal: bool,
    finish: Option<Finish>,
    usage: Option<TokenUsage>,
    tier: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Text,
    Refusal,
    Thought(usize),
    Call(usize),
    Nothing,
}

impl StreamWriter {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            id: None,
            model: None,
            is_started: false,
            blocks: Vec::new(),
            calls: Vec::new(),
            thoughts: 0,
            has_refusal: false,
            finish: None,
            usage: None,
            tier: None,
        }
    }

    pub fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => {
                self.id = id;
                self.model = model;
                self.start(out);
            }
            Event::Open { block, kind } => {
                self.start(out);
                self.open(block, kind, out);
            }
            Event::Delta { block, text } => self.delta(block, &text, out),
            Event::Signed { block, signature } => self.signed(block, &signature, out),
            // A call without arguments calls with none: OpenAI's clients parse what they get.
            Event::Close { block } => {
                if let Target::Call(index) = self.target(block)
                    && self.calls.get(index) == Some(&false)
                {
                    self.delta(block, "{}", out);
                }
            }
            Event::Finish(finish) => self.finish = Some(finish),
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Tier(tier) => self.tier = Some(tier),
            Event::Error(error) => {
                sse::data(out, |o| {
                    o.object("error", |o| {
                        error.fill_openai(o);
                        o.put("request_id", &self.context.response_id);
                    });
                });
            }
            Event::End => self.end(out),
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            self.is_started = true;
            self.chunk(out, |o| {
                o.put("role", "assistant").put("content", "");
            });
        }
    }

    fn open(&mut self, block: usize, kind: Block, out: &mut Vec<u8>) {
        let target = match kind {
            Block::Text => Target::Text,
            Block::Refusal => {
                self.has_refusal = true;
                Target::Refusal
            }
            Block::Reasoning => {
                self.thoughts += 1;
                Target::Thought(self.thoughts - 1)
            }
            Block::Redacted { data } => {
                if data.origin == Origin::Anthropic {
                    let index = self.thoughts;
                    self.thoughts += 1;
                    self.thought(index, out, |o| {
                        o.put("type", "redacted_thinking").put("data", &data.value);
                    });
                }
                Target::Nothing
            }
            Block::ToolCall { id, name, signature } => {
                let index = self.calls.len();
                self.calls.push(false);
                self.chunk(out, |o| {
                    o.array("tool_calls", |a| {
                        a.object(|o| {
                            o.put("index", &index).put("id", &id).put("type", "function");
                            o.object("function", |o| {
                                o.put("name", &name).put("arguments", "");
                            });
                            super::write::write_thought_signature(o, signature.as_ref());
                        });
                    });
                });
                Target::Call(index)
            }
        };
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, Target::Nothing);
        }
        self.blocks[block] = target;
    }

    fn delta(&mut self, block: usize, text: &str, out: &mut Vec<u8>) {
        let target = self.target(block);
        if let Target::Call(index) = target
            && let Some(has_arguments) = self.calls.get_mut(index)
        {
            *has_arguments = true;
        }
        match target {
            Target::Text => self.chunk(out, |o| {
                o.put("content", text);
            }),
            Target::Refusal => self.chunk(out, |o| {
                o.put("refusal", text);
            }),
            Target::Thought(index) => self.chunk(out, |o| {
                o.put("reasoning_content", text).array("thinking_blocks", |a| {
                    a.object(|o| {
                        o.put("index", &index).put("type", "thinking").put("thinking", text);
                    });
                });
            }),
            Target::Call(index) => self.chunk(out, |o| {
                o.array("tool_calls", |a| {
                    a.object(|o| {
                        o.put("index", &index).object("function", |o| {
                            o.put("arguments", text);
                        });
                    });
                });
            }),
            Target::Nothing => {}
        }
    }

    fn signed(&self, block: usize, signature: &Signature, out: &mut Vec<u8>) {
        match self.target(block) {
            Target::Thought(index) => {
                let signature = signature.for_anthropic();
                self.thought(index, out, |o| {
                    o.put("type", "thinking").put("signature", &signature);
                });
            }
            Target::Text => self.chunk(out, |o| super::write::write_thought_signature(o, Some(signature))),
            _ => {}
        }
    }

    fn thought(&self, index: usize, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        self.chunk(out, |o| {
            o.array("thinking_blocks", |a| {
                a.object(|o| {
                    o.put("index", &index);
                    fill(o);
                });
            });
        });
    }

    fn target(&self, block: usize) -> Target {
        self.blocks.get(block).copied().unwrap_or(Target::Nothing)
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let reason = match &self.finish {
            Some(Finish::Refusal) if self.has_refusal => "stop",
            Some(finish) => finish.chat(),
            None => "stop",
        };
        sse::data(out, |o| {
            self.head(o);
            o.array("choices", |a| {
                a.object(|o| {
                    o.put("index", &0).object("delta", |_| {}).put("finish_reason", reason);
                });
            });
        });
        if self.context.include_usage
            && let Some(usage) = self.usage
        {
            sse::data(out, |o| {
                self.head(o);
                o.array("choices", |_| {}).object("usage", |o| write_usage(o, &usage));
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn chunk(&self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        sse::data(out, |o| {
            self.head(o);
            o.array("choices", |a| {
                a.object(|o| {
                    o.put("index", &0).object("delta", fill).put("finish_reason", &None::<&str>);
                });
            });
        });
    }

    fn head(&self, o: &mut Object<'_>) {
        o.put("id", self.id.as_deref().unwrap_or(&self.context.response_id));
        o.put("object", "chat.completion.chunk").put("created", &self.context.created);
        o.put("model", self.model.as_deref().unwrap_or(&self.context.model));
        o.opt("service_tier", self.tier.as_deref().map(openai_tier).as_ref());
    }
}
