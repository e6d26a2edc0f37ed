//! What clients say of answers, and the context that they gave: checked, recorded, shipped as log records and attributes.

use crate::support::{Collector, Gateway, Upstream, chat, config, json, snapshot};
use axum::http::StatusCode;
use gateway_proxy::Unknown;
use serde_json::{Value, json as value};
use std::sync::atomic::{AtomicU32, Ordering};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ANSWER: &str = r#"{"id":"chatcmpl-1","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

#[tokio::test]
async fn feedback_and_actions_travel_as_log_records_beside_calls() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let collector = Collector::start().await;
    let mut settings = config(Some(&collector));
    settings.outcomes.unknown = Unknown::Refuse;
    let gateway = Gateway::start(settings, snapshot(upstream.addr, true));
    gateway.post("/v1/chat/completions", chat(false)).await;
    let feedback = value!({"response_id": "chatcmpl-1", "trace_id": TRACE, "score": 0.5, "label": "ok", "comment": "fine"});
    let answer = gateway.post("/v1/feedback", feedback.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:?}", answer.body);
    assert_eq!(
        (&answer.json()["object"], &answer.json()["status"]),
        (&value!("feedback"), &value!("accepted"))
    );
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let action = value!({
        "name": "ticket_resolved", "outcome": {"value": "12.50"}, "time": now - 60,
        "responses": ["chatcmpl-1", {"id": "chatcmpl-2", "weight": 0.25}], "traces": [TRACE.to_uppercase()],
    });
    let mut request = gateway.request("/v1/actions", action.to_string());
    request.headers_mut().insert("idempotency-key", "order-7".parse().unwrap());
    let answer = gateway.call(request).await;
    assert_eq!(answer.json()["idempotency_key"], "order-7");

    let mut events = collector.events(2).await;
    events.sort_by(|a, b| b.name.cmp(&a.name));
    let (feedback, action) = (&events[0], &events[1]);
    assert_eq!((feedback.name.as_str(), feedback.trace_id.as_str()), ("control_tower.feedback", TRACE));
    for (name, expected) in [
        ("control_tower.tenant.id", "acme"),
        ("control_tower.key.id", "key-1"),
        ("control_tower.retention.days", "30"),
        ("control_tower.outcome.unknown", "refuse"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("control_tower.feedback.score", "0.5"),
        ("control_tower.feedback.label", "ok"),
        ("control_tower.feedback.comment", "fine"),
    ] {
        assert_eq!(feedback.get(name), expected, "{name}");
    }
    assert_eq!((action.name.as_str(), action.time), ("control_tower.action", (now - 60) * 1_000_000_000));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    for (name, expected) in [
        ("control_tower.event.id", id.as_str()),
        ("control_tower.idempotency.key", "order-7"),
        ("control_tower.action.name", "ticket_resolved"),
        ("control_tower.action.outcome", "value"),
        ("control_tower.action.value", "12.5"),
        ("control_tower.action.traces", &value!([{"id": TRACE, "weight": 1.0}]).to_string()),
    ] {
        assert_eq!(action.get(name), expected, "{name}");
    }
    let responses: Value = serde_json::from_str(action.get("control_tower.action.responses")).unwrap();
    assert_eq!(responses[1], value!({"id": "chatcmpl-2", "weight": 0.25}));
    assert_eq!(collector.calls(1).await.len(), 1, "spans go where spans go");
}

#[tokio::test]
async fn a_comment_is_content() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, false));
    let feedback = value!({"response_id": "r", "label": "bad", "comment": "SECRET"});
    assert_eq!(gateway.post("/v1/feedback", feedback.to_string()).await.status, StatusCode::ACCEPTED);
    let event = collector.events(1).await.remove(0);
    assert_eq!(
        (event.get("control_tower.feedback.comment"), event.get("control_tower.feedback.label")),
        ("", "bad")
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    let action = |change: Value| {
        let mut action = value!({"name": "n", "outcome": "useful", "responses": ["r"]});
        action.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        ("/v1/actions", action)
    };
    for ((path, body), param, says) in [
        (("/v1/feedback", value!({"score": 1})), "response_id", "expected response_id or trace_id"),
        (("/v1/feedback", value!({"response_id": "r"})), "score", "at least one of score, label and comment"),
        (("/v1/feedback", value!({"response_id": 7, "score": 1})), "response_id", "number is not valid"),
        (("/v1/feedback", value!({"trace_id": "xyz", "score": 1})), "trace_id", "32 hex digits"),
        (
            ("/v1/feedback", value!({"response_id": "r", "span_id": "1", "score": 1})),
            "span_id",
            "no trace_id",
        ),
        (("/v1/feedback", value!({"response_id": "r", "score": "1"})), "score", "expected number"),
        (("/v1/feedback", value!({"response_id": "r", "skore": 1, "score": 1})), "skore", "no such field"),
        (("/v1/feedback", value!({"response_id": "r", "score": 1, "time": 12})), "time", "out of range"),
        (action(value!({"name": null})), "name", "required but missing"),
        (action(value!({"outcome": "great"})), "outcome", "\"useful\", \"not_useful\""),
        (action(value!({"outcome": {"value": 1.5}})), "outcome.value", "a decimal string"),
        (action(value!({"outcome": {"value": "1e3"}})), "outcome.value", "at most 12 decimals"),
        (action(value!({"outcome": {"value": "9999999999999"}})), "outcome.value", "out of range"),
        (action(value!({"responses": []})), "responses", "at least one of responses and traces"),
        (action(value!({"responses": "r"})), "responses", "expected array"),
        (action(value!({"responses": ["r", "r"]})), "responses[1]", "twice"),
        (
            action(value!({"responses": [{"id": "r", "weight": 2}]})),
            "responses[0].weight",
            "above 0 and at most 1",
        ),
        (action(value!({"responses": [{"id": "r", "wait": 1}]})), "responses[0].wait", "no such field"),
        (action(value!({"traces": ["00"]})), "traces[0]", "32 hex digits"),
        (action(value!({"idempotency_key": "x".repeat(300)})), "idempotency_key", "expected 1 to 256"),
    ] {
        let answer = gateway.post(path, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {:?}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["param"], &error["fault"]),
            (&value!(param), &value!("client")),
            "{body}: {error}"
        );
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {error}");
    }
    let mut request = gateway.request("/v1/actions", action(value!({"idempotency_key": "a"})).1.to_string());
    request.headers_mut().insert("idempotency-key", "b".parse().unwrap());
    assert_eq!(gateway.call(request).await.json()["error"]["param"], "idempotency_key");
    let mut request = gateway.request("/v1/feedback", "{}");
    request.headers_mut().remove("authorization");
    assert_eq!(gateway.call(request).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(gateway.get("/v1/actions").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(gateway.post("/v1/actions", "{").await.status, StatusCode::BAD_REQUEST);
    let large = value!({"response_id": "r", "comment": "x".repeat(300_000)});
    assert_eq!(gateway.post("/v1/feedback", large.to_string()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(gateway.get("/v1/models").await.status.is_success(), "the gateway goes on");
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_does_not_hold_up_calls_or_other_events() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let refused = std::sync::Arc::new(AtomicU32::new(0));
    let count = refused.clone();
    let poison = move |body: &[u8]| {
        let is_poison = body.windows(6).any(|w| w == b"POISON");
        count.fetch_add(u32::from(is_poison), Ordering::SeqCst);
        if is_poison { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    };
    let collector = Collector::judging(poison).await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    for label in ["one", "POISON", "two"] {
        gateway.post("/v1/feedback", value!({"response_id": "r", "label": label}).to_string()).await;
        gateway.post("/v1/chat/completions", chat(false)).await;
    }
    assert_eq!(collector.calls(3).await.len(), 3);
    let mut labels: Vec<String> =
        collector.events(2).await.iter().map(|e| e.get("control_tower.feedback.label").to_owned()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["one", "two"]);
    assert!(refused.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn context_is_recorded_and_kept_from_the_upstream() {
    for capture in [true, false] {
        let upstream = Upstream::always(json(200, ANSWER)).await;
        let collector = Collector::start().await;
        let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, capture));
        let mut body: Value = serde_json::from_str(&chat(false)).unwrap();
        body["control_tower"] =
            value!({"context": [{"id": "d1", "text": "Paris is big.", "score": 0.5, "source": "wiki"}]});
        assert_eq!(gateway.post("/v1/chat/completions", body.to_string()).await.status, StatusCode::OK);
        let sent: Value = serde_json::from_slice(&upstream.received()[0].body).unwrap();
        assert_eq!(sent, serde_json::from_str::<Value>(&chat(false)).unwrap());
        let documents: Value =
            serde_json::from_str(collector.call().await.get("gen_ai.retrieval.documents")).unwrap();
        let expected = if capture {
            value!([{"id": "d1", "score": 0.5, "source": "wiki", "text": "Paris is big."}])
        } else {
            value!([{"id": "d1", "score": 0.5}])
        };
        assert_eq!(documents, expected);
    }
}
