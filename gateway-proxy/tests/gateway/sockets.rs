//! Sockets: whose they are, for how long, and what becomes of a call whose socket goes.

use crate::resume::{Socket, hear, say, socket};
use crate::support::{Gateway, KEY, Step, Upstream, chat, config, json, snapshot};
use contracts::Timestamp;
use contracts::policy::KeyPolicy;
use futures_util::{SinkExt, StreamExt};
use runtime::Clock;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

async fn create(socket: &mut Socket, stream: bool) {
    let body: Value = serde_json::from_str(&chat(stream)).unwrap();
    let create = serde_json::json!({
        "type": "create", "path": "/v1/chat/completions", "body": body, "on_disconnect": "stop",
    });
    say(socket, create).await;
}

/// Waits until `upstream` has got `many` requests.
async fn asked(upstream: &Upstream, many: usize) {
    while upstream.received().len() < many {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for the end of a socket on which nothing more is said.
async fn ended(socket: &mut Socket) {
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(Duration::from_secs(5), end).await.expect("the socket closes");
}

#[tokio::test]
async fn a_call_ends_with_its_socket_before_its_answer_too() {
    let mut upstream = Upstream::always(vec![Step::Hang]).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    for (n, stream) in [false, true].into_iter().enumerate() {
        let mut socket = socket(&gateway, KEY).await.unwrap();
        create(&mut socket, stream).await;
        asked(&upstream, n + 1).await;
        drop(socket);
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_call_can_be_called_off_before_its_answer() {
    let mut upstream = Upstream::always(vec![Step::Hang]).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let mut socket = socket(&gateway, KEY).await.unwrap();
    create(&mut socket, false).await;
    asked(&upstream, 1).await;
    // One thing at a time.
    create(&mut socket, false).await;
    assert_eq!(hear(&mut socket).await["status"], 409);
    say(&mut socket, serde_json::json!({"type": "cancel"})).await;
    assert_eq!(hear(&mut socket).await["status"], 499);
    upstream.closed().await;
    say(&mut socket, serde_json::json!({"type": "resume", "stream": "req_nope"})).await;
    assert_eq!(hear(&mut socket).await["status"], 404);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn a_key_that_works_no_more_closes_its_socket() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let mut snapshot = snapshot(upstream.addr, false);
    let hash = control::secrets::hash(KEY);
    let start = Timestamp::from_unix_seconds(1_700_000_000);
    let policy = KeyPolicy {
        expires_at: Some(Timestamp::from_unix_seconds(1_700_000_060)),
        ..KeyPolicy::clone(&snapshot.keys[&hash])
    };
    snapshot.keys.insert(hash, Arc::new(policy));
    let clock = Clock::manual(start);
    let gateway = Gateway::start_at(config(None), snapshot, clock.clone());
    let mut socket = socket(&gateway, KEY).await.unwrap();
    let resume = serde_json::json!({"type": "resume", "stream": "req_nope"});
    say(&mut socket, resume.clone()).await;
    assert_eq!(hear(&mut socket).await["status"], 404);
    clock.advance(Duration::from_secs(61));
    say(&mut socket, resume).await;
    let told = hear(&mut socket).await;
    assert_eq!((&told["type"], &told["status"]), (&"answer".into(), &401.into()), "{told}");
    assert!(told["body"]["error"]["message"].as_str().unwrap().contains("has expired"), "{told}");
    ended(&mut socket).await;
}

#[tokio::test]
async fn a_key_has_so_many_sockets_and_no_more() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let mut config = config(None);
    config.resume.sockets_per_key = 2;
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let one = socket(&gateway, KEY).await.unwrap();
    let _two = socket(&gateway, KEY).await.unwrap();
    let refused = socket(&gateway, KEY).await.unwrap_err();
    let tokio_tungstenite::tungstenite::Error::Http(refused) = refused else { panic!("{refused}") };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    assert!(socket(&gateway, "ct-other-tenant-0123456789").await.is_ok());
    drop(one);
    while socket(&gateway, KEY).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_socket_of_which_nothing_comes_is_left_and_one_that_waits_is_not() {
    let mut upstream = Upstream::start(|request| {
        if request.json()["messages"][0]["content"] == "Say hi" {
            vec![Step::Hang]
        } else {
            [vec![Step::Wait(Duration::from_secs(2))], json(200, r#"{"id":"c","choices":[]}"#)].concat()
        }
    })
    .await;
    let mut config = config(None);
    config.resume.socket_idle_ms = 1_000;
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    // It answers the pings that come while it waits, and nothing else.
    let mut waits = socket(&gateway, KEY).await.unwrap();
    let body: Value = serde_json::from_str(&chat(false).replace("Say hi", "Slowly")).unwrap();
    say(&mut waits, serde_json::json!({"type": "create", "path": "/v1/chat/completions", "body": body}))
        .await;
    let told = hear_answer(&mut waits).await;
    assert_eq!(told["status"], 200, "{told}");
    ended(&mut waits).await;
    // It does not even answer pings: nobody is there any more.
    let mut gone = socket(&gateway, KEY).await.unwrap();
    create(&mut gone, false).await;
    upstream.closed().await;
}

/// What is said next, pings aside.
async fn hear_answer(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
        let message = message.expect("the socket is open").unwrap();
        if message.is_text() {
            return serde_json::from_str(message.to_text().unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_long_message_is_not_gathered_from_a_client_that_should_wait() {
    let mut upstream = Upstream::always(vec![Step::Hang]).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let mut socket = socket(&gateway, KEY).await.unwrap();
    create(&mut socket, false).await;
    asked(&upstream, 1).await;
    say(&mut socket, serde_json::json!({"type": "create", "path": "x".repeat(300 << 10)})).await;
    let told = hear(&mut socket).await;
    assert_eq!((&told["type"], &told["status"]), (&"answer".into(), &409.into()), "{told}");
    ended(&mut socket).await;
    upstream.closed().await;
}

#[tokio::test]
async fn what_a_socket_gathers_is_within_the_bound_on_all_bodies() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let mut config = config(None);
    config.limits.body_bytes = 4 << 20;
    config.limits.bodies_in_work_bytes = 4 << 20;
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let long = |bytes: usize| chat(false).replace("Say hi", &"x".repeat(bytes));
    // Another call takes most of it, and asks for an answer that does not come.
    let call = gateway.request("/v1/chat/completions", long(3 << 20));
    let sent = gateway.send(call);
    let mut sent = std::pin::pin!(sent);
    tokio::select! {
        _ = &mut sent => panic!("nothing answers it"),
        () = asked(&upstream, 1) => {}
    }
    let mut socket = socket(&gateway, KEY).await.unwrap();
    let body: Value = serde_json::from_str(&long(2 << 20)).unwrap();
    let create = serde_json::json!({"type": "create", "path": "/v1/chat/completions", "body": body});
    say(&mut socket, create).await;
    let told = hear(&mut socket).await;
    assert_eq!(told["status"], 503, "{told}");
    ended(&mut socket).await;
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn pings_within_a_long_message_do_not_make_it_a_short_one() {
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    use tokio_tungstenite::tungstenite::{Message, protocol::frame::Frame};
    let mut upstream = Upstream::always(vec![Step::Hang]).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    let mut socket = socket(&gateway, KEY).await.unwrap();
    create(&mut socket, false).await;
    asked(&upstream, 1).await;
    // Pings by themselves are no message, however many they are.
    for _ in 0..1_000 {
        socket.send(Message::Ping(vec![0; 100].into())).await.unwrap();
        while !socket.next().await.expect("the socket is open").unwrap().is_pong() {}
    }
    let mut kind = OpCode::Data(Data::Text);
    for _ in 0..5 {
        let part = Frame::message(vec![b'x'; 60 << 10], kind, false);
        // It may be closed already.
        let _ = socket.send(Message::Frame(part)).await;
        let _ = socket.send(Message::Ping(Vec::new().into())).await;
        kind = OpCode::Data(Data::Continue);
    }
    let told = hear_answer(&mut socket).await;
    assert_eq!((&told["type"], &told["status"]), (&"answer".into(), &409.into()), "{told}");
    upstream.closed().await;
}
