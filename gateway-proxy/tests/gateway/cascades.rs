//! Routes over several models, and answers that are given again.

use crate::support::{Collector, Gateway, KEY, Step, Upstream, config, json, snapshot, sse};
use contracts::policy::cache::Cache;
use contracts::policy::cascade::Cascade;
use contracts::policy::{Named, Provider, Route, RoutePolicy, Snapshot};
use http::StatusCode;
use std::sync::Arc;

const SCHEMA: &str = r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","required":["city"]}}}"#;

pub fn answer(model: &str, content: &str) -> String {
    let body = serde_json::json!({"id": format!("id-{model}"), "object": "chat.completion", "model": model, "choices": [{"index": 0,
        "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    body.to_string()
}

fn named<D>(name: &str, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision: 1, spec })
}

/// The usual policy, with a route `route` over `gpt-4o-mini` at `small` and `pro` at `large`.
pub fn routed(
    small: &Upstream,
    large: &Upstream,
    cascade: Option<serde_json::Value>,
    cache: Option<serde_json::Value>,
) -> Snapshot {
    let mut snapshot = snapshot(small.addr, false);
    let mut pro = snapshot.models[&"pro".parse().unwrap()].as_ref().clone();
    let provider = Provider::new("sim".parse().unwrap(), format!("http://{}/v1", large.addr));
    pro.provider = Arc::new(provider);
    snapshot.models.insert(pro.name.clone(), Arc::new(pro));
    let policy = RoutePolicy {
        cascade: cascade.map(|json| {
            let cascade: Cascade = serde_json::from_value(json).unwrap();
            cascade.validate().unwrap();
            named("climb", cascade)
        }),
        cache: cache.map(|json| {
            let cache: Cache = serde_json::from_value(json).unwrap();
            cache.validate().unwrap();
            named("keep", cache)
        }),
        ..RoutePolicy::default()
    };
    let route =
        Route { policy: Ok(policy), ..Route::new("route".parse().unwrap(), "gpt-4o-mini".parse().unwrap()) };
    snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
    snapshot
}

fn two_tiers() -> serde_json::Value {
    serde_json::json!({"tiers": [
        {"model": "gpt-4o-mini", "checks": ["refusal_or_empty", "json_schema"]},
        {"model": "pro", "checks": ["json_schema"]},
    ]})
}

fn ask(stream: bool) -> String {
    format!(
        r#"{{"model":"route","messages":[{{"role":"user","content":"Which city?"}}],"stream":{stream},{SCHEMA}}}"#
    )
}

pub fn pieces(model: &str, content: &str) -> Vec<Vec<u8>> {
    let chunk = |delta: serde_json::Value, reason: serde_json::Value| {
        let chunk = serde_json::json!({"id": format!("id-{model}"), "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let usage = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    vec![
        chunk(serde_json::json!({"role": "assistant", "content": ""}), serde_json::Value::Null),
        chunk(serde_json::json!({"content": content}), serde_json::Value::Null),
        chunk(serde_json::json!({}), "stop".into()),
        format!("{usage}\n\n").into_bytes(),
        b"data: [DONE]\n\n".to_vec(),
    ]
}

pub fn streamed(model: &str, content: &str) -> Vec<Step> {
    let pieces = pieces(model, content);
    sse(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_answer_that_does_not_pass_its_check_is_asked_of_the_next_tier() {
    let collector = Collector::start().await;
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "I think it is Rome."))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", r#"{"city":"Rome"}"#))).await;
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(two_tiers()), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], r#"{"city":"Rome"}"#);
    // Both were asked and both are paid: twice $0.000007.
    assert_eq!(answer.header("x-control-tower-cost-usd"), "0.000014");
    let call = collector.call().await;
    let spans = collector.spans();
    let mut tries: Vec<_> = spans.iter().filter(|span| span.kind == 3).collect();
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    let decisions: Vec<&str> = tries.iter().map(|span| span.get("control_tower.cascade.decision")).collect();
    assert_eq!(decisions, ["escalate:invalid_json", "accept:last_tier"]);
    assert!(tries.iter().all(|span| span.get("control_tower.cost.total") == "0.000007"));
    assert_eq!(call.get("control_tower.cascade.decision"), "accept:last_tier");
    assert_eq!(call.get("gen_ai.response.model"), "pro-2025");
    assert_eq!(
        (call.get("control_tower.cost.total"), call.get("gen_ai.usage.input_tokens")),
        ("0.000014", "6")
    );
}

#[tokio::test]
async fn a_good_answer_of_the_cheap_tier_stays() {
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", r#"{"city":"Rome"}"#))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "{}"))).await;
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(two_tiers()), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(answer.header("x-control-tower-model"), "gpt-4o-mini");
    assert!(large.received().is_empty());
}

#[tokio::test]
async fn a_stream_is_held_back_until_it_is_judged() {
    let small = Upstream::always(streamed("gpt-4o-mini", "no json")).await;
    let large = Upstream::always(streamed("pro-2025", r#"{"city":"Rome"}"#)).await;
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(two_tiers()), None));
    let answer = gateway.post("/v1/chat/completions", ask(true)).await;
    assert!(!answer.text().contains("no json") && answer.text().contains("pro-2025"), "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n"));

    // What is held for as long as it may be is released, and stays.
    let mut cascade = two_tiers();
    cascade["streaming"] = serde_json::json!({"mode": "buffered", "max_bytes": 10, "max_ms": 10_000});
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
    let answer = gateway.post("/v1/chat/completions", ask(true)).await;
    assert!(answer.text().contains("no json"), "{}", answer.text());
}

#[tokio::test]
async fn a_tier_that_fails_is_passed_over() {
    let small = Upstream::always(json(503, r#"{"error":{"message":"down"}}"#)).await;
    let large = Upstream::always(json(200, &answer("pro-2025", r#"{"city":"Rome"}"#))).await;
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(two_tiers()), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!((answer.status, answer.header("x-control-tower-model")), (StatusCode::OK, "pro-2025"));
}

#[tokio::test]
async fn a_tier_whose_pool_has_nobody_falls_back_as_the_pool_says() {
    let collector = Collector::start().await;
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "I think it is Rome."))).await;
    let dead = Upstream::always(json(503, r#"{"error":{"message":"down"}}"#)).await;
    let other = Upstream::always(json(200, &answer("third", r#"{"city":"Rome"}"#))).await;
    let mut policy = routed(&small, &dead, Some(two_tiers()), None);
    let provider = policy.models[&"pro".parse().unwrap()].provider.clone();
    policy.providers.insert(
        provider.id.clone(),
        Arc::new(Provider { price_as: "sim".into(), ..Provider::clone(&provider) }),
    );
    let pool = serde_json::json!({"deployments": [{"id": "d", "provider": provider.id.as_str(), "upstream_model": "pro-2025"}], "fallbacks": ["third"]});
    policy.pools.insert("pro".parse().unwrap(), Ok(named("pro", serde_json::from_value(pool).unwrap())));
    let mut third = policy.models[&"pro".parse().unwrap()].as_ref().clone();
    third.name = "third".parse().unwrap();
    third.provider = Arc::new(Provider::new("sim".parse().unwrap(), format!("http://{}/v1", other.addr)));
    policy.models.insert(third.name.clone(), Arc::new(third));
    let gateway = Gateway::start(config(Some(&collector)), policy);
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], r#"{"city":"Rome"}"#);
    assert_eq!(collector.call().await.get("control_tower.cascade.decision"), "accept:last_tier");
}

#[tokio::test]
async fn a_verifier_is_asked_and_its_score_counts() {
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "Rome"))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "Paris"))).await;
    let verifier = Upstream::always(json(200, r#"{"score":0.2}"#)).await;
    let url = format!("http://{}/verify", verifier.addr);
    let cascade = serde_json::json!({"tiers": [
        {"model": "gpt-4o-mini", "checks": [{"verifier": {"url": url, "timeout_ms": 2000}}], "threshold": 0.5},
        {"model": "pro"},
    ]});
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
    let body = r#"{"model":"route","messages":[{"role":"user","content":"Capital of France?"}]}"#;
    let answer = gateway.post("/v1/chat/completions", body).await;
    assert_eq!(answer.header("x-control-tower-model"), "pro-2025");
    let asked = verifier.received()[0].json();
    assert_eq!(
        (asked["prompt"].as_str(), asked["answer"].as_str()),
        (Some("Capital of France?"), Some("Rome"))
    );
}

#[tokio::test]
async fn a_tier_that_stalls_while_it_is_held_back_is_passed_over() {
    for streaming in [
        serde_json::json!({"mode": "optimistic", "tokens": 50, "min_logprob": -0.1}),
        serde_json::json!({"mode": "buffered", "max_bytes": 100_000, "max_ms": 60_000}),
    ] {
        let mut steps = streamed("gpt-4o-mini", "no");
        steps.truncate(2);
        steps.push(Step::Hang);
        let mut small = Upstream::always(steps).await;
        let large = Upstream::always(streamed("pro-2025", r#"{"city":"Rome"}"#)).await;
        let mut cascade = two_tiers();
        cascade["streaming"] = streaming.clone();
        cascade["tiers"][0]["timeout_ms"] = 300.into();
        cascade["tiers"][0]["checks"] = serde_json::json!(["logprob_confidence"]);
        let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
        let answer = gateway.post("/v1/chat/completions", ask(true)).await;
        assert!(
            answer.text().contains("pro-2025") && answer.text().ends_with("data: [DONE]\n\n"),
            "{streaming}"
        );
        small.closed().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_held_back_and_over_before_its_end_is_no_answer() {
    // It would pass every check.
    let whole = pieces("gpt-4o-mini", r#"{"city":"Rome"}"#);
    let begun: Vec<&[u8]> = whole.iter().take(2).map(Vec::as_slice).collect();
    let error: &[u8] = b"data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    let failed = [begun.as_slice(), &[error]].concat();
    for steps in [sse(&begun), sse(&failed)] {
        let collector = Collector::start().await;
        let small = Upstream::always(steps).await;
        let large = Upstream::always(streamed("pro-2025", r#"{"city":"Pisa"}"#)).await;
        let gateway =
            Gateway::start(config(Some(&collector)), routed(&small, &large, Some(two_tiers()), None));
        let answer = gateway.post("/v1/chat/completions", ask(true)).await;
        assert_eq!(answer.status, StatusCode::OK);
        let text = answer.text();
        assert!(
            text.contains("Pisa") && !text.contains("Rome") && text.ends_with("data: [DONE]\n\n"),
            "{text}"
        );
        let call = collector.call().await;
        assert_eq!((call.get("gen_ai.response.model"), call.get("error.type")), ("pro-2025", ""));
        let spans = collector.spans();
        let first = spans.iter().find(|span| span.get("control_tower.attempt") == "1").unwrap();
        assert_eq!(first.get("control_tower.cascade.decision"), "escalate:failed");
        // What the provider had said by then was said, and is paid.
        assert_ne!(first.get("control_tower.cost.total"), "0");
    }
}

#[tokio::test]
async fn what_a_tier_had_used_when_it_was_given_up_is_no_final_count() {
    let collector = Collector::start().await;
    // It tells with every chunk what it has used so far, and is left before its end.
    let chunk = |used: u32| {
        let token =
            serde_json::json!({"token": "perhaps ", "logprob": -5.0, "bytes": null, "top_logprobs": []});
        let chunk = serde_json::json!({"id": "c", "model": "gpt-4o-mini", "choices": [{"index": 0,
            "delta": {"content": "perhaps "}, "logprobs": {"content": [token]}, "finish_reason": null}],
            "usage": {"prompt_tokens": 3, "completion_tokens": used}});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let pieces: Vec<Vec<u8>> = (1..=4).map(chunk).collect();
    let mut steps = sse(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
    // All but the end of the stream.
    steps.pop();
    steps.push(Step::Hang);
    let mut small = Upstream::always(steps).await;
    let large = Upstream::always(streamed("pro-2025", r#"{"city":"Rome"}"#)).await;
    let mut cascade = two_tiers();
    cascade["streaming"] = serde_json::json!({"mode": "optimistic", "tokens": 3, "min_logprob": -0.1});
    cascade["tiers"][0]["checks"] = serde_json::json!(["logprob_confidence"]);
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(cascade), None));
    let answer = gateway.post("/v1/chat/completions", ask(true)).await;
    assert!(answer.text().contains("pro-2025"), "{}", answer.text());
    small.closed().await;
    let call = collector.call().await;
    let mut tries = collector.spans();
    tries.retain(|span| span.kind == 3);
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    let each = |name: &str| tries.iter().map(|span| span.get(name).to_owned()).collect::<Vec<_>>();
    assert_eq!(each("control_tower.cascade.decision"), ["escalate:improbable", "accept:released"]);
    assert_eq!(each("control_tower.usage.source"), ["partial", "reported"]);
    assert_ne!(call.get("control_tower.usage.source"), "reported", "the sum is no surer than its parts");
}

#[tokio::test]
async fn what_the_first_tier_took_counts_towards_the_price_ceiling() {
    let dear =
        answer("gpt-4o-mini", "no json").replace(r#""completion_tokens":2"#, r#""completion_tokens":200"#);
    let small = Upstream::always(json(200, &dear)).await;
    let large = Upstream::always(json(200, &answer("pro-2025", r#"{"city":"Rome"}"#))).await;
    let body = ask(false).replacen('{', r#"{"max_tokens":20,"#, 1);
    // The first tier takes $0.000403; the second may take a microdollar for each byte of the prompt, and 40 more.
    let most = body.len() + 40;
    for (ceiling, model) in [(most + 450, "pro-2025"), (most + 350, "gpt-4o-mini")] {
        let mut cascade = two_tiers();
        cascade["price_ceiling"] = format!("0.{ceiling:06}").into();
        let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
        let answer = gateway.post("/v1/chat/completions", body.clone()).await;
        assert_eq!(answer.header("x-control-tower-model"), model, "{ceiling}");
    }
}

#[tokio::test]
async fn an_answer_that_the_providers_filter_cut_is_none() {
    let filtered = answer("gpt-4o-mini", "To do that, first").replace(r#""stop""#, r#""content_filter""#);
    let small = Upstream::always(json(200, &filtered)).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "Ask a chemist."))).await;
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(two_tiers()), None));
    let body = r#"{"model":"route","messages":[{"role":"user","content":"How?"}]}"#;
    assert_eq!(gateway.post("/v1/chat/completions", body).await.header("x-control-tower-model"), "pro-2025");
}

#[tokio::test]
async fn what_no_tier_got_right_is_not_given_again() {
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "I think it is Rome."))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "It is Rome."))).await;
    let cache = serde_json::json!({"exact": true, "ttl_seconds": 60});
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(two_tiers()), Some(cache)));
    for asked in 1..=2 {
        let answer = gateway.post("/v1/chat/completions", ask(false)).await;
        assert_eq!((answer.status, answer.header("x-control-tower-cache")), (StatusCode::OK, "miss"));
        assert_eq!(large.received().len(), asked);
    }
}

#[tokio::test]
async fn how_sure_it_was_of_the_answer_that_was_given_is_on_the_call() {
    let collector = Collector::start().await;
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "Paris"))).await;
    let verifier = Upstream::always(json(200, r#"{"score":0.9}"#)).await;
    let url = format!("http://{}/verify", verifier.addr);
    let cascade = serde_json::json!({"tiers": [
        {"model": "gpt-4o-mini", "checks": [{"verifier": {"url": url, "timeout_ms": 2000}}], "threshold": 0.5},
        {"model": "pro"},
    ]});
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &small, Some(cascade), None));
    let body = r#"{"model":"route","messages":[{"role":"user","content":"Capital of France?"}]}"#;
    gateway.post("/v1/chat/completions", body).await;
    let call = collector.call().await;
    let spans = collector.spans();
    let attempt = spans.iter().find(|span| span.kind == 3).unwrap();
    let score = call.get("control_tower.cascade.score");
    assert!(score.parse::<f64>().unwrap() > 0.5, "{score}");
    assert_eq!(score, attempt.get("control_tower.cascade.score"));
}

#[tokio::test]
async fn an_answer_is_given_again_whole_and_streamed_to_its_own_tenant_only() {
    let collector = Collector::start().await;
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "Rome"))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "Rome"))).await;
    let cache = serde_json::json!({"exact": true, "ttl_seconds": 60});
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, None, Some(cache)));
    let body = |stream: bool| {
        format!(
            r#"{{"model":"route","messages":[{{"role":"user","content":"Capital of Italy?"}}],"stream":{stream}}}"#
        )
    };
    let first = gateway.post("/v1/chat/completions", body(false)).await;
    assert_eq!(
        (first.header("x-control-tower-cache"), first.header("x-control-tower-cost-usd")),
        ("miss", "0.000007")
    );
    let again = gateway.post("/v1/chat/completions", body(false)).await;
    assert_eq!(
        (again.header("x-control-tower-cache"), again.header("x-control-tower-cost-usd")),
        ("hit_exact", "0")
    );
    assert_eq!(again.body, first.body);
    let streamed = gateway.post("/v1/chat/completions", body(true)).await;
    assert_eq!(streamed.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(streamed.text().contains(r#""content":"Rome""#) && streamed.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(small.received().len(), 1);

    let mut other = gateway.request("/v1/chat/completions", body(false));
    other.headers_mut().insert("authorization", "Bearer ct-other-tenant-0123456789".parse().unwrap());
    assert_eq!(gateway.call(other).await.header("x-control-tower-cache"), "miss");
    let mut fresh = gateway.request("/v1/chat/completions", body(false));
    fresh.headers_mut().insert("cache-control", "no-cache".parse().unwrap());
    assert_eq!(gateway.call(fresh).await.header("x-control-tower-cache"), "miss");
    let mut only = gateway.request("/v1/chat/completions", body(false).replace("Italy", "Spain"));
    only.headers_mut().insert("cache-control", "only-if-cached".parse().unwrap());
    assert_eq!(gateway.call(only).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(small.received().len(), 3);

    let calls = collector.calls(6).await;
    let hit = calls.iter().find(|call| call.get("control_tower.cache.status") == "hit_exact").unwrap();
    assert_eq!(hit.get("control_tower.cache.saved"), "0.000007");
    assert_eq!(hit.get("control_tower.cost.total"), "", "nothing was paid");
}

#[tokio::test]
async fn a_streamed_answer_is_kept_whole() {
    let small = Upstream::always(streamed("gpt-4o-mini", "Rome")).await;
    let large = Upstream::always(json(200, "{}")).await;
    let cache = serde_json::json!({"exact": true, "ttl_seconds": 60});
    let gateway = Gateway::start(config(None), routed(&small, &large, None, Some(cache)));
    let body = |stream: bool| {
        format!(
            r#"{{"model":"route","messages":[{{"role":"user","content":"Capital of Italy?"}}],"stream":{stream}}}"#
        )
    };
    gateway.post("/v1/chat/completions", body(true)).await;
    let again = gateway.post("/v1/chat/completions", body(false)).await;
    assert_eq!(again.header("x-control-tower-cache"), "hit_exact");
    assert_eq!(again.json()["choices"][0]["message"]["content"], "Rome");
    assert_eq!(again.json()["usage"]["prompt_tokens"], 3);
}

#[tokio::test]
async fn a_question_that_means_the_same_has_its_answer_again_and_no_other_tenant_ever() {
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "By the link under the form."))).await;
    let large = Upstream::always(json(200, "{}")).await;
    let cache = serde_json::json!({"semantic": {"threshold": 0.8}, "ttl_seconds": 60});
    let mut config = config(None);
    config.embedder = Some(inference::models::find(None, None).unwrap());
    let gateway = Gateway::start(config, routed(&small, &large, None, Some(cache)));
    let request = |question: &str, key: &str| {
        let body = format!(
            r#"{{"model":"route","temperature":0,"messages":[{{"role":"user","content":"{question}"}}]}}"#
        );
        let mut request = gateway.request("/v1/chat/completions", body);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        gateway.call(request)
    };
    let first = request("How do I reset my password?", KEY).await;
    assert_eq!(first.header("x-control-tower-cache"), "miss");
    let again = request("How can I reset my password?", KEY).await;
    assert_eq!(
        (again.header("x-control-tower-cache"), again.header("x-control-tower-cost-usd")),
        ("hit_semantic", "0")
    );
    assert_eq!(again.body, first.body);
    for (question, key) in [
        ("How can I reset my username?", KEY),
        ("How do I reset my password?", "ct-other-tenant-0123456789"),
        ("How can I reset my password?", "ct-other-tenant-0123456789"),
    ] {
        // The other tenant's second question means the same as its own first.
        let expected = if question.contains("can") && key != KEY { "hit_semantic" } else { "miss" };
        assert_eq!(request(question, key).await.header("x-control-tower-cache"), expected, "{question}");
    }
    assert_eq!(small.received().len(), 3);
}

#[tokio::test]
async fn a_ceiling_counts_pictures_also_without_a_budget() {
    let (small, large) = (
        Upstream::always(json(200, &answer("gpt-4o-mini", "{\"city\":1}"))).await,
        Upstream::always(json(200, &answer("pro-2025", "{\"city\":1}"))).await,
    );
    // A picture is up to 48,169 tokens of the small model and 6,000 of the large one: more than four cents, and less than one.
    let mut cascade = two_tiers();
    cascade["price_ceiling"] = serde_json::json!("0.01");
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
    let picture = r#"[{"type":"image_url","image_url" : {"url":"https://a/1"}}]"#;
    let with = format!(r#"{{"model":"route","messages":[{{"role":"user","content":{picture}}}]}}"#);
    assert_eq!(gateway.post("/v1/chat/completions", with).await.status, StatusCode::OK);
    assert_eq!((small.received().len(), large.received().len()), (0, 1));
    let without = r#"{"model":"route","messages":[{"role":"user","content":"Hi"}]}"#;
    assert_eq!(gateway.post("/v1/chat/completions", without).await.status, StatusCode::OK);
    assert_eq!((small.received().len(), large.received().len()), (1, 1));
}

#[tokio::test]
async fn samples_that_nothing_here_can_compare_are_not_paid() {
    let long = "The capital of Italy has been the city of Rome since the year 1871.";
    for (on_deadline, model) in [("accept", "gpt-4o-mini"), ("escalate", "pro-2025")] {
        let small = Upstream::always(json(200, &answer("gpt-4o-mini", long))).await;
        let large = Upstream::always(json(200, &answer("pro-2025", "Rome"))).await;
        let cascade = serde_json::json!({"detects_by": "meaning", "on_deadline": on_deadline, "tiers": [
            {"model": "gpt-4o-mini", "checks": [{"self_consistency": {"samples": 3}}], "threshold": 0.6},
            {"model": "pro"},
        ]});
        // Here is nothing that knows meanings.
        let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
        let body = r#"{"model":"route","messages":[{"role":"user","content":"Capital of Italy?"}]}"#;
        let answered = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(answered.header("x-control-tower-model"), model, "{on_deadline}");
        assert_eq!(small.received().len(), 1);
    }
}
