//! `POST /v1/chat/completions`.

use super::{azure, choice, completion_usage, done, event, format, logprobs, tools};
use crate::ask::{Ask, Content, Stop, Thinking};
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::plan::{Body, Plan, PlannedCall, PlannedChoice};
use crate::playback::{Events, Frame, Rendered};
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;

#[derive(Deserialize)]
struct Request {
    /// Azure names it in the path.
    #[serde(default)]
    model: String,
    messages: Vec<Message>,
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
    max_completion_tokens: Option<i64>,
    #[serde(default)]
    logprobs: Option<bool>,
    #[serde(default)]
    top_logprobs: Option<u64>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    response_format: Option<Value>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
}

#[derive(Deserialize, Default, Clone, Copy)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    /// Calls that the model made before.
    #[serde(default)]
    tool_calls: Option<Vec<Called>>,
    /// The call that this is the result of.
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct Called {
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

/// Answers a conversation.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let asker = Asker {
        dialect: Dialect::OpenAi(sim.deployment().engine()),
        admitted: sim.authorise(&headers),
        endpoint: "/v1/chat/completions",
        model: None,
    };
    chat(&sim, &headers, &body, asker).await
}

/// Who asks, and where.
pub(super) struct Asker {
    pub(super) dialect: Dialect,
    pub(super) admitted: Result<(), SimError>,
    pub(super) endpoint: &'static str,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
}

/// Answers a conversation wherever the protocol is spoken.
pub(super) async fn chat(sim: &Sim, headers: &HeaderMap, body: &[u8], asker: Asker) -> Response {
    let mut request: Request = match parse(body) {
        Ok(request) => request,
        Err(error) => return error.answer(asker.dialect),
    };
    let model = asker.model.unwrap_or_else(|| std::mem::take(&mut request.model));
    if model.is_empty() {
        return SimError::invalid("model", "model: missing: you must provide a model").answer(asker.dialect);
    }
    let metadata = request.metadata.take();
    let tier = request.service_tier.take();
    let head = Head {
        dialect: asker.dialect,
        admitted: asker.admitted,
        endpoint: asker.endpoint,
        model: &model,
        stream: request.stream.unwrap_or(false),
        service_tier: tier.as_deref(),
        metadata: metadata.as_ref(),
    };
    sim.serve(headers, head, |turn| answer(turn, request)).await
}

fn answer(turn: &mut Turn, request: Request) -> Result<Reply, SimError> {
    let top = match (request.logprobs, request.top_logprobs) {
        (Some(true), top @ (None | Some(0..=20))) => Some(top.unwrap_or(0)),
        (_, Some(top)) => {
            let message = format!("top_logprobs: {top} is not valid: expected 0 to 20, with logprobs");
            return Err(SimError::invalid("top_logprobs", message));
        }
        _ => None,
    };
    let stream = request.stream.unwrap_or(false);
    let engine = turn.engine();
    if engine.always_reports() && request.stream_options.is_some() {
        let message = "stream_options: Extra inputs are not permitted";
        return Err(SimError { status: 422, ..SimError::invalid("stream_options", message) });
    }
    let include_usage = request.stream_options.unwrap_or_default().include_usage.unwrap_or(false);
    let include_usage = include_usage || engine.always_reports();
    let mut ask = question(request)?;
    if engine.thoughts().is_some() && turn.behaviour.reasoning_tokens > 0 {
        ask.thinking = Thinking::On(u64::MAX);
    }
    let plan = turn.plan(ask)?;
    let id = turn.id("chatcmpl-", 29);
    let finish = plan.choices.first().map_or("", |c| c.finish.as_str());
    let usage = plan.usage;
    let call_ids = plan.choices.iter().map(|choice| call_ids(turn, choice)).collect();
    let writer = Writer { turn, id: &id, plan: &plan, call_ids, top };
    let rendered = if stream {
        let mut frames = writer.chunks(include_usage && turn.behaviour.reports_usage);
        if turn.dialect() == Dialect::Azure {
            frames.insert(0, event(None, &azure::opening(&turn.model), 0));
        }
        Rendered::Stream(Events::sse(frames, turn.broken()))
    } else {
        let mut completion = writer.completion();
        if turn.dialect() == Dialect::Azure {
            azure::annotate(&mut completion);
        }
        Rendered::Whole(Bytes::from(completion.to_string()))
    };
    Ok(Reply { id, usage, finish, rendered })
}

fn question(request: Request) -> Result<Ask, SimError> {
    if request.messages.is_empty() {
        return Err(SimError::invalid(
            "messages",
            "messages: [] is too short: expected at least one message",
        ));
    }
    let mut ask = Ask {
        tools: tools(request.tools),
        choice: choice(request.tool_choice.as_ref()),
        format: format(request.response_format.as_ref()),
        stop: request.stop.map(Stop::into_list).unwrap_or_default(),
        ..Ask::default()
    };
    ask.one_call = request.parallel_tool_calls == Some(false);
    ask.set_answers(request.n)?;
    match request.max_completion_tokens {
        Some(_) => ask.set_limit("max_completion_tokens", request.max_completion_tokens)?,
        None => ask.set_limit("max_tokens", request.max_tokens)?,
    }
    let mut open = Vec::new();
    for (index, message) in request.messages.into_iter().enumerate() {
        if !["system", "developer", "user", "assistant", "tool", "function"].contains(&message.role.as_str())
        {
            let param = format!("messages[{index}].role");
            let message = format!(
                "{param}: {:?} is not valid: expected system, developer, user, assistant, tool or function",
                message.role
            );
            return Err(SimError::invalid(&param, message));
        }
        open = results(index, &message, open)?;
        let text = message.content.map(Content::into_text).unwrap_or_default();
        ask.say(&message.role, &text);
        for call in message.tool_calls.iter().flatten() {
            ask.block(&format!("{} {}", call.function.name, call.function.arguments));
        }
    }
    match open.first() {
        Some(id) => Err(unanswered(id)),
        None => Ok(ask),
    }
}

/// Checks that results follow the calls they answer, all of them; returns the calls that are open after this message.
fn results(index: usize, message: &Message, mut open: Vec<String>) -> Result<Vec<String>, SimError> {
    if message.role == "tool" {
        let place = open.iter().position(|id| Some(id) == message.tool_call_id.as_ref());
        let Some(place) = place else {
            let param = format!("messages[{index}].tool_call_id");
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            let message = format!(
                "{param}: {id:?} is not valid: messages with role 'tool' must be a response to a preceding message with \
                 'tool_calls'."
            );
            return Err(SimError::invalid(&param, message));
        };
        open.remove(place);
        return Ok(open);
    }
    match open.first() {
        Some(id) => Err(unanswered(id)),
        None => Ok(message.tool_calls.iter().flatten().map(|call| call.id.clone()).collect()),
    }
}

fn unanswered(id: &str) -> SimError {
    SimError::invalid(
        "messages",
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: {id}"
        ),
    )
}

fn call_ids(turn: &mut Turn, choice: &PlannedChoice) -> Vec<String> {
    match &choice.body {
        Body::Calls { calls, .. } => {
            let (prefix, letters) = turn.engine().call_id();
            calls.iter().map(|_| turn.id(prefix, letters)).collect()
        }
        Body::Text(_) => Vec::new(),
    }
}

struct Writer<'a> {
    turn: &'a Turn,
    id: &'a str,
    plan: &'a Plan,
    /// By choice, then by call.
    call_ids: Vec<Vec<String>>,
    /// Alternatives a token, when log probabilities were asked for.
    top: Option<u64>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: &'a [ChunkChoice<'a>],
    /// `null` on all chunks but the last when usage was asked for, absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallDelta<'a>; 1]>,
}

/// `null` opens an answer without text, which is not the same as no field.
#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Null,
    Said(&'a str),
}

#[derive(Serialize)]
struct CallDelta<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'static str>,
    function: FunctionDelta<'a>,
}

#[derive(Serialize)]
struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl Writer<'_> {
    /// The field for thoughts, if there are some to show.
    fn thoughts(&self) -> Option<&'static str> {
        self.turn.engine().thoughts().filter(|_| !self.plan.thinking.is_empty())
    }

    fn completion(&self) -> Value {
        let choices: Vec<Value> = self
            .plan
            .choices
            .iter()
            .zip(&self.call_ids)
            .enumerate()
            .map(|(index, (choice, ids))| self.choice(index, choice, ids))
            .collect();
        let mut completion = json!({
            "id": self.id, "object": "chat.completion", "created": self.turn.created, "model": self.turn.model,
            "choices": choices, "service_tier": self.turn.service_tier, "system_fingerprint": super::FINGERPRINT,
        });
        if self.turn.behaviour.reports_usage {
            completion["usage"] = completion_usage(self.plan.usage);
        }
        completion
    }

    fn choice(&self, index: usize, choice: &PlannedChoice, ids: &[String]) -> Value {
        let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
        let mut logs = Value::Null;
        if let Some(field) = self.thoughts().filter(|_| index == 0) {
            message[field] = json!(self.plan.thinking.concat());
        }
        match &choice.body {
            Body::Text(pieces) => {
                message["content"] = json!(pieces.concat());
                if let Some(top) = self.top {
                    logs = json!({"content": logprobs(pieces, top), "refusal": null});
                }
            }
            Body::Calls { said, calls } => {
                if !said.is_empty() {
                    message["content"] = json!(said.concat());
                }
                let call = |(call, id): (&PlannedCall, &String)| {
                    json!({"id": id, "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments.concat()}})
                };
                message["tool_calls"] = calls.iter().zip(ids).map(call).collect();
            }
        }
        json!({"index": index, "message": message, "logprobs": logs, "finish_reason": choice.finish.as_str()})
    }

    /// Every choice's deltas in turn, as its tokens come, then the ends, the usage and the terminator.
    fn chunks(&self, include_usage: bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        // Reasoning is over before the first token shows, unless it is shown itself.
        let shown = self.thoughts().map_or(0, |_| self.plan.thinking.len() as u64);
        let mut tokens = self.plan.usage.reasoning - shown;
        let mut push = |choice: ChunkChoice<'_>, tokens: u64| {
            frames.push(self.chunk(&[choice], include_usage.then_some(Value::Null), tokens));
        };
        for (index, choice) in self.plan.choices.iter().enumerate() {
            let opening = if matches!(choice.body, Body::Text(_)) { Text::Said("") } else { Text::Null };
            let delta = Delta { role: Some("assistant"), content: Some(opening), ..Delta::default() };
            push(plain(index, delta), tokens);
        }
        for thought in self.thoughts().iter().flat_map(|_| &self.plan.thinking) {
            tokens += 1;
            let delta = match self.thoughts() {
                Some("reasoning") => Delta { reasoning: Some(thought), ..Delta::default() },
                _ => Delta { reasoning_content: Some(thought), ..Delta::default() },
            };
            push(plain(0, delta), tokens);
        }
        for (index, (choice, ids)) in self.plan.choices.iter().zip(&self.call_ids).enumerate() {
            match &choice.body {
                Body::Text(pieces) => {
                    for piece in pieces {
                        tokens += 1;
                        let logprobs = self
                            .top
                            .map(|top| json!({"content": logprobs(std::slice::from_ref(piece), top), "refusal": null}));
                        let delta = Delta { content: Some(Text::Said(piece)), ..Delta::default() };
                        push(ChunkChoice { logprobs, ..plain(index, delta) }, tokens);
                    }
                }
                Body::Calls { said, calls } => {
                    for piece in said {
                        tokens += 1;
                        push(
                            plain(index, Delta { content: Some(Text::Said(piece)), ..Delta::default() }),
                            tokens,
                        );
                    }
                    for (at, (call, id)) in calls.iter().zip(ids).enumerate() {
                        for delta in call_deltas(at, call, id) {
                            tokens += 1;
                            push(plain(index, delta), tokens);
                        }
                    }
                }
            }
        }
        let usage = || completion_usage(self.plan.usage);
        let in_last_choice = self.turn.engine().always_reports();
        for (index, choice) in self.plan.choices.iter().enumerate() {
            let end =
                ChunkChoice { finish_reason: Some(choice.finish.as_str()), ..plain(index, Delta::default()) };
            let is_told = in_last_choice && index + 1 == self.plan.choices.len();
            let told = include_usage.then(|| if is_told { usage() } else { Value::Null });
            frames.push(self.chunk(&[end], told, tokens));
        }
        if include_usage && !in_last_choice {
            frames.push(self.chunk(&[], Some(usage()), tokens));
        }
        frames.push(done(tokens));
        frames
    }

    fn chunk(&self, choices: &[ChunkChoice<'_>], usage: Option<Value>, tokens: u64) -> Frame {
        let chunk = Chunk {
            id: self.id,
            object: "chat.completion.chunk",
            created: self.turn.created,
            model: &self.turn.model,
            service_tier: self.turn.service_tier,
            system_fingerprint: super::FINGERPRINT,
            choices,
            usage,
        };
        event(None, &chunk, tokens)
    }
}

fn plain(index: usize, delta: Delta<'_>) -> ChunkChoice<'_> {
    ChunkChoice { index, delta, logprobs: None, finish_reason: None }
}

/// The call's name, then its arguments token by token.
fn call_deltas<'a>(index: usize, call: &'a PlannedCall, id: &'a str) -> impl Iterator<Item = Delta<'a>> {
    let delta = move |id, kind, name, arguments| Delta {
        tool_calls: Some([CallDelta { index, id, kind, function: FunctionDelta { name, arguments } }]),
        ..Delta::default()
    };
    let opening = delta(Some(id), Some("function"), Some(call.name.as_str()), "");
    std::iter::once(opening).chain(call.arguments.iter().map(move |piece| delta(None, None, None, piece)))
}
