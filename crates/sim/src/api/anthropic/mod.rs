//! `POST /v1/messages` and `POST /v1/messages/count_tokens`, Anthropic's protocol.

mod history;
mod request;

use super::blocks::{Block, arguments, blocks};
use super::event;
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::log::Usage;
use crate::plan::{Finish, Plan};
use crate::playback::{Events, Frame, Rendered};
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use request::Request;
use serde_json::{Value, json};

/// Answers a conversation.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    serve(&sim, &headers, &body, "/v1/messages", answer).await
}

/// Counts the tokens of a conversation without answering it.
pub(crate) async fn count(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    serve(&sim, &headers, &body, "/v1/messages/count_tokens", counted).await
}

async fn serve(
    sim: &Sim,
    headers: &HeaderMap,
    body: &[u8],
    endpoint: &'static str,
    answer: impl FnOnce(&mut Turn, Request) -> Result<Reply, SimError>,
) -> Response {
    let admitted = sim.authorise_anthropic(headers);
    let request: Request = match admitted.clone().and_then(|()| parse(body)) {
        Ok(request) => request,
        Err(error) => return error.answer(Dialect::Anthropic),
    };
    let metadata = match request.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return error.answer(Dialect::Anthropic),
    };
    let model = request.model.clone();
    let head = Head {
        dialect: Dialect::Anthropic,
        admitted,
        endpoint,
        model: &model,
        stream: request.stream.unwrap_or(false),
        service_tier: None,
        metadata: Some(&metadata),
    };
    sim.serve(headers, head, |turn| answer(turn, request)).await
}

fn counted(_: &mut Turn, request: Request) -> Result<Reply, SimError> {
    let tokens = request.question()?.prompt_tokens();
    let rendered = Rendered::Whole(Bytes::from(json!({"input_tokens": tokens}).to_string()));
    Ok(Reply { id: String::new(), usage: Usage::default(), finish: "", rendered })
}

fn answer(turn: &mut Turn, request: Request) -> Result<Reply, SimError> {
    if request.max_tokens.is_none() {
        return Err(SimError::invalid("max_tokens", "max_tokens: Field required"));
    }
    let stream = request.stream.unwrap_or(false);
    let plan = turn.plan(request.question()?)?;
    let id = turn.id("msg_01", 22);
    let content = blocks(turn, &plan, "toolu_01", 22);
    let finish = plan.choices.first().map_or("", |c| c.finish.as_str());
    let writer = Writer { turn, id: &id, plan: &plan, content };
    let rendered = if stream {
        Rendered::Stream(Events::sse(writer.events(), turn.broken()))
    } else {
        Rendered::Whole(Bytes::from(writer.message().to_string()))
    };
    Ok(Reply { id, usage: plan.usage, finish, rendered })
}

struct Writer<'a> {
    turn: &'a Turn,
    id: &'a str,
    plan: &'a Plan,
    content: Vec<Block>,
}

impl Writer<'_> {
    /// `stop_reason` and `stop_sequence`.
    fn stop(&self) -> (&'static str, Option<&str>) {
        let Some(choice) = self.plan.choices.first() else { return ("end_turn", None) };
        match (choice.finish, choice.stopped_by.as_deref()) {
            (Finish::Stop, Some(by)) => ("stop_sequence", Some(by)),
            (Finish::Stop, None) => ("end_turn", None),
            (Finish::Length, _) => ("max_tokens", None),
            (Finish::ToolCalls, _) => ("tool_use", None),
            (Finish::Filtered, _) => ("refusal", None),
        }
    }

    fn usage(&self, output: u64) -> Value {
        let usage = self.plan.usage;
        json!({
            "input_tokens": usage.prompt - usage.cached - usage.cache_write,
            "cache_creation_input_tokens": usage.cache_write,
            "cache_read_input_tokens": usage.cached,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write - usage.cache_write_hour,
                "ephemeral_1h_input_tokens": usage.cache_write_hour,
            },
            "output_tokens": output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning.min(output)},
            "service_tier": "standard",
        })
    }

    fn message(&self) -> Value {
        let (reason, sequence) = self.stop();
        let content: Vec<Value> = self.content.iter().map(whole).collect();
        let mut message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.turn.model, "content": content,
            "stop_reason": reason, "stop_sequence": sequence, "stop_details": null,
        });
        if self.turn.behaviour.reports_usage {
            message["usage"] = self.usage(self.plan.usage.completion);
        }
        message
    }

    fn events(&self) -> Vec<Frame> {
        let mut out = Out { frames: Vec::new(), tokens: 0 };
        let mut opening = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.turn.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "stop_details": null,
        });
        let reports = self.turn.behaviour.reports_usage;
        if reports {
            opening["usage"] = self.usage(1);
        }
        out.push("message_start", json!({"message": opening}));
        for (index, block) in self.content.iter().enumerate() {
            out.block(index, block);
            if index == 0 {
                out.push("ping", json!({}));
            }
        }
        let (reason, sequence) = self.stop();
        let mut end = json!({"delta": {"stop_reason": reason, "stop_sequence": sequence}});
        if reports {
            end["usage"] = self.usage(self.plan.usage.completion);
        }
        out.push("message_delta", end);
        out.push("message_stop", json!({}));
        out.frames
    }
}

fn whole(block: &Block) -> Value {
    match block {
        Block::Thinking { pieces, signature } => {
            json!({"type": "thinking", "thinking": pieces.concat(), "signature": signature})
        }
        Block::Redacted { data, .. } => json!({"type": "redacted_thinking", "data": data}),
        Block::Text(pieces) => json!({"type": "text", "text": pieces.concat()}),
        Block::Call { id, call } => {
            json!({"type": "tool_use", "id": id, "name": call.name, "input": arguments(call)})
        }
    }
}

/// The events so far.
struct Out {
    frames: Vec<Frame>,
    tokens: u64,
}

impl Out {
    fn push(&mut self, name: &str, mut data: Value) {
        data["type"] = json!(name);
        self.frames.push(event(Some(name), &data, self.tokens));
    }

    fn delta(&mut self, index: usize, delta: &Value) {
        self.push("content_block_delta", json!({"index": index, "delta": delta}));
    }

    fn block(&mut self, index: usize, block: &Block) {
        let opening = match block {
            Block::Thinking { .. } => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Block::Redacted { .. } => whole(block),
            Block::Text(_) => json!({"type": "text", "text": ""}),
            Block::Call { id, call } => json!({"type": "tool_use", "id": id, "name": call.name, "input": {}}),
        };
        self.push("content_block_start", json!({"index": index, "content_block": opening}));
        match block {
            Block::Thinking { pieces, signature } => {
                for piece in pieces {
                    self.tokens += 1;
                    self.delta(index, &json!({"type": "thinking_delta", "thinking": piece}));
                }
                self.delta(index, &json!({"type": "signature_delta", "signature": signature}));
            }
            Block::Redacted { tokens, .. } => self.tokens += tokens,
            Block::Text(pieces) => {
                for piece in pieces {
                    self.tokens += 1;
                    self.delta(index, &json!({"type": "text_delta", "text": piece}));
                }
            }
            Block::Call { call, .. } => {
                // The name counts as a token of its own.
                self.tokens += 1;
                self.delta(index, &json!({"type": "input_json_delta", "partial_json": ""}));
                for piece in &call.arguments {
                    self.tokens += 1;
                    self.delta(index, &json!({"type": "input_json_delta", "partial_json": piece}));
                }
            }
        }
        self.push("content_block_stop", json!({"index": index}));
    }
}
