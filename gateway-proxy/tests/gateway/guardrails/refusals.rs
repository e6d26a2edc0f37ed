//! Refusals that a client comes back to.

use super::policy::{CHAT, RESPONSES, ask, gateway, usual};
use crate::resume::{get, hear, say, socket};
use crate::support::{KEY, Upstream};
use http::StatusCode;
use serde_json::{Value, json};

const ASKED: &str = "Tell me of the forbidden fruit";

#[tokio::test]
async fn a_streamed_refusal_is_kept_as_an_answer_is() {
    let upstream = Upstream::always(Vec::new()).await;
    let gateway = gateway(&upstream, &[usual()]);
    let mut request = gateway.request(CHAT, ask(CHAT, ASKED, true));
    request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
    let answered = gateway.call(request).await;
    let id = answered.header("x-request-id");
    assert_eq!(answered.header("content-type"), "text/event-stream; charset=utf-8");
    assert!(answered.text().starts_with(&format!("id: {id}:0\ndata: ")), "{}", answered.text());
    assert!(answered.text().contains("No: words."), "{}", answered.text());
    let again = gateway.call(get(&gateway, &format!("/v1/streams/{id}"))).await;
    assert_eq!((again.status, again.text()), (StatusCode::OK, answered.text()));

    let mut socket = socket(&gateway, KEY).await.unwrap();
    let body: Value = serde_json::from_str(&ask(CHAT, ASKED, true)).unwrap();
    say(&mut socket, json!({"type": "create", "path": CHAT, "body": body})).await;
    let first = hear(&mut socket).await;
    assert_eq!((&first["type"], &first["number"]), (&"event".into(), &0.into()), "{first}");
    while hear(&mut socket).await["type"] != "end" {}
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_refusal_in_the_background_is_found_by_its_id() {
    let upstream = Upstream::always(Vec::new()).await;
    let gateway = gateway(&upstream, &[usual()]);
    let body = json!({"model": "route", "input": ASKED, "background": true});
    let refused = gateway.post(RESPONSES, body.to_string()).await.json();
    assert_eq!(refused["status"], "incomplete", "{refused}");
    let path = format!("/v1/responses/{}", refused["id"].as_str().unwrap());
    let found = gateway.call(get(&gateway, &path)).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.text());
    assert_eq!(found.json()["output"], refused["output"]);
    let events = gateway.call(get(&gateway, &format!("{path}?stream=true"))).await;
    assert!(events.text().contains("No: words."), "{}", events.text());
}
