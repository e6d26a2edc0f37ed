//! Answers that ask for another tier.

use super::policy::{CHAT, More, RESPONSES, answer, ask, gateway, guarded, pieces, read, saying};
use super::streams::{stream, told};
use crate::support::{Collector, Gateway, Upstream, config, json as answers};
use contracts::policy::{Provider, Snapshot};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

fn escalating() -> Value {
    let escalate =
        json!({"name": "doubt", "check": {"topics": {"deny": ["not sure"]}}, "action": "escalate"});
    let block = json!({"name": "words", "check": {"topics": {"deny": ["forbidden"]}}, "action": "block"});
    json!({"output": [escalate, block]})
}

fn tiers(small: &Upstream, large: &Upstream) -> Snapshot {
    let cascade = json!({"tiers": [{"model": "gpt-4o-mini"}, {"model": "pro"}]});
    let more = More { cascade: Some(cascade), ..More::default() };
    let mut snapshot = guarded(small, &[escalating()], &more);
    let mut pro = snapshot.models[&"pro".parse().unwrap()].as_ref().clone();
    pro.provider = Arc::new(Provider::new("sim".parse().unwrap(), format!("http://{}/v1", large.addr)));
    snapshot.models.insert(pro.name.clone(), Arc::new(pro));
    snapshot
}

#[tokio::test]
async fn an_answer_that_escalates_is_given_up_for_the_next_tiers() {
    let collector = Collector::start().await;
    let small = saying(&answer(CHAT, "I am not sure.", None)).await;
    let large = saying(&answer(CHAT, "Rome.", None)).await;
    let gateway = Gateway::start(config(Some(&collector)), tiers(&small, &large));
    let answered = gateway.post(CHAT, ask(CHAT, "Hi", false)).await;
    assert_eq!(read(CHAT, &answered.json()).0, "Rome.");
    assert_eq!(answered.header("x-control-tower-cost-usd"), "0.000014");
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.guardrail.action"), "escalate");
    let decisions = collector.spans();
    assert!(decisions.iter().any(|span| span.get("control_tower.cascade.decision") == "escalate:guardrail"));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_given_up_for_the_next_tiers() {
    let half = answer(CHAT, "Rome HALF", None).to_string().replace("HALF", "\\ud83d");
    let small = Upstream::always(answers(200, &half)).await;
    let large = saying(&answer(CHAT, "Rome.", None)).await;
    let gateway = Gateway::start(config(None), tiers(&small, &large));
    let answered = gateway.post(CHAT, ask(CHAT, "Hi", false)).await;
    assert_eq!(read(CHAT, &answered.json()).0, "Rome.", "{}", answered.text());
    let gateway = Gateway::start(config(None), tiers(&small, &small));
    assert_eq!(gateway.post(CHAT, ask(CHAT, "Hi", false)).await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_stream_that_escalates_while_it_is_held_is_given_up_too() {
    for path in [CHAT, RESPONSES] {
        let small = Upstream::always(pieces(&stream(path, &["I am not", " sure."], None), &[])).await;
        let large = Upstream::always(pieces(&stream(path, &["Rome."], None), &[])).await;
        let gateway = Gateway::start(config(None), tiers(&small, &large));
        let answered = gateway.post(path, ask(path, "Hi", true)).await;
        assert_eq!(told(path, answered.text()).text, "Rome.", "{}", answered.text());
    }
}

#[tokio::test]
async fn what_is_blocked_is_refused_at_once_and_the_last_tier_has_none_after_it() {
    for (first, second, asked) in [
        ("This is forbidden.", "Rome.", 0),
        ("not sure", "I am not sure either.", 1),
        ("not sure", "forbidden", 1),
    ] {
        for streamed in [false, true] {
            let of = |text: &str| pieces(&stream(CHAT, &[text], None), &[]);
            let (small, large) = if streamed {
                (Upstream::always(of(first)).await, Upstream::always(of(second)).await)
            } else {
                (saying(&answer(CHAT, first, None)).await, saying(&answer(CHAT, second, None)).await)
            };
            let gateway = Gateway::start(config(None), tiers(&small, &large));
            let answered = gateway.post(CHAT, ask(CHAT, "Hi", streamed)).await;
            let reason =
                if streamed { told(CHAT, answered.text()).reason } else { read(CHAT, &answered.json()).1 };
            assert_eq!(reason, "content_filter", "{first} {second}: {}", answered.text());
            assert!(!answered.text().contains("forbidden") && !answered.text().contains("not sure"));
            assert_eq!(large.received().len(), asked);
        }
    }
}

#[tokio::test]
async fn without_a_cascade_it_is_refused() {
    let upstream = saying(&answer(CHAT, "I am not sure.", None)).await;
    let told = gateway(&upstream, &[escalating()]).post(CHAT, ask(CHAT, "Hi", false)).await.json();
    assert_eq!(read(CHAT, &told).1, "content_filter");
}

#[tokio::test]
async fn a_verifier_gets_no_more_of_an_answer_than_the_client() {
    let mask = json!({"output": [{"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}},
        "action": {"mask": {"with": "[card]"}}}]});
    for path in [CHAT, RESPONSES] {
        for streamed in [false, true] {
            let upstream = if streamed {
                let events = stream(path, &["It is 12345678", "12345678, no?"], None);
                Upstream::always(pieces(&events, &[])).await
            } else {
                saying(&answer(path, "It is 1234567812345678, no?", None)).await
            };
            let verifier = Upstream::always(answers(200, r#"{"score":0.9}"#)).await;
            let url = format!("http://{}/verify", verifier.addr);
            let checks = json!([{"verifier": {"url": url, "timeout_ms": 5000}}]);
            let cascade = json!({"tiers": [
                {"model": "gpt-4o-mini", "checks": checks, "threshold": 0.5}, {"model": "pro"}]});
            let more = More { cascade: Some(cascade), ..More::default() };
            let snapshot = guarded(&upstream, std::slice::from_ref(&mask), &more);
            let gateway = Gateway::start(config(None), snapshot);
            let answered = gateway.post(path, ask(path, "Hi", streamed)).await;
            let said =
                if streamed { told(path, answered.text()).text } else { read(path, &answered.json()).0 };
            assert_eq!(said, "It is [card], no?", "{}", answered.text());
            assert_eq!(verifier.received()[0].json()["answer"], "It is [card], no?");
            assert_eq!(upstream.received().len(), 1, "its score counts");
        }
    }
}

#[tokio::test]
async fn a_verifier_is_asked_about_a_stream_without_a_last_event_too() {
    let mask = json!({"output": [{"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}},
        "action": {"mask": {"with": "[card]"}}}]});
    let mut events = stream(CHAT, &["It is 12345678", "12345678."], None);
    events.truncate(events.len() - "data: [DONE]\n\n".len());
    let upstream = Upstream::always(pieces(&events, &[])).await;
    let verifier = Upstream::always(answers(200, r#"{"score":0.9}"#)).await;
    let url = format!("http://{}/verify", verifier.addr);
    let checks = json!([{"verifier": {"url": url, "timeout_ms": 5000}}]);
    let cascade =
        json!({"tiers": [{"model": "gpt-4o-mini", "checks": checks, "threshold": 0.5}, {"model": "pro"}]});
    let more = More { cascade: Some(cascade), ..More::default() };
    let gateway = Gateway::start(config(None), guarded(&upstream, std::slice::from_ref(&mask), &more));
    let answered = gateway.post(CHAT, ask(CHAT, "Hi", true)).await;
    assert_eq!(told(CHAT, answered.text()).text, "It is [card].", "{}", answered.text());
    let asked = verifier.received();
    assert_eq!(asked.first().map(|asked| asked.json()["answer"].clone()), Some("It is [card].".into()));
}
