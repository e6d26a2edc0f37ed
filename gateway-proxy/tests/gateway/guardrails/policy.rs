//! Policies with guardrails, and answers that models give.

use crate::support::{Gateway, Step, Upstream, config, json, snapshot, sse};
use contracts::policy::cache::Cache;
use contracts::policy::cascade::Cascade;
use contracts::policy::guardrail::Guardrail;
use contracts::policy::{Named, Protocol, Provider, ProviderSettings, Route, RoutePolicy, Snapshot, Speaks};
use serde_json::{Value, json};
use std::sync::Arc;

pub const CHAT: &str = "/v1/chat/completions";
pub const RESPONSES: &str = "/v1/responses";
pub const MESSAGES: &str = "/v1/messages";

/// Sixteen digits are masked both ways, `forbidden` blocks both ways; `weather` is the only tool.
pub fn usual() -> Value {
    let rules = json!([
        {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}}, "action": {"mask": {"with": "[card]"}}},
        {"name": "words", "check": {"topics": {"deny": ["forbidden fruit"]}}, "action": "block"},
        {"name": "notes", "check": {"topics": {"deny": ["remarkable"]}}, "action": "flag"},
    ]);
    json!({"input": rules, "output": rules,
        "tools": {"allow": [{"name": "weather", "arguments": {"type": "object", "required": ["city"],
            "properties": {"city": {"type": "string"}}, "additionalProperties": false}}]},
        "refusals": {"en": "No: {rule}.", "de": "Nein: {rule}."}})
}

pub fn named<D>(name: &str, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision: 1, spec })
}

pub fn guardrail(name: &str, spec: &Value) -> Arc<Named<Guardrail>> {
    let spec: Guardrail = serde_json::from_value(spec.clone()).unwrap();
    spec.validate().unwrap();
    named(name, spec)
}

/// What a route does beside its guardrails.
#[derive(Default)]
pub struct More {
    pub cascade: Option<Value>,
    pub cache: Option<Value>,
    pub capture: bool,
    /// What the provider of `gpt-4o-mini` speaks.
    pub speaks: Protocol,
}

/// The usual policy with a route `route` to `gpt-4o-mini`, whose provider speaks as `more` says, with these guardrails.
pub fn guarded(upstream: &Upstream, guardrails: &[Value], more: &More) -> Snapshot {
    let mut snapshot = snapshot(upstream.addr, more.capture);
    let mini = "gpt-4o-mini".parse().unwrap();
    let mut model = snapshot.models[&mini].as_ref().clone();
    model.provider = Arc::new(Provider {
        speaks: Ok(Speaks { protocol: more.speaks, settings: ProviderSettings::default() }),
        ..Provider::clone(&model.provider)
    });
    snapshot.models.insert(mini, Arc::new(model));
    let number = |(n, spec): (usize, &Value)| guardrail(&format!("g{n}"), spec);
    let policy = RoutePolicy {
        guardrails: guardrails.iter().enumerate().map(number).collect(),
        cascade: more
            .cascade
            .clone()
            .map(|json| named("climb", serde_json::from_value::<Cascade>(json).unwrap())),
        cache: more.cache.clone().map(|json| named("keep", serde_json::from_value::<Cache>(json).unwrap())),
        ..RoutePolicy::default()
    };
    let route =
        Route { policy: Ok(policy), ..Route::new("route".parse().unwrap(), "gpt-4o-mini".parse().unwrap()) };
    snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
    snapshot
}

pub fn gateway(upstream: &Upstream, guardrails: &[Value]) -> Gateway {
    Gateway::start(config(None), guarded(upstream, guardrails, &More::default()))
}

/// What a provider of a path speaks.
pub fn speaks(path: &str) -> Protocol {
    if path == MESSAGES { Protocol::Anthropic } else { Protocol::OpenAi }
}

/// A request with one message.
pub fn ask(path: &str, text: &str, stream: bool) -> String {
    let mut body = json!({"model": "route", "stream": stream});
    if path == RESPONSES {
        body["input"] = text.into();
    } else {
        body["messages"] = json!([{"role": "user", "content": text}]);
    }
    if path == MESSAGES {
        body["max_tokens"] = 99.into();
    }
    body.to_string()
}

/// A call of a tool.
pub type Call<'a> = (&'a str, &'a str);

/// A whole answer in the protocol of `path`.
pub fn answer(path: &str, text: &str, call: Option<Call<'_>>) -> Value {
    match path {
        MESSAGES => {
            let mut content = vec![json!({"type": "text", "text": text})];
            content.extend(call.map(|(name, arguments)| {
                json!({"type": "tool_use", "id": "t1", "name": name, "input": serde_json::from_str::<Value>(arguments).unwrap()})
            }));
            json!({"id": "m1", "type": "message", "role": "assistant", "model": "gpt-4o-mini", "content": content,
                "stop_reason": if call.is_some() { "tool_use" } else { "end_turn" }, "stop_sequence": null,
                "usage": {"input_tokens": 3, "output_tokens": 2}})
        }
        RESPONSES => {
            let mut output =
                vec![json!({"id": "i1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]})];
            output.extend(call.map(|(name, arguments)| {
                json!({"id": "i2", "type": "function_call", "call_id": "t1", "name": name, "arguments": arguments, "status": "completed"})
            }));
            json!({"id": "r1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-mini",
                "output": output, "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}})
        }
        _ => {
            let mut message = json!({"role": "assistant", "content": text});
            if let Some((name, arguments)) = call {
                message["tool_calls"] = json!([{"id": "t1", "type": "function", "function": {"name": name, "arguments": arguments}}]);
            }
            json!({"id": "c1", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [{"index": 0,
                "message": message, "logprobs": {"content": [{"token": text, "logprob": -1}]},
                "finish_reason": if call.is_some() { "tool_calls" } else { "stop" }}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
        }
    }
}

/// The text of a whole answer, refusals included, and why it ended.
pub fn read(path: &str, answer: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match path {
        MESSAGES => {
            let blocks = answer["content"].as_array().unwrap();
            (blocks.iter().map(|block| text(&block["text"])).collect(), text(&answer["stop_reason"]))
        }
        RESPONSES => {
            let parts =
                answer["output"].as_array().unwrap().iter().filter_map(|item| item["content"].as_array());
            let said = parts.flatten().map(|part| text(&part["text"]) + &text(&part["refusal"])).collect();
            let reason = &answer["incomplete_details"]["reason"];
            (said, if reason.is_string() { text(reason) } else { text(&answer["status"]) })
        }
        _ => {
            let choice = &answer["choices"][0];
            (text(&choice["message"]["content"]), text(&choice["finish_reason"]))
        }
    }
}

/// Why an answer in the protocol of `path` ends that was withheld.
pub fn withheld(path: &str) -> &'static str {
    if path == MESSAGES { "refusal" } else { "content_filter" }
}

/// An upstream that gives this answer.
pub async fn saying(answer: &Value) -> Upstream {
    Upstream::always(json(200, &answer.to_string())).await
}

/// A stream of these bytes, in these pieces.
pub fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Step> {
    let mut from = 0;
    let mut pieces = Vec::new();
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    sse(&pieces)
}
