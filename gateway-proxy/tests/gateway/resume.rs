//! Streams that outlive their connection.

use crate::support::{Gateway, Step, Upstream, chat, config, snapshot};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use std::time::Duration;

fn chunked(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// `events`, one every 100 ms.
pub(crate) fn slowly(events: &[String]) -> Vec<Step> {
    let mut steps = vec![Step::Send(HEAD.into())];
    for event in events {
        steps.push(Step::Send(chunked(event)));
        steps.push(Step::Wait(Duration::from_millis(100)));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    steps
}

fn chat_events() -> Vec<String> {
    let piece = |text: &str| {
        format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    let end = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":3}}\n\n";
    let mut events: Vec<String> = ["a", "b", "c", "d"].map(piece).into();
    events.extend([end.into(), "data: [DONE]\n\n".into()]);
    events
}

pub(crate) fn response_events() -> Vec<String> {
    let event = |number: usize, kind: &str, more: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number}{more}}}\n\n")
    };
    let response = |status: &str, output: &str| {
        format!(
            ",\"response\":{{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"{status}\",\"output\":[{output}],\"usage\":null}}"
        )
    };
    let delta = |number| event(number, "response.output_text.delta", ",\"output_index\":0,\"delta\":\"x\"");
    vec![
        event(0, "response.created", &response("in_progress", "")),
        delta(1),
        delta(2),
        delta(3),
        event(4, "response.completed", &response("completed", "{\"type\":\"message\",\"content\":[]}")),
    ]
}

pub(crate) async fn gateway(events: Vec<String>) -> (Gateway, Upstream) {
    let upstream = Upstream::always(slowly(&events)).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    (gateway, upstream)
}

pub(crate) fn get(gateway: &Gateway, path: &str) -> Request<Full<Bytes>> {
    let mut request = gateway.request(path, String::new());
    *request.method_mut() = Method::GET;
    request
}

/// Reads a stream until `many` bytes of it are here, and leaves.
async fn begin(
    gateway: &Gateway,
    mut request: Request<Full<Bytes>>,
    more: &[(&'static str, &str)],
) -> (String, String) {
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let mut answer = gateway.send(request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut text = String::new();
    while text.matches("data: ").count() < 2 {
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    (id, text)
}

#[tokio::test]
async fn a_chat_goes_on_where_its_connection_broke() {
    let (gateway, upstream) = gateway(chat_events()).await;
    let resume = [("x-control-tower-resume", "on")];
    let (id, text) = begin(&gateway, gateway.request("/v1/chat/completions", chat(true)), &resume).await;
    assert!(text.starts_with(&format!("id: {id}:0\ndata: ")), "{text}");

    let mut request = get(&gateway, &format!("/v1/streams/{id}"));
    request.headers_mut().insert("last-event-id", format!("{id}:0").parse().unwrap());
    let rest = gateway.call(request).await;
    let numbers: Vec<&str> = rest.text().lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    // The usage that nobody asked for is with the last piece here, so nothing is hidden.
    let expected: Vec<String> = (1..6).map(|n| format!("{id}:{n}")).collect();
    assert_eq!(numbers, expected);
    assert!(rest.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(upstream.received().len(), 1, "the model was asked once");
    // It is over, and can be read again, from the beginning too.
    let again = gateway.call(get(&gateway, &format!("/v1/streams/{id}"))).await;
    assert_eq!(again.text().matches("data: ").count(), 6);
}

#[tokio::test]
async fn a_tenant_sees_its_own_streams_only_and_errors_say_what_is_wrong() {
    let (gateway, _upstream) = gateway(chat_events()).await;
    let resume = [("x-control-tower-resume", "on")];
    let (id, _) = begin(&gateway, gateway.request("/v1/chat/completions", chat(true)), &resume).await;
    let path = format!("/v1/streams/{id}");
    let mut other = get(&gateway, &path);
    other.headers_mut().insert("authorization", "Bearer ct-other-tenant-0123456789".parse().unwrap());
    assert_eq!(gateway.call(other).await.status, StatusCode::NOT_FOUND);
    let mut bad = get(&gateway, &path);
    bad.headers_mut().insert("last-event-id", "req:seven".parse().unwrap());
    let answer = gateway.call(bad).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("Last-Event-ID: \\\"seven\\\" is not valid"), "{}", answer.text());
    assert_eq!(gateway.call(get(&gateway, "/v1/streams/req_nope")).await.status, StatusCode::NOT_FOUND);
    let posted = gateway.call(gateway.request(&path, String::new())).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    // A stream that was not to be kept is not.
    let (plain, _) = begin(&gateway, gateway.request("/v1/chat/completions", chat(true)), &[]).await;
    assert_eq!(
        gateway.call(get(&gateway, &format!("/v1/streams/{plain}"))).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_upstream_is_left_when_the_request_says_so() {
    let mut events = slowly(&chat_events()[..2]);
    events.pop();
    events.push(Step::Hang);
    let mut upstream = Upstream::always(events).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let headers = [("x-control-tower-resume", "on"), ("x-control-tower-on-disconnect", "stop")];
    begin(&gateway, gateway.request("/v1/chat/completions", chat(true)), &headers).await;
    upstream.closed().await;
}

/// A chat whose second piece, in one go, is more than is kept of a stream.
async fn rushing() -> (Gateway, Upstream) {
    let events = chat_events();
    let rush = events[1].repeat(40);
    let upstream = Upstream::always(slowly(&[events[0].clone(), rush, events[4..].concat()])).await;
    let mut config = config(None);
    config.resume.stream_bytes = 1_000;
    (Gateway::start(config, snapshot(upstream.addr, false)), upstream)
}

#[tokio::test]
async fn a_reader_that_fell_behind_is_not_told_that_this_was_all() {
    let (gateway, _upstream) = rushing().await;
    let mut request = gateway.request("/v1/chat/completions", chat(true));
    request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
    let answer = gateway.call(request).await;
    let last = answer.text().trim_end().lines().last().unwrap();
    let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "events_gone", "{last}");
    assert_eq!(gateway.metric("gateway_slow_readers_total").await, Some(1.0));
    // Who comes back with the last event that arrived is told the same.
    let path = format!("/v1/streams/{}", answer.header("x-request-id"));
    let mut again = get(&gateway, &path);
    again.headers_mut().insert("last-event-id", "0".parse().unwrap());
    assert_eq!(gateway.call(again).await.status, StatusCode::GONE);

    let mut socket = socket(&gateway, crate::support::KEY).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&chat(true)).unwrap();
    say(&mut socket, serde_json::json!({"type": "create", "path": "/v1/chat/completions", "body": body}))
        .await;
    assert_eq!(hear(&mut socket).await["number"], 0);
    let told = hear(&mut socket).await;
    assert_eq!((&told["type"], &told["status"]), (&"answer".into(), &410.into()), "{told}");
    assert_eq!(told["body"]["error"]["code"], "events_gone");
}

#[tokio::test]
async fn a_tenant_keeps_no_more_than_its_share() {
    let mut events = slowly(&response_events()[..2]);
    events.pop();
    events.push(Step::Hang);
    let upstream = Upstream::always(events).await;
    let mut config = config(None);
    (config.resume.most_streams, config.resume.tenant_percent) = (4, 50);
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let body = r#"{"model":"gpt-4o-mini","input":"hi","background":true}"#;
    for status in [200, 200, 503] {
        let answer = gateway.post("/v1/responses", body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    }
    // What is not streamed needs no room.
    let mut whole = gateway.request("/v1/chat/completions", "{}");
    whole.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
    assert_eq!(gateway.call(whole).await.status, StatusCode::BAD_REQUEST);
    let mut other = gateway.request("/v1/responses", body);
    other.headers_mut().insert("authorization", "Bearer ct-other-tenant-0123456789".parse().unwrap());
    assert_eq!(gateway.call(other).await.status, StatusCode::OK);
    assert_eq!(upstream.received().len(), 3);
}

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// A socket, if `key` may open one.
pub(crate) async fn socket(
    gateway: &Gateway,
    key: &str,
) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{}/v1/stream", gateway.addr).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| socket)
}

pub(crate) async fn say(socket: &mut Socket, message: serde_json::Value) {
    use futures_util::SinkExt;
    socket.send(tokio_tungstenite::tungstenite::Message::text(message.to_string())).await.unwrap();
}

pub(crate) async fn hear(socket: &mut Socket) -> serde_json::Value {
    use futures_util::StreamExt;
    let message =
        tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_socket_makes_calls_and_comes_back_to_them() {
    let (gateway, upstream) = gateway(chat_events()).await;
    assert!(socket(&gateway, "ct-wrong").await.is_err(), "a key is asked for");
    let mut one = socket(&gateway, crate::support::KEY).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&chat(true)).unwrap();
    say(&mut one, serde_json::json!({"type": "create", "path": "/v1/chat/completions", "body": body})).await;
    let first = hear(&mut one).await;
    assert_eq!((&first["type"], &first["number"]), (&"event".into(), &0.into()), "{first}");
    assert_eq!(first["data"]["choices"][0]["delta"]["content"], "a");
    let stream = first["stream"].clone();
    drop(one);

    let mut two = socket(&gateway, crate::support::KEY).await.unwrap();
    say(&mut two, serde_json::json!({"type": "resume", "stream": stream, "after": 0})).await;
    let mut heard = Vec::new();
    loop {
        let told = hear(&mut two).await;
        if told["type"] == "end" {
            break;
        }
        heard.push(told);
    }
    let numbers: Vec<u64> = heard.iter().map(|told| told["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(heard[4]["data"], "[DONE]");
    assert_eq!(upstream.received().len(), 1);

    // What is wrong is said, and the socket stays.
    for (message, status) in [
        (serde_json::json!({"type": "create", "path": "/v1/nope", "body": {}}), 404),
        (serde_json::json!({"type": "create", "path": "/v1/chat/completions", "body": {}}), 400),
        (serde_json::json!({"type": "create", "path": "/healthz", "body": {}}), 400),
        (serde_json::json!({"type": "resume", "stream": "req_nope"}), 404),
        (serde_json::json!({"type": "dance"}), 400),
        (serde_json::json!({"type": "cancel"}), 409),
    ] {
        say(&mut two, message.clone()).await;
        let told = hear(&mut two).await;
        assert_eq!((&told["type"], &told["status"]), (&"answer".into(), &status.into()), "{message}: {told}");
    }
    let mut stranger = socket(&gateway, "ct-other-tenant-0123456789").await.unwrap();
    say(&mut stranger, serde_json::json!({"type": "resume", "stream": stream})).await;
    assert_eq!(hear(&mut stranger).await["status"], 404);
}
