//! `POST /v1/responses`.

use super::{choice, event, format, logprobs, tools};
use crate::ask::{Ask, Content};
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::log::Usage;
use crate::plan::{Body, Finish, Plan, PlannedCall};
use crate::playback::{Events, Frame, Rendered};
use crate::sim::{Head, Reply, Sim, Turn, parse};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

#[derive(Deserialize)]
struct Request {
    model: String,
    #[serde(default)]
    input: Option<Input>,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_output_tokens: Option<i64>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    text: Option<Value>,
    #[serde(default)]
    top_logprobs: Option<u64>,
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    store: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<Content>,
    /// Result of a call.
    #[serde(default)]
    output: Option<Content>,
    /// A call that the model made before.
    #[serde(default)]
    arguments: Option<String>,
}

/// Answers an input.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let admitted = sim.authorise(&headers);
    responses(&sim, &headers, &body, (Dialect::OPENAI, "/v1/responses", admitted)).await
}

/// Answers an input, in this dress.
pub(super) async fn responses(
    sim: &Sim,
    headers: &HeaderMap,
    body: &Bytes,
    (dialect, endpoint, admitted): (Dialect, &'static str, Result<(), SimError>),
) -> Response {
    let mut request: Request = match parse(body) {
        Ok(request) => request,
        Err(error) => return error.answer(dialect),
    };
    let model = std::mem::take(&mut request.model);
    let metadata = request.metadata.clone();
    let tier = request.service_tier.take();
    let head = Head {
        dialect,
        admitted,
        endpoint,
        model: &model,
        stream: request.stream.unwrap_or(false),
        service_tier: tier.as_deref(),
        metadata: metadata.as_ref(),
    };
    sim.serve(headers, head, |turn| answer(turn, &request)).await
}

fn answer(turn: &mut Turn, request: &Request) -> Result<Reply, SimError> {
    let plan = turn.plan(question(request)?)?;
    let id = turn.id("resp_", 48);
    let usage = plan.usage;
    let Some(finish) = plan.choices.first().map(|c| c.finish) else {
        return Err(SimError::of_status(500));
    };
    let items = items(turn, request, &plan);
    let writer = Writer { turn, request, id: &id, usage, finish, items };
    let rendered = if request.stream.unwrap_or(false) {
        let frames = writer.events();
        let broken = broken(frames.len() / 2);
        Rendered::Stream(Events::sse(frames, broken))
    } else {
        let items: Vec<Value> = writer.items.iter().map(|item| item.whole(writer.status())).collect();
        Rendered::Whole(Bytes::from(writer.response(writer.status(), &items, true).to_string()))
    };
    Ok(Reply { id, usage, finish: finish.as_str(), rendered })
}

/// The event of this number that ends a stream when the model fails.
fn broken(number: usize) -> Bytes {
    let error = SimError::broken();
    let data = json!({
        "type": "error", "code": error.kind, "message": error.message, "param": null, "sequence_number": number,
    });
    event(Some("error"), &data, 0).bytes
}

fn question(request: &Request) -> Result<Ask, SimError> {
    let mut ask = Ask {
        tools: tools(request.tools.clone()),
        choice: choice(request.tool_choice.as_ref()),
        format: format(request.text.as_ref().and_then(|text| text.get("format"))),
        answers: 1,
        one_call: request.parallel_tool_calls == Some(false),
        ..Ask::default()
    };
    ask.set_limit("max_output_tokens", request.max_output_tokens)?;
    if let Some(instructions) = &request.instructions {
        ask.say("system", instructions);
    }
    match &request.input {
        Some(Input::Text(text)) => ask.say("user", text),
        Some(Input::Items(items)) => {
            for item in items {
                let text = item.content.clone().or_else(|| item.output.clone()).map(Content::into_text);
                let role =
                    if item.output.is_some() { "tool" } else { item.role.as_deref().unwrap_or("assistant") };
                ask.say(role, &text.or_else(|| item.arguments.clone()).unwrap_or_default());
            }
        }
        None => return Err(SimError::invalid("input", "input: missing: expected a text or a list of items")),
    }
    Ok(ask)
}

/// An item of the answer.
enum OutItem {
    Reasoning { id: String },
    Message { id: String, pieces: Vec<String>, top: Option<u64> },
    Call { id: String, call_id: String, call: PlannedCall },
}

fn items(turn: &mut Turn, request: &Request, plan: &Plan) -> Vec<OutItem> {
    let mut items = Vec::new();
    if plan.usage.reasoning > 0 {
        items.push(OutItem::Reasoning { id: turn.id("rs_", 48) });
    }
    let asked = request.include.iter().flatten().any(|what| what == "message.output_text.logprobs");
    let top = asked.then(|| request.top_logprobs.unwrap_or(0));
    for choice in &plan.choices {
        match &choice.body {
            Body::Text(pieces) => {
                items.push(OutItem::Message { id: turn.id("msg_", 48), pieces: pieces.clone(), top });
            }
            Body::Calls { said, calls } => {
                if !said.is_empty() {
                    items.push(OutItem::Message { id: turn.id("msg_", 48), pieces: said.clone(), top });
                }
                items.extend(calls.iter().map(|call| OutItem::Call {
                    id: turn.id("fc_", 48),
                    call_id: turn.id("call_", 24),
                    call: call.clone(),
                }));
            }
        }
    }
    items
}

impl OutItem {
    /// The item before anything of it was said.
    fn opening(&self) -> Value {
        match self {
            Self::Reasoning { id } => json!({"id": id, "type": "reasoning", "summary": []}),
            Self::Message { id, .. } => {
                json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []})
            }
            Self::Call { id, call_id, call } => json!({
                "id": id, "type": "function_call", "status": "in_progress",
                "call_id": call_id, "name": call.name, "arguments": "",
            }),
        }
    }

    /// The item in full; `status` is the response's.
    fn whole(&self, status: &str) -> Value {
        match self {
            Self::Reasoning { .. } => self.opening(),
            Self::Message { id, pieces, top } => json!({
                "id": id, "type": "message", "status": status, "role": "assistant", "content": [part(pieces, *top)],
            }),
            Self::Call { id, call_id, call } => json!({
                "id": id, "type": "function_call", "status": "completed",
                "call_id": call_id, "name": call.name, "arguments": call.arguments.concat(),
            }),
        }
    }
}

fn part(pieces: &[String], top: Option<u64>) -> Value {
    let logs = top.map_or_else(|| json!([]), |top| logprobs(pieces, top));
    json!({"type": "output_text", "annotations": [], "logprobs": logs, "text": pieces.concat()})
}

struct Writer<'a> {
    turn: &'a Turn,
    request: &'a Request,
    id: &'a str,
    usage: Usage,
    finish: Finish,
    items: Vec<OutItem>,
}

/// The events so far; each carries its number.
struct Sequenced {
    frames: Vec<Frame>,
    tokens: u64,
}

impl Sequenced {
    fn push(&mut self, name: &str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.frames.len());
        self.frames.push(event(Some(name), &data, self.tokens));
    }
}

impl Writer<'_> {
    /// Why the answer is not whole, if so.
    fn cut_short(&self) -> Option<&'static str> {
        match self.finish {
            Finish::Length => Some("max_output_tokens"),
            Finish::Filtered => Some("content_filter"),
            Finish::Stop | Finish::ToolCalls => None,
        }
    }

    fn status(&self) -> &'static str {
        if self.cut_short().is_some() { "incomplete" } else { "completed" }
    }

    fn response(&self, status: &str, output: &[Value], ended: bool) -> Value {
        let (request, usage) = (self.request, self.usage);
        let incomplete =
            self.cut_short().filter(|_| status == "incomplete").map(|reason| json!({"reason": reason}));
        let reported = ended && self.turn.behaviour.reports_usage;
        let usage = reported.then(|| {
            json!({
                "input_tokens": usage.prompt,
                "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
                "output_tokens": usage.completion,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.prompt + usage.completion,
            })
        });
        json!({
            "id": self.id, "object": "response", "created_at": self.turn.created, "status": status,
            "background": false, "error": null, "incomplete_details": incomplete,
            "instructions": request.instructions, "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": null, "model": self.turn.model, "output": output,
            "parallel_tool_calls": request.parallel_tool_calls.unwrap_or(true),
            "previous_response_id": request.previous_response_id, "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null}, "safety_identifier": null,
            "service_tier": self.turn.service_tier, "store": request.store.unwrap_or(true),
            "temperature": request.temperature.unwrap_or(1.0),
            "text": request.text.clone().unwrap_or_else(|| json!({"format": {"type": "text"}, "verbosity": "medium"})),
            "tool_choice": request.tool_choice.clone().unwrap_or_else(|| json!("auto")),
            "tools": request.tools.clone().unwrap_or_default(), "top_logprobs": request.top_logprobs.unwrap_or(0),
            "top_p": request.top_p.unwrap_or(1.0), "truncation": "disabled", "usage": usage, "user": null,
            "metadata": request.metadata.clone().unwrap_or_default(),
        })
    }

    fn events(&self) -> Vec<Frame> {
        let mut events = Sequenced { frames: Vec::new(), tokens: 0 };
        let opening = self.response("in_progress", &[], false);
        events.push("response.created", json!({"response": opening.clone()}));
        events.push("response.in_progress", json!({"response": opening}));
        for (index, item) in self.items.iter().enumerate() {
            events.push("response.output_item.added", json!({"output_index": index, "item": item.opening()}));
            match item {
                OutItem::Reasoning { .. } => events.tokens += self.usage.reasoning,
                OutItem::Message { id, pieces, top } => text_events(&mut events, index, id, pieces, *top),
                OutItem::Call { id, call, .. } => call_events(&mut events, index, id, call),
            }
            let whole = item.whole(self.status());
            events.push("response.output_item.done", json!({"output_index": index, "item": whole}));
        }
        let output: Vec<Value> = self.items.iter().map(|item| item.whole(self.status())).collect();
        let last = if self.cut_short().is_some() { "response.incomplete" } else { "response.completed" };
        events.push(last, json!({"response": self.response(self.status(), &output, true)}));
        events.frames
    }
}

fn text_events(events: &mut Sequenced, index: usize, id: &str, pieces: &[String], top: Option<u64>) {
    let place = |mut data: Value| {
        data["item_id"] = json!(id);
        data["output_index"] = json!(index);
        data["content_index"] = json!(0);
        data
    };
    let logs = |pieces: &[String]| top.map_or_else(|| json!([]), |top| logprobs(pieces, top));
    let empty = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": ""});
    events.push("response.content_part.added", place(json!({"part": empty})));
    for piece in pieces {
        events.tokens += 1;
        let delta = json!({"delta": piece, "logprobs": logs(std::slice::from_ref(piece))});
        events.push("response.output_text.delta", place(delta));
    }
    events
        .push("response.output_text.done", place(json!({"text": pieces.concat(), "logprobs": logs(pieces)})));
    events.push("response.content_part.done", place(json!({"part": part(pieces, top)})));
}

fn call_events(events: &mut Sequenced, index: usize, id: &str, call: &PlannedCall) {
    // The name counts as a token of its own.
    events.tokens += 1;
    for piece in &call.arguments {
        events.tokens += 1;
        events.push(
            "response.function_call_arguments.delta",
            json!({"item_id": id, "output_index": index, "delta": piece}),
        );
    }
    events.push(
        "response.function_call_arguments.done",
        json!({"item_id": id, "output_index": index, "name": call.name, "arguments": call.arguments.concat()}),
    );
}
