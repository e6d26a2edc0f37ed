//! `POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent` and `:countTokens`, Gemini's protocol; under
//! `/v1` too.

mod request;

use super::blocks::{Block, arguments, blocks};
use super::logprob;
use crate::behaviour::simulated;
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::log::Usage;
use crate::plan::{Finish, Plan};
use crate::playback::{Events, Frame, Rendered};
use crate::seal;
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use request::{CALL, Request};
use serde_json::{Value, json};

/// Calls a method of a model: `{model}:{method}`.
pub(crate) async fn call(
    State(sim): State<Sim>,
    Path(called): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (model, method) = called.rsplit_once(':').unwrap_or((&called, ""));
    let (endpoint, stream) = match method {
        "generateContent" => ("/v1beta/models/{model}:generateContent", false),
        "streamGenerateContent" => ("/v1beta/models/{model}:streamGenerateContent", true),
        "countTokens" => ("/v1beta/models/{model}:countTokens", false),
        _ => {
            let message = format!("Method {method:?} of models is not found.");
            return SimError { message, ..SimError::of_status(404) }.answer(Dialect::Gemini);
        }
    };
    let admitted = sim.authorise_gemini(&headers, &uri);
    let counts = method == "countTokens";
    let request = admitted.clone().and_then(|()| if counts { parse_counted(&body) } else { parse(&body) });
    let request: Request = match request {
        Ok(request) => request,
        Err(error) => return error.answer(Dialect::Gemini),
    };
    let sse = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    let labels = request.labels();
    let head = Head {
        dialect: Dialect::Gemini,
        admitted,
        endpoint,
        model,
        stream,
        service_tier: None,
        metadata: labels.as_ref(),
    };
    sim.serve(&headers, head, |turn| {
        if counts {
            return counted(request);
        }
        answer(turn, request, stream.then_some(sse))
    })
    .await
}

/// All models, recorded ones included.
pub(crate) async fn list(State(sim): State<Sim>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(error) = sim.authorise_gemini(&headers, &uri) {
        return error.answer(Dialect::Gemini);
    }
    let simulated = simulated(sim.config()).into_iter().map(|m| m.name);
    let names = simulated.chain(sim.answers().models().into_iter().map(str::to_owned));
    let methods = ["generateContent", "streamGenerateContent", "countTokens"];
    let models: Vec<Value> = names
        .map(|name| json!({"name": format!("models/{name}"), "supportedGenerationMethods": methods}))
        .collect();
    Json(json!({"models": models})).into_response()
}

/// The body of `countTokens`: contents, or a whole request as `generateContentRequest`.
fn parse_counted(body: &[u8]) -> Result<Request, SimError> {
    let mut whole: Value = parse(body)?;
    let inner = whole.get_mut("generateContentRequest").map(Value::take).unwrap_or(whole);
    parse(inner.to_string().as_bytes())
}

fn counted(request: Request) -> Result<Reply, SimError> {
    let tokens = request.question()?.prompt_tokens();
    let rendered = Rendered::Whole(Bytes::from(json!({"totalTokens": tokens}).to_string()));
    Ok(Reply { id: String::new(), usage: Usage::default(), finish: "", rendered })
}

/// `stream`: whether as server-sent events or as one array; absent for a whole answer.
fn answer(turn: &mut Turn, request: Request, stream: Option<bool>) -> Result<Reply, SimError> {
    let shows = request.shows_thoughts();
    let top = request.logprobs()?;
    let plan = turn.plan(request.question()?)?;
    let id = turn.id("", 22);
    let parts = blocks(turn, &plan, "", 8);
    let finish = plan.choices.first().map_or("", |c| c.finish.as_str());
    let writer = Writer { turn, id: &id, plan: &plan, parts, shows, top };
    let rendered = match stream {
        None => Rendered::Whole(Bytes::from(writer.whole().to_string())),
        Some(true) => Rendered::Stream(Events::sse(writer.events(true), turn.broken())),
        Some(false) => Rendered::Stream(Events {
            content_type: "application/json; charset=utf-8",
            ..Events::sse(writer.events(false), turn.broken())
        }),
    };
    Ok(Reply { id, usage: plan.usage, finish, rendered })
}

struct Writer<'a> {
    turn: &'a Turn,
    id: &'a str,
    plan: &'a Plan,
    parts: Vec<Block>,
    /// Whether thoughts are part of the answer.
    shows: bool,
    /// Alternatives a token, when log probabilities were asked for.
    top: Option<u64>,
}

impl Writer<'_> {
    fn finish(&self) -> &'static str {
        match self.plan.choices.first().map(|choice| choice.finish) {
            Some(Finish::Length) => "MAX_TOKENS",
            Some(Finish::Filtered) => "SAFETY",
            // Calls end like text does.
            _ => "STOP",
        }
    }

    /// The parts of a block in full. `first` is for the first call after thoughts: it carries their signature.
    fn part(&self, block: &Block, first: bool) -> Option<Value> {
        match block {
            Block::Thinking { pieces, .. } => {
                self.shows.then(|| json!({"thought": true, "text": pieces.concat()}))
            }
            Block::Redacted { .. } => None,
            Block::Text(pieces) => Some(json!({"text": pieces.concat()})),
            Block::Call { id, call } => {
                let args = arguments(call);
                let signature = seal::sign(CALL, &seal::call(&call.name, &args));
                let mut part = json!({"functionCall": {"id": id, "name": call.name, "args": args}});
                if first && !self.plan.thinking.is_empty() {
                    part["thoughtSignature"] = json!(signature);
                }
                Some(part)
            }
        }
    }

    /// `usageMetadata` once so many tokens of thoughts and of the answer are out.
    fn usage(&self, thoughts: u64, answer: u64) -> Value {
        let usage = self.plan.usage;
        let mut metadata = json!({
            "promptTokenCount": usage.prompt, "candidatesTokenCount": answer,
            "totalTokenCount": usage.prompt + thoughts + answer,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.prompt}],
        });
        // Zeros are left out, as protocol buffers do.
        if usage.cached > 0 {
            metadata["cachedContentTokenCount"] = json!(usage.cached);
        }
        if thoughts > 0 {
            metadata["thoughtsTokenCount"] = json!(thoughts);
        }
        metadata
    }

    fn response(&self, parts: &[Value], ends: bool, usage: Option<Value>) -> Value {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
        if ends {
            candidate["finishReason"] = json!(self.finish());
        }
        let mut response =
            json!({"candidates": [candidate], "modelVersion": self.turn.model, "responseId": self.id});
        if let Some(usage) = usage.filter(|_| self.turn.behaviour.reports_usage) {
            response["usageMetadata"] = usage;
        }
        response
    }

    fn whole(&self) -> Value {
        let mut calls = 0;
        let parts: Vec<Value> = self
            .parts
            .iter()
            .filter_map(|block| {
                calls += u64::from(matches!(block, Block::Call { .. }));
                self.part(block, calls == 1)
            })
            .collect();
        let usage = self.plan.usage;
        let counted = self.usage(usage.reasoning, usage.completion - usage.reasoning);
        let mut response = self.response(&parts, true, Some(counted));
        if let Some(top) = self.top {
            let pieces =
                self.parts.iter().find_map(|b| if let Block::Text(pieces) = b { Some(pieces) } else { None });
            let logs = logprobs(pieces.map_or(&[], Vec::as_slice), top);
            response["candidates"][0]["avgLogprobs"] = logs["average"].clone();
            response["candidates"][0]["logprobsResult"] = logs["result"].clone();
        }
        response
    }

    fn events(&self, sse: bool) -> Vec<Frame> {
        let mut chunks = Vec::new();
        let (mut thoughts, mut answer, mut calls) = (0, 0, 0);
        for block in &self.parts {
            match block {
                Block::Thinking { pieces, .. } => {
                    for piece in pieces {
                        thoughts += 1;
                        if self.shows {
                            chunks.push((json!({"thought": true, "text": piece}), thoughts, answer));
                        }
                    }
                }
                Block::Redacted { tokens, .. } => thoughts += tokens,
                Block::Text(pieces) => {
                    for piece in pieces {
                        answer += 1;
                        chunks.push((json!({"text": piece}), thoughts, answer));
                    }
                }
                // A call comes as a whole.
                Block::Call { call, .. } => {
                    calls += 1;
                    answer += 1 + call.arguments.len() as u64;
                    chunks.extend(self.part(block, calls == 1).map(|part| (part, thoughts, answer)));
                }
            }
        }
        // The model may think and not say so.
        let hidden = self.plan.usage.reasoning - thoughts;
        let mut responses: Vec<(Value, u64)> = chunks
            .into_iter()
            .map(|(part, thoughts, answer)| {
                let usage = self.usage(hidden + thoughts, answer);
                (self.response(&[part], false, Some(usage)), hidden + thoughts + answer)
            })
            .collect();
        let last = self.usage(hidden + thoughts, answer);
        let end = json!({"text": ""});
        responses.push((self.response(&[end], true, Some(last)), hidden + thoughts + answer));
        let count = responses.len();
        let framed = responses.into_iter().enumerate().map(|(index, (response, tokens))| {
            if sse {
                // Google's servers end lines with both characters.
                return Frame { bytes: Bytes::from(format!("data: {response}\r\n\r\n")), tokens };
            }
            let (before, after) =
                (if index == 0 { "[" } else { ",\r\n" }, if index + 1 == count { "]" } else { "" });
            Frame { bytes: Bytes::from(format!("{before}{response}{after}")), tokens }
        });
        framed.collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn logprobs(pieces: &[String], top: u64) -> Value {
    let candidate =
        |token: &str, rank| json!({"token": token, "tokenId": 0, "logProbability": logprob(token, rank)});
    let chosen: Vec<Value> = pieces.iter().map(|piece| candidate(piece, 0)).collect();
    let ranked: Vec<Value> = pieces
        .iter()
        .map(|piece| {
            let candidates: Vec<Value> =
                (0..top)
                    .map(|rank| {
                        if rank == 0 {
                            candidate(piece, 0)
                        } else {
                            candidate(&format!("{piece}{rank}"), rank)
                        }
                    })
                    .collect();
            json!({"candidates": candidates})
        })
        .collect();
    let sum: f64 = pieces.iter().map(|piece| logprob(piece, 0)).sum();
    json!({
        "average": sum / pieces.len().max(1) as f64,
        "result": {"chosenCandidates": chosen, "topCandidates": ranked},
    })
}
