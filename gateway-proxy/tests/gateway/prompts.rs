//! Prompts by name.

use crate::support::{Collector, Gateway, Upstream, config, json, snapshot};
use contracts::policy::prompt::Prompt;
use contracts::policy::{
    Model, Named, Protocol, Provider, ProviderSettings, Route, RoutePolicy, Snapshot, Speaks,
};
use http::StatusCode;
use std::sync::Arc;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// The usual policy, with a prompt of two versions of which the first is in production.
fn prompted(upstream: &Upstream) -> Snapshot {
    let mut snapshot = snapshot(upstream.addr, false);
    let name = "greeting".parse().unwrap();
    for (version, text) in [(1, "Be kind to {{ who }}."), (2, "Be brief with {{ who }}.")] {
        let spec: Prompt = serde_json::from_value(serde_json::json!({
            "messages": [{"role": "system", "content": text}],
            "variables": {"type": "object", "properties": {"who": {"type": "string", "default": "everybody"}}, "additionalProperties": false},
            "defaults": {"model": "gpt-4o-mini", "max_tokens": 9},
        }))
        .unwrap();
        spec.validate().unwrap();
        let named =
            Arc::new(Named { tenant: None, name: "greeting".parse().unwrap(), revision: version, spec });
        if version == 1 {
            let policy = RoutePolicy { prompt: Some(named.clone()), ..RoutePolicy::default() };
            let route =
                Route { policy: Ok(policy), ..Route::new("polite".parse().unwrap(), "pro".parse().unwrap()) };
            snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
        }
        snapshot.prompts.insert(None, &name, version, Ok(named));
    }
    snapshot.prompts.label(None, &name, "production".into(), 1);
    snapshot
}

#[tokio::test]
async fn a_call_names_its_prompt_and_the_trace_its_version() {
    let collector = Collector::start().await;
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(Some(&collector)), prompted(&upstream));
    for (prompt, expected) in [
        (r#"{"name":"greeting","variables":{"who":"Ann"}}"#, "Be kind to Ann."),
        (r#"{"name":"greeting","version":2}"#, "Be brief with everybody."),
    ] {
        let body = format!(r#"{{"prompt":{prompt},"messages":[{{"role":"user","content":"Hello"}}]}}"#);
        let answer = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let sent = upstream.received().last().unwrap().json();
        assert_eq!(sent["messages"][0]["content"], expected);
        assert_eq!(sent["messages"][1]["content"], "Hello");
        assert!(sent.get("prompt").is_none());
        assert_eq!(sent["model"], "gpt-4o-mini");
    }
    let calls = collector.calls(2).await;
    let mut versions: Vec<&str> = calls.iter().map(|call| call.get("gen_ai.prompt.version")).collect();
    versions.sort_unstable();
    assert_eq!(versions, ["1", "2"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_prompt_is_said_by_its_field() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(None), prompted(&upstream));
    for (prompt, field) in [
        (r#"{"name":"greeting","variables":{"who":7}}"#, "prompt.variables.who"),
        (r#"{"name":"greeting","label":"staging"}"#, "prompt"),
        (r#"{"name":"nope"}"#, "prompt"),
        (r#"{"name":"greeting","version":0}"#, "prompt.version"),
    ] {
        let body = format!(
            r#"{{"model":"pro","prompt":{prompt},"messages":[{{"role":"user","content":"Hello"}}]}}"#
        );
        let answer = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{prompt}: {}", answer.text());
        let error = answer.json()["error"].clone();
        assert_eq!(error["param"], field, "{prompt}: {error}");
        assert!(error["message"].as_str().unwrap().starts_with(&format!("{field}: ")), "{error}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_route_brings_its_prompt_and_text_of_that_name_is_text() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(None), prompted(&upstream));
    let body = r#"{"model":"polite","messages":[{"role":"user","content":"what is a \"prompt\"?"}]}"#;
    gateway.post("/v1/chat/completions", body).await;
    let sent = upstream.received()[0].json();
    assert_eq!(sent["messages"][0]["content"], "Be kind to everybody.");
    assert_eq!(sent["model"], "pro-2025");
    gateway.post("/v1/completions", r#"{"model":"pro","prompt":"once"}"#).await;
    assert_eq!(upstream.received()[1].json()["prompt"], "once");
}

#[tokio::test]
async fn tokens_are_counted_with_the_prompt_and_without_what_is_for_us_alone() {
    let upstream = Upstream::always(json(200, r#"{"input_tokens":7}"#)).await;
    let mut snapshot = prompted(&upstream);
    for model in snapshot.models.values_mut() {
        let speaks = Speaks { protocol: Protocol::Anthropic, settings: ProviderSettings::default() };
        let provider = Provider { speaks: Ok(speaks), ..Provider::clone(&model.provider) };
        *model = Arc::new(Model { provider: Arc::new(provider), ..Model::clone(model) });
    }
    let gateway = Gateway::start(config(None), snapshot);
    let rest = r#""messages":[{"role":"user","content":"Hi"}],"control_tower.context":[{"text":"Paris"}]"#;
    for (asked, model, said) in [
        (r#""prompt":{"name":"greeting","variables":{"who":"Ann"}}"#, "gpt-4o-mini", "Be kind to Ann."),
        (r#""model":"polite""#, "pro-2025", "Be kind to everybody."),
    ] {
        let counted = gateway.post("/v1/messages/count_tokens", format!("{{{asked},{rest}}}")).await;
        assert_eq!(counted.status, StatusCode::OK, "{}", counted.text());
        assert_eq!(counted.json()["input_tokens"], 7);
        let sent = upstream.received().last().unwrap().json();
        let messages = serde_json::json!([{"role": "user", "content": "Hi"}]);
        assert_eq!(sent, serde_json::json!({"model": model, "system": said, "messages": messages}));
    }
}
