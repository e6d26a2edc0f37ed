//! Responses that are made in the background.

use crate::limits::named;
use crate::resume::{get, hear, response_events, say, slowly, socket};
use crate::support::{Collector, Gateway, Step, Upstream, config, json, snapshot};
use contracts::policy::Reaching;
use contracts::policy::budget::Budget;
use http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const ASKED: &str = r#"{"model":"gpt-4o-mini","input":"hi","background":true,"metadata":{"a":"b"}}"#;

fn streamed() -> String {
    ASKED.replacen('{', r#"{"stream":true,"#, 1)
}

/// A model that says nothing before a permit is there, and then goes on with `steps`.
async fn held(steps: Vec<Step>) -> (Upstream, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let mut all = vec![Step::Until(held.clone())];
        all.extend(steps.clone());
        all
    })
    .await;
    (upstream, gate)
}

/// The response `id`, once it is no longer `before`.
async fn after(gateway: &Gateway, id: &str, before: &[&str]) -> Value {
    let path = format!("/v1/responses/{id}");
    for _ in 0..1_000 {
        let response = gateway.call(get(gateway, &path)).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        let response = response.json();
        assert_eq!(response["id"], id, "its id stays: {response}");
        if !before.contains(&response["status"].as_str().unwrap()) {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it stays {before:?}");
}

/// The events of a text: their types, and what they say.
fn events(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_asks_for_one_is_told_at_once_that_it_is_queued() {
    let (upstream, gate) = held(slowly(&response_events())).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let answer = gateway.post("/v1/responses", ASKED).await;
    assert_eq!(answer.status, StatusCode::OK);
    let queued = answer.json();
    for (field, value) in [
        ("object", Value::from("response")),
        ("status", "queued".into()),
        ("background", true.into()),
        ("error", Value::Null),
        ("output", Value::Array(Vec::new())),
        ("model", "gpt-4o-mini".into()),
        ("metadata", serde_json::json!({"a": "b"})),
    ] {
        assert_eq!(queued[field], value, "{field}: {queued}");
    }
    let id = queued["id"].as_str().unwrap();
    assert_eq!(gateway.call(get(&gateway, &format!("/v1/responses/{id}"))).await.json(), queued);
    gate.add_permits(1);
    assert_eq!(after(&gateway, id, &["queued"]).await["status"], "in_progress");
    let done = after(&gateway, id, &["in_progress"]).await;
    assert_eq!((&done["status"], &done["output"][0]["type"]), (&"completed".into(), &"message".into()));
    let sent = upstream.received()[0].json();
    assert_eq!((&sent["background"], &sent["stream"]), (&false.into(), &true.into()));

    let path = format!("/v1/responses/{id}?stream=true");
    let all = gateway.call(get(&gateway, &path)).await;
    let all = events(all.text());
    let delta = "response.output_text.delta";
    let expected = ["response.created", "response.queued", delta, delta, delta, "response.completed"];
    assert_eq!(kinds(&all), expected);
    let numbers: Vec<&Value> = all.iter().map(|event| &event["sequence_number"]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert_eq!((&all[1]["response"]["status"], &all[5]["response"]["id"]), (&"queued".into(), &id.into()));
    let rest = gateway.call(get(&gateway, &format!("{path}&starting_after=3"))).await;
    assert_eq!(events(rest.text()), all[4..]);
}

#[tokio::test]
async fn a_stream_of_one_begins_before_the_model_says_anything() {
    let (upstream, gate) = held(slowly(&response_events())).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let mut answer = gateway.send(gateway.request("/v1/responses", streamed())).await;
    assert_eq!(
        (answer.status(), answer.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/event-stream; charset=utf-8")
    );
    let mut text = String::new();
    while !text.contains("response.queued") {
        let frame = http_body_util::BodyExt::frame(answer.body_mut()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(kinds(&events(&text)), ["response.created", "response.queued"]);
    gate.add_permits(1);
    let rest = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let rest = events(std::str::from_utf8(&rest).unwrap());
    assert_eq!(rest.last().unwrap()["type"], "response.completed");
    assert_eq!(rest[0]["sequence_number"], 2);
}

#[tokio::test]
async fn what_fails_before_its_first_event_is_a_response_that_failed() {
    let broken = || vec![Step::Close];
    for (failure, code, message) in [
        (json(503, r#"{"error":{"message":"down","code":"overloaded"}}"#), "overloaded", "down"),
        (
            json(400, r#"{"error":{"message":"no such tool","code":null}}"#),
            "upstream_refused",
            "no such tool",
        ),
        (json(500, "<html>"), "upstream_invalid_response", "answered 500"),
        (broken(), "upstream_closed", "closed"),
    ] {
        let collector = Collector::start().await;
        let upstream = Upstream::always(failure.clone()).await;
        let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, false));
        let queued = gateway.post("/v1/responses", ASKED).await;
        assert_eq!((queued.status, queued.json()["status"].as_str()), (StatusCode::OK, Some("queued")));
        let id = queued.json()["id"].as_str().unwrap().to_owned();
        let failed = after(&gateway, &id, &["queued", "in_progress"]).await;
        assert_eq!(failed["status"], "failed", "{failed}");
        assert!(failed["error"]["message"].as_str().unwrap().contains(message), "{failed}");
        assert_eq!(failed["error"]["code"], code, "{failed}");
        let call = collector.call().await;
        assert_eq!(call.get("http.response.status_code"), "200");
        assert_ne!(call.get("error.type"), "");

        let told = gateway.post("/v1/responses", streamed()).await;
        let told = events(told.text());
        assert_eq!(kinds(&told), ["response.created", "response.queued", "response.failed"]);
        assert_eq!(told[2]["response"]["error"], failed["error"]);
    }
}

#[tokio::test]
async fn what_breaks_off_is_a_response_that_failed() {
    let mut steps = slowly(&response_events()[..2]);
    *steps.last_mut().unwrap() = Step::Close;
    let upstream = Upstream::always(steps).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let id = gateway.post("/v1/responses", ASKED).await.json()["id"].as_str().unwrap().to_owned();
    let failed = after(&gateway, &id, &["queued", "in_progress"]).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&"failed".into(), &"upstream_stream_cut".into())
    );
    let told = gateway.call(get(&gateway, &format!("/v1/responses/{id}?stream=true"))).await;
    let told = events(told.text());
    assert_eq!(
        (&told.last().unwrap()["type"], &told.last().unwrap()["sequence_number"]),
        (&"error".into(), &3.into())
    );
}

#[tokio::test]
async fn one_can_be_cancelled_while_it_is_queued_and_while_it_is_made() {
    let mut begun = slowly(&response_events()[..2]);
    *begun.last_mut().unwrap() = Step::Hang;
    for (steps, is_begun) in [(vec![Step::Hang], false), (begun, true)] {
        let mut upstream = Upstream::always(steps).await;
        let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
        let id = gateway.post("/v1/responses", ASKED).await.json()["id"].as_str().unwrap().to_owned();
        while upstream.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if is_begun {
            after(&gateway, &id, &["queued"]).await;
        }
        let path = format!("/v1/responses/{id}/cancel");
        let cancelled = gateway.call(gateway.request(&path, String::new())).await;
        assert_eq!(cancelled.json()["status"], "cancelled");
        upstream.closed().await;
        assert_eq!(after(&gateway, &id, &["queued"]).await["status"], "cancelled");
    }
}

#[tokio::test]
async fn what_is_not_admitted_is_an_error_of_the_request_itself() {
    let upstream = Upstream::always(slowly(&response_events())).await;
    let mut policy = snapshot(upstream.addr, false);
    let budget =
        serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0", "window": "total"});
    let budget: Budget = serde_json::from_value(budget).unwrap();
    policy.budgets.insert(None, budget.reach(), Ok(named("b", budget)));
    let gateway = Gateway::start(config(None), policy);
    let bounded =
        ASKED.replacen('{', r#"{"max_output_tokens":16,"store":false,"service_tier":"default","#, 1);
    let refused = gateway.post("/v1/responses", bounded).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    let unknown = gateway.post("/v1/responses", ASKED.replace("gpt-4o-mini", "nope")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let mut stranger = gateway.request("/v1/responses", ASKED);
    stranger.headers_mut().insert("authorization", "Bearer ct-wrong".parse().unwrap());
    assert_eq!(gateway.call(stranger).await.status, StatusCode::UNAUTHORIZED);
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_later_request_goes_on_with_it_by_the_id_that_it_was_given() {
    let collector = Collector::start().await;
    let upstream = Upstream::always(slowly(&response_events())).await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, false));
    let id = gateway.post("/v1/responses", ASKED).await.json()["id"].as_str().unwrap().to_owned();
    after(&gateway, &id, &["queued", "in_progress"]).await;
    assert_eq!(collector.call().await.get("gen_ai.response.id"), id, "feedback finds it by that");
    let next = serde_json::json!({"model": "gpt-4o-mini", "previous_response_id": id, "input": "more", "stream": true});
    let mut stranger = gateway.request("/v1/responses", next.to_string());
    stranger.headers_mut().insert("authorization", "Bearer ct-other-tenant-0123456789".parse().unwrap());
    for request in [gateway.request("/v1/responses", next.to_string()), stranger] {
        assert_eq!(gateway.call(request).await.status, StatusCode::OK);
    }
    let sent: Vec<Value> =
        upstream.received().iter().map(|received| received.json()["previous_response_id"].clone()).collect();
    // To another tenant it is not known.
    assert_eq!(sent, [Value::Null, "resp_1".into(), id.into()]);
}

#[tokio::test]
async fn a_socket_hears_one_from_its_beginning() {
    let (upstream, gate) = held(slowly(&response_events())).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let mut socket = socket(&gateway, crate::support::KEY).await.unwrap();
    let body: Value = serde_json::from_str(ASKED).unwrap();
    say(&mut socket, serde_json::json!({"type": "create", "path": "/v1/responses", "body": body})).await;
    assert_eq!(hear(&mut socket).await["event"], "response.created");
    assert_eq!(hear(&mut socket).await["event"], "response.queued");
    gate.add_permits(1);
    let mut last = Value::Null;
    loop {
        let told = hear(&mut socket).await;
        if told["type"] == "end" {
            break;
        }
        last = told;
    }
    assert_eq!((&last["event"], &last["number"]), (&"response.completed".into(), &5.into()), "{last}");
}
