//! `POST /model/{modelId}/converse`, `/converse-stream` and `/count-tokens`, the Converse protocol of Amazon Bedrock.

mod request;

use super::blocks::{Block, arguments, blocks};
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::eventstream;
use crate::log::Usage;
use crate::plan::{Finish, Plan};
use crate::playback::{Events, Frame, Rendered};
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use request::Request;
use serde::Deserialize;
use serde_json::{Value, json};

/// Answers a conversation as one document.
pub(crate) async fn converse(
    State(sim): State<Sim>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    serve(&sim, &model, &uri, &headers, &body, false).await
}

/// Answers a conversation as a stream of messages.
pub(crate) async fn converse_stream(
    State(sim): State<Sim>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    serve(&sim, &model, &uri, &headers, &body, true).await
}

/// Counts the tokens of a conversation without answering it.
pub(crate) async fn count(
    State(sim): State<Sim>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = sim.authorise_bedrock(&headers, &uri, &body);
    let request: Counted = match admitted.clone().and_then(|()| parse(&body)) {
        Ok(request) => request,
        Err(error) => return error.answer(Dialect::Bedrock),
    };
    let head = Head {
        dialect: Dialect::Bedrock,
        admitted,
        endpoint: "/model/{modelId}/count-tokens",
        model: &model,
        stream: false,
        service_tier: None,
        metadata: None,
    };
    let counted = |_: &mut Turn| {
        let tokens = request.input.converse.question()?.prompt_tokens();
        let rendered = Rendered::Whole(Bytes::from(json!({"inputTokens": tokens}).to_string()));
        Ok(Reply { id: String::new(), usage: Usage::default(), finish: "", rendered })
    };
    sim.serve(&headers, head, counted).await
}

#[derive(Deserialize)]
struct Counted {
    input: CountedInput,
}

#[derive(Deserialize)]
struct CountedInput {
    converse: Request,
}

async fn serve(
    sim: &Sim,
    model: &str,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    stream: bool,
) -> Response {
    let admitted = sim.authorise_bedrock(headers, uri, body);
    let request: Request = match admitted.clone().and_then(|()| parse(body)) {
        Ok(request) => request,
        Err(error) => return error.answer(Dialect::Bedrock),
    };
    let metadata = request.metadata();
    let head = Head {
        dialect: Dialect::Bedrock,
        admitted,
        endpoint: if stream { "/model/{modelId}/converse-stream" } else { "/model/{modelId}/converse" },
        model,
        stream,
        service_tier: None,
        metadata: metadata.as_ref(),
    };
    sim.serve(headers, head, |turn| answer(turn, request, stream)).await
}

fn answer(turn: &mut Turn, request: Request, stream: bool) -> Result<Reply, SimError> {
    let plan = turn.plan(request.question()?)?;
    // Answers have no id of their own; the log's is the request's.
    let id = turn.id("converse-", 24);
    let content = blocks(turn, &plan, "tooluse_", 22);
    let finish = plan.choices.first().map_or("", |c| c.finish.as_str());
    let writer = Writer { turn, plan: &plan, content };
    let rendered = if stream {
        let broken = eventstream::exception(
            "modelStreamErrorException",
            &json!({"message": "The model returned an error.", "originalStatusCode": 500}),
        );
        let content_type = eventstream::CONTENT_TYPE;
        Rendered::Stream(Events { frames: writer.events(), content_type, broken })
    } else {
        Rendered::Whole(Bytes::from(writer.whole().to_string()))
    };
    Ok(Reply { id, usage: plan.usage, finish, rendered })
}

struct Writer<'a> {
    turn: &'a Turn,
    plan: &'a Plan,
    content: Vec<Block>,
}

impl Writer<'_> {
    fn stop_reason(&self) -> &'static str {
        let Some(choice) = self.plan.choices.first() else { return "end_turn" };
        match choice.finish {
            Finish::Stop if choice.stopped_by.is_some() => "stop_sequence",
            Finish::Stop => "end_turn",
            Finish::Length => "max_tokens",
            Finish::ToolCalls => "tool_use",
            Finish::Filtered => "content_filtered",
        }
    }

    fn usage(&self) -> Value {
        let usage = self.plan.usage;
        json!({
            "inputTokens": usage.prompt - usage.cached - usage.cache_write,
            "outputTokens": usage.completion,
            "totalTokens": usage.prompt + usage.completion,
            "cacheReadInputTokens": usage.cached,
            "cacheWriteInputTokens": usage.cache_write,
        })
    }

    fn whole(&self) -> Value {
        let content: Vec<Value> = self.content.iter().map(whole).collect();
        let mut response = json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.stop_reason(),
            "metrics": {"latencyMs": 1},
        });
        if self.turn.behaviour.reports_usage {
            response["usage"] = self.usage();
        }
        response
    }

    fn events(&self) -> Vec<Frame> {
        let mut out = Out { frames: Vec::new(), tokens: 0 };
        out.push("messageStart", &json!({"role": "assistant"}));
        for (index, block) in self.content.iter().enumerate() {
            out.block(index, block);
        }
        out.push("messageStop", &json!({"stopReason": self.stop_reason()}));
        let mut metadata = json!({"metrics": {"latencyMs": 1}});
        if self.turn.behaviour.reports_usage {
            metadata["usage"] = self.usage();
        }
        out.push("metadata", &metadata);
        out.frames
    }
}

fn whole(block: &Block) -> Value {
    match block {
        Block::Thinking { pieces, signature } => {
            json!({"reasoningContent": {"reasoningText": {"text": pieces.concat(), "signature": signature}}})
        }
        Block::Redacted { data, .. } => json!({"reasoningContent": {"redactedContent": data}}),
        Block::Text(pieces) => json!({"text": pieces.concat()}),
        Block::Call { id, call } => {
            json!({"toolUse": {"toolUseId": id, "name": call.name, "input": arguments(call)}})
        }
    }
}

/// The messages so far.
struct Out {
    frames: Vec<Frame>,
    tokens: u64,
}

impl Out {
    fn push(&mut self, kind: &str, payload: &Value) {
        self.frames.push(Frame { bytes: eventstream::event(kind, payload), tokens: self.tokens });
    }

    fn delta(&mut self, index: usize, delta: &Value) {
        self.push("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta}));
    }

    fn block(&mut self, index: usize, block: &Block) {
        match block {
            Block::Thinking { pieces, signature } => {
                for piece in pieces {
                    self.tokens += 1;
                    self.delta(index, &json!({"reasoningContent": {"text": piece}}));
                }
                self.delta(index, &json!({"reasoningContent": {"signature": signature}}));
            }
            Block::Redacted { data, tokens } => {
                self.tokens += tokens;
                self.delta(index, &json!({"reasoningContent": {"redactedContent": data}}));
            }
            Block::Text(pieces) => {
                for piece in pieces {
                    self.tokens += 1;
                    self.delta(index, &json!({"text": piece}));
                }
            }
            Block::Call { id, call } => {
                // Only calls announce themselves. The name counts as a token of its own.
                let start = json!({"toolUse": {"toolUseId": id, "name": call.name}});
                self.push("contentBlockStart", &json!({"contentBlockIndex": index, "start": start}));
                self.tokens += 1;
                for piece in &call.arguments {
                    self.tokens += 1;
                    self.delta(index, &json!({"toolUse": {"input": piece}}));
                }
            }
        }
        self.push("contentBlockStop", &json!({"contentBlockIndex": index}));
    }
}
