//! Cascades whose tiers are asked several times: samples that agree are accepted, and every one of them is paid.

use crate::cascades::{answer, routed};
use crate::hedges::budgeted;
use crate::support::{Collector, Gateway, Received, Span, Step, Upstream, config, json, sse};
use http::StatusCode;
use serde_json::{Value, json as value};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two tiers, of which the first is asked three times in all.
fn sampled() -> Value {
    value!({"tiers": [
        {"model": "gpt-4o-mini", "checks": [{"self_consistency": {"samples": 3, "temperature": 0.8}}], "threshold": 0.6},
        {"model": "pro"},
    ]})
}

fn ask(stream: bool) -> String {
    format!(
        r#"{{"model":"route","messages":[{{"role":"user","content":"Capital of Italy?"}}],"seed":7,"stream":{stream}}}"#
    )
}

/// As many choices as are asked for, 3 tokens in and 2 a choice out: the first request gets the first text, and so on.
async fn saying(texts: &'static [&'static str], knows_n: bool) -> Upstream {
    let said = AtomicUsize::new(0);
    Upstream::start(move |received| {
        let body = received.json();
        let choices = if knows_n { body["n"].as_u64().unwrap_or(1) } else { 1 };
        let said: Vec<&str> =
            (0..choices).map(|_| texts[said.fetch_add(1, Ordering::Relaxed) % texts.len()]).collect();
        let usage = value!({"prompt_tokens": 3, "completion_tokens": 2 * choices});
        if body["stream"] == true { streamed(&said, &usage) } else { whole(&said, &usage) }
    })
    .await
}

fn whole(texts: &[&str], usage: &Value) -> Vec<Step> {
    let choice = |(index, text): (usize, &&str)| value!({"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let choices: Vec<Value> = texts.iter().enumerate().map(choice).collect();
    json(200, &value!({"id": "c", "model": "gpt-4o-mini", "choices": choices, "usage": usage}).to_string())
}

fn streamed(texts: &[&str], usage: &Value) -> Vec<Step> {
    let event = |json: &Value| format!("data: {json}\n\n").into_bytes();
    let mut pieces = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let choice = value!({"index": index, "delta": {"content": text}, "finish_reason": "stop"});
        pieces.push(event(&value!({"id": "c", "model": "gpt-4o-mini", "choices": [choice]})));
    }
    pieces.push(event(&value!({"id": "c", "choices": [], "usage": usage})));
    pieces.push(b"data: [DONE]\n\n".to_vec());
    sse(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

async fn large() -> Upstream {
    Upstream::always(json(200, &answer("pro-2025", "Rome, of course."))).await
}

/// The attempts of the only call, in order, and the call.
async fn traced(collector: &Collector) -> (Span, Vec<Span>) {
    let call = collector.call().await;
    let mut tries: Vec<Span> = collector.spans();
    tries.retain(|span| span.kind == 3);
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    (call, tries)
}

fn each<'a>(tries: &'a [Span], name: &str) -> Vec<&'a str> {
    tries.iter().map(|span| span.get(name)).collect()
}

#[tokio::test]
async fn samples_that_agree_are_accepted_and_all_are_paid() {
    for stream in [false, true] {
        let collector = Collector::start().await;
        let (small, large) = (saying(&["Rome", "rome.", "Rome"], true).await, large().await);
        let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(sampled()), None));
        let answer = gateway.post("/v1/chat/completions", ask(stream)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.text().matches("ome").count(), 1, "the first sample alone: {}", answer.text());
        assert!(answer.text().contains("\"Rome\""));
        assert!(large.received().is_empty());
        let sent: Vec<Value> = small.received().iter().map(Received::json).collect();
        assert_eq!(sent.len(), 2, "one request brings both others");
        assert_eq!(
            (&sent[0]["n"], &sent[0]["temperature"], &sent[0]["seed"]),
            (&Value::Null, &Value::Null, &value!(7))
        );
        assert_eq!(
            (&sent[1]["n"], &sent[1]["temperature"], &sent[1]["seed"]),
            (&value!(2), &value!(0.8), &value!(8))
        );

        let (call, tries) = traced(&collector).await;
        assert_eq!(each(&tries, "control_tower.cascade.decision"), ["sample", "accept:good_enough"]);
        // 3 x $1 + 4 x $2, and 3 x $1 + 2 x $2 a million.
        assert_eq!(each(&tries, "control_tower.cost.total"), ["0.000011", "0.000007"]);
        assert_eq!(call.get("control_tower.cost.total"), "0.000018");
        let signals: Value = serde_json::from_str(tries[1].get("control_tower.cascade.signals")).unwrap();
        assert_eq!(signals["self_consistency"], 1.0);
        if !stream {
            assert_eq!(answer.header("x-control-tower-cost-usd"), "0.000018");
        }
    }
}

#[tokio::test]
async fn samples_that_differ_escalate() {
    for stream in [false, true] {
        let collector = Collector::start().await;
        let (small, large) = (saying(&["Milan", "Turin", "Rome"], true).await, large().await);
        let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(sampled()), None));
        let answer = gateway.post("/v1/chat/completions", ask(stream)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(answer.text().contains("of course") && !answer.text().contains("Milan"), "{}", answer.text());
        let (call, tries) = traced(&collector).await;
        let decisions = each(&tries, "control_tower.cascade.decision");
        assert_eq!(decisions, ["sample", "escalate:not_good_enough", "accept:last_tier"]);
        assert_eq!(each(&tries, "control_tower.cost.total"), ["0.000011", "0.000007", "0.000007"]);
        assert_eq!(call.get("control_tower.cost.total"), "0.000025");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_choices_is_asked_for_each() {
    let collector = Collector::start().await;
    let (small, large) = (saying(&["Rome"], false).await, large().await);
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(sampled()), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(answer.header("x-control-tower-model"), "gpt-4o-mini");
    assert_eq!(small.received().len(), 3);
    assert_eq!(small.received()[2].json()["n"], Value::Null);
    let (call, tries) = traced(&collector).await;
    assert_eq!(each(&tries, "control_tower.cascade.decision"), ["sample", "sample", "accept:good_enough"]);
    assert_eq!(each(&tries, "control_tower.cost.total"), ["0.000007"; 3]);
    assert_eq!(call.get("control_tower.cost.total"), "0.000021");
}

#[tokio::test]
async fn a_sample_that_fails_is_left_out() {
    let collector = Collector::start().await;
    // The request for both is refused, and one of the two that follow.
    let count = AtomicUsize::new(0);
    let small = Upstream::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        1 => json(400, r#"{"error":{"message":"n must be 1"}}"#),
        2 => json(500, r#"{"error":{"message":"oops"}}"#),
        _ => json(200, &answer("gpt-4o-mini", "Rome")),
    })
    .await;
    let large = large().await;
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(sampled()), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!((answer.status, answer.header("x-control-tower-model")), (StatusCode::OK, "gpt-4o-mini"));
    assert_eq!(small.received().len(), 4);
    let (call, tries) = traced(&collector).await;
    assert_eq!(tries.len(), 4);
    assert_eq!(call.get("control_tower.cost.total"), "0.000014", "what was refused costs nothing");
}

#[tokio::test]
async fn without_the_money_for_samples_the_default_holds_and_none_is_asked() {
    // A request whose answer may have a million tokens holds $2; three answers would hold $6.
    let long = ask(false).replacen('{', r#"{"max_tokens":1000000,"service_tier":"default","#, 1);
    for (on_deadline, limit, model, asked) in [
        ("accept", "5", "gpt-4o-mini", 1),
        ("escalate", "5", "pro-2025", 1),
        ("escalate", "7", "gpt-4o-mini", 2),
    ] {
        let (small, large) = (saying(&["Rome"], true).await, large().await);
        let mut cascade = sampled();
        cascade["on_deadline"] = on_deadline.into();
        let policy = budgeted(routed(&small, &large, Some(cascade), None), limit);
        let gateway = Gateway::start(config(None), policy);
        // Nothing of what is held stays.
        for round in 1..=3 {
            let answer = gateway.post("/v1/chat/completions", long.clone()).await;
            assert_eq!((answer.status, answer.header("x-control-tower-model")), (StatusCode::OK, model));
            assert_eq!(small.received().len(), asked * round, "{on_deadline} {limit}");
        }
    }
}

#[tokio::test]
async fn samples_are_held_at_the_dearest_tier_they_may_be_served_at() {
    // Without a word of the service tier the provider decides, and at priority an answer of a million tokens costs $200: both samples $400.
    let long = ask(false).replacen('{', r#"{"max_tokens":1000000,"#, 1);
    for (limit, asked) in [("599", 1), ("603", 2)] {
        let (small, large) = (saying(&["Rome"], true).await, large().await);
        let mut cascade = sampled();
        cascade["on_deadline"] = "accept".into();
        let policy = budgeted(routed(&small, &large, Some(cascade), None), limit);
        let gateway = Gateway::start(config(None), policy);
        let answer = gateway.post("/v1/chat/completions", long.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(small.received().len(), asked, "{limit}");
    }
}

#[tokio::test]
async fn samples_that_do_not_come_in_time_leave_the_default() {
    let collector = Collector::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    let mut small = Upstream::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => json(200, &answer("gpt-4o-mini", "Rome")),
        _ => vec![Step::Hang],
    })
    .await;
    let large = large().await;
    let mut cascade = sampled();
    cascade["on_deadline"] = "accept".into();
    cascade["tiers"][0]["timeout_ms"] = 400.into();
    Gateway::warm_up();
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(cascade), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!((answer.status, answer.header("x-control-tower-model")), (StatusCode::OK, "gpt-4o-mini"));
    small.closed().await;
    assert!(large.received().is_empty());
    let (_, tries) = traced(&collector).await;
    assert_eq!(each(&tries, "control_tower.cascade.decision"), ["sample", "accept:late"]);
    assert_eq!(each(&tries, "error.type"), ["upstream_timeout", ""]);
    assert_eq!(each(&tries, "control_tower.usage.source"), ["partial", "reported"]);
}

#[tokio::test]
async fn what_the_last_tier_says_is_not_sampled() {
    let (small, large) = (saying(&["Rome", "Milan"], true).await, saying(&["Rome"], true).await);
    let mut cascade = sampled();
    cascade["tiers"][1]["checks"] = value!([{"self_consistency": {"samples": 5}}]);
    let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
    assert_eq!(gateway.post("/v1/chat/completions", ask(false)).await.status, StatusCode::OK);
    assert_eq!((small.received().len(), large.received().len()), (2, 1));
}

#[tokio::test]
async fn samples_go_to_the_deployments_of_a_pool() {
    let collector = Collector::start().await;
    let upstreams = [saying(&["Rome"], false).await, saying(&["Rome"], false).await];
    let large = large().await;
    let mut policy = routed(&upstreams[0], &large, Some(sampled()), None);
    let by_chance = value!({"balance": {"kind": "weighted"}});
    let pooled = crate::pools::pooled(&[&upstreams[0], &upstreams[1]], &by_chance);
    policy.pools = pooled.pools;
    policy.providers.extend(pooled.providers);
    let gateway = Gateway::start(config(Some(&collector)), policy);
    for _ in 0..8 {
        let answer = gateway.post("/v1/chat/completions", ask(false)).await;
        assert_eq!((answer.status, answer.header("x-control-tower-model")), (StatusCode::OK, "gpt-4o-mini"));
    }
    let sent = upstreams.each_ref().map(|upstream| upstream.received().len());
    assert_eq!(sent.iter().sum::<usize>(), 24);
    assert!(sent.iter().all(|sent| *sent > 2), "{sent:?}");
    for call in collector.calls(8).await {
        assert_eq!(call.get("control_tower.cost.total"), "0.000021");
    }
}

#[tokio::test]
async fn calls_of_tools_are_compared_too() {
    let calling = |arguments: &str| {
        let call =
            value!({"id": "t", "type": "function", "function": {"name": "find", "arguments": arguments}});
        let message = value!({"role": "assistant", "content": null, "tool_calls": [call]});
        let choice = value!({"index": 0, "message": message, "finish_reason": "tool_calls"});
        let usage = value!({"prompt_tokens": 3, "completion_tokens": 2});
        json(
            200,
            &value!({"id": "c", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}).to_string(),
        )
    };
    for (other, model) in [(r#"{"city": "Rome"}"#, "gpt-4o-mini"), (r#"{"city": "Milan"}"#, "pro-2025")] {
        let (first, other) = (calling(r#"{"city":"Rome"}"#), calling(other));
        let count = AtomicUsize::new(0);
        let small = Upstream::start(move |_| {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            if is_first { first.clone() } else { other.clone() }
        })
        .await;
        let large = large().await;
        let mut cascade = sampled();
        cascade["tiers"][0]["checks"][0]["self_consistency"]["samples"] = 2.into();
        let gateway = Gateway::start(config(None), routed(&small, &large, Some(cascade), None));
        let answer = gateway.post("/v1/chat/completions", ask(false)).await;
        assert_eq!(answer.header("x-control-tower-model"), model);
    }
}
