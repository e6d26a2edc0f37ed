//! `POST /v1/completions`, the legacy text completion.

use super::chat::StreamOptions;
use super::{Texts, completion_usage, done, event, logprob};
use crate::ask::{Ask, Stop};
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::log::Usage;
use crate::plan::{Body, Plan, PlannedChoice};
use crate::playback::{Events, Rendered};
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The protocol's default.
const DEFAULT_LIMIT: i64 = 16;

#[derive(Deserialize)]
struct Request {
    model: String,
    prompt: Texts,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    max_tokens: Option<i64>,
    #[serde(default)]
    logprobs: Option<u64>,
    #[serde(default)]
    echo: Option<bool>,
}

/// Continues a text.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let mut request: Request = match parse(&body) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let model = std::mem::take(&mut request.model);
    let head = Head {
        dialect: Dialect::OPENAI,
        admitted: sim.authorise(&headers),
        endpoint: "/v1/completions",
        model: &model,
        stream: request.stream.unwrap_or(false),
        service_tier: None,
        metadata: None,
    };
    sim.serve(&headers, head, |turn| answer(turn, request)).await
}

fn answer(turn: &mut Turn, request: Request) -> Result<Reply, SimError> {
    let prompts = request.prompt.into_texts();
    if prompts.is_empty() {
        return Err(SimError::invalid("prompt", "prompt: [] is too short: expected at least one prompt"));
    }
    let stop = request.stop.map(Stop::into_list).unwrap_or_default();
    let mut plan = Plan { choices: Vec::new(), usage: Usage::default(), thinking: Vec::new() };
    for prompt in &prompts {
        let mut ask = Ask { stop: stop.clone(), ..Ask::default() };
        ask.set_answers(request.n)?;
        ask.set_limit("max_tokens", Some(request.max_tokens.unwrap_or(DEFAULT_LIMIT)))?;
        ask.say("user", prompt);
        let one = turn.plan(ask)?;
        plan.choices.extend(one.choices);
        plan.usage.prompt += one.usage.prompt;
        plan.usage.cached += one.usage.cached;
        plan.usage.completion += one.usage.completion;
        plan.usage.reasoning += one.usage.reasoning;
    }
    let id = turn.id("cmpl-", 29);
    let finish = plan.choices.first().map_or("", |c| c.finish.as_str());
    let echoed = |index: usize| -> &str {
        let prompt = prompts.get(index * prompts.len() / plan.choices.len().max(1));
        if request.echo.unwrap_or(false) { prompt.map_or("", String::as_str) } else { "" }
    };
    let completion = |choices: Value, usage: Option<Value>| {
        let mut completion = json!({
            "id": id, "object": "text_completion", "created": turn.created, "model": turn.model,
            "choices": choices, "system_fingerprint": super::FINGERPRINT,
        });
        if let Some(usage) = usage {
            completion["usage"] = usage;
        }
        completion
    };
    let reports = turn.behaviour.reports_usage;
    let rendered = if request.stream.unwrap_or(false) {
        let include = reports && request.stream_options.unwrap_or_default().include_usage.unwrap_or(false);
        let blank = include.then_some(Value::Null);
        let mut tokens = plan.usage.reasoning;
        let mut frames = Vec::new();
        for (index, choice) in plan.choices.iter().enumerate() {
            let pieces = pieces(choice);
            for (at, piece) in pieces.iter().enumerate() {
                tokens += 1;
                let text = if at == 0 { format!("{}{piece}", echoed(index)) } else { piece.clone() };
                let logs = request.logprobs.map(|top| logprobs(std::slice::from_ref(piece), top));
                let chunk = json!([{"text": text, "index": index, "logprobs": logs, "finish_reason": null}]);
                frames.push(event(None, &completion(chunk, blank.clone()), tokens));
            }
            let end = json!([{"text": "", "index": index, "logprobs": null, "finish_reason": choice.finish.as_str()}]);
            frames.push(event(None, &completion(end, blank.clone()), tokens));
        }
        if include {
            frames.push(event(None, &completion(json!([]), Some(completion_usage(plan.usage))), tokens));
        }
        frames.push(done(tokens));
        Rendered::Stream(Events::sse(frames, turn.broken()))
    } else {
        let choices = plan.choices.iter().enumerate().map(|(index, choice)| {
            let pieces = pieces(choice);
            let text = format!("{}{}", echoed(index), pieces.concat());
            let logs = request.logprobs.map(|top| logprobs(pieces, top));
            json!({"text": text, "index": index, "logprobs": logs, "finish_reason": choice.finish.as_str()})
        });
        let usage = reports.then(|| completion_usage(plan.usage));
        Rendered::Whole(Bytes::from(completion(choices.collect(), usage).to_string()))
    };
    Ok(Reply { id, usage: plan.usage, finish, rendered })
}

/// Text completions never call tools.
fn pieces(choice: &PlannedChoice) -> &[String] {
    match &choice.body {
        Body::Text(pieces) => pieces,
        Body::Calls { said, .. } => said,
    }
}

fn logprobs(pieces: &[String], top: u64) -> Value {
    let mut offset = 0;
    let offsets: Vec<usize> = pieces
        .iter()
        .map(|piece| {
            let at = offset;
            offset += piece.len();
            at
        })
        .collect();
    let alternatives: Vec<Map<String, Value>> = pieces
        .iter()
        .map(|piece| {
            let ranked = (0..top).map(|rank| {
                let token = if rank == 0 { piece.clone() } else { format!("{piece}{rank}") };
                let probability = json!(logprob(&token, rank));
                (token, probability)
            });
            ranked.collect()
        })
        .collect();
    json!({
        "tokens": pieces, "text_offset": offsets, "top_logprobs": alternatives,
        "token_logprobs": pieces.iter().map(|p| logprob(p, 0)).collect::<Vec<_>>(),
    })
}
