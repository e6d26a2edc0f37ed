//! Everything that may take too long has its limit.

use crate::support::{
    Collector, Gateway, KEY, Step, Upstream, chat, config, snapshot, snapshot_at, sse_head,
};
use gateway_proxy::Timeouts;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHUNK: &str = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";

async fn gateway(upstream: &Upstream, timeouts: Timeouts) -> (Gateway, Collector) {
    Gateway::warm_up();
    let collector = Collector::start().await;
    let mut config = config(Some(&collector));
    config.timeouts = timeouts;
    (Gateway::start(config, snapshot(upstream.addr, false)), collector)
}

#[tokio::test]
async fn an_upstream_that_never_answers() {
    let mut upstream = Upstream::always(vec![Step::Hang]).await;
    let (gateway, collector) =
        gateway(&upstream, Timeouts { first_byte_ms: 150, ..Timeouts::default() }).await;
    for stream in [false, true] {
        let started = std::time::Instant::now();
        let answer = gateway.post("/v1/chat/completions", chat(stream)).await;
        assert!(started.elapsed() < Duration::from_millis(1_500));
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (504, Some("upstream_timeout"))
        );
        assert!(answer.text().contains("150 ms"), "{}", answer.text());
        upstream.closed().await;
    }
    for call in collector.calls(2).await {
        assert_eq!(
            (call.get("error.type"), call.get("control_tower.usage.source")),
            ("upstream_timeout", "partial")
        );
    }
}

#[tokio::test]
async fn an_upstream_that_never_lets_anybody_in_costs_nothing() {
    // The kernel takes the connection, but nobody ever answers the TLS handshake.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}/v1", deaf.local_addr().unwrap());
    let collector = Collector::start().await;
    let mut slow = config(Some(&collector));
    slow.timeouts.connect_ms = 200;
    slow.upstream.connect_retries = 0;
    let gateway = Gateway::start(slow, snapshot_at(&base_url, false));
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (504, Some("upstream_timeout"))
    );
    // And a client that leaves meanwhile.
    let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let body = chat(false);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    for call in collector.calls(2).await {
        assert_eq!(call.get("control_tower.usage.source"), "", "{call:?}");
        assert_eq!(call.get("control_tower.cost.total"), "");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_the_prompt_and_dies_costs_the_prompt() {
    let upstream = Upstream::always(vec![Step::Close]).await;
    let (gateway, collector) = gateway(&upstream, Timeouts::default()).await;
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, 502);
    let call = collector.call().await;
    assert_eq!(
        (call.get("error.type"), call.get("control_tower.usage.source")),
        ("upstream_closed", "partial")
    );
    assert!(call.get("gen_ai.usage.input_tokens").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_stream_that_stalls() {
    let mut upstream = Upstream::always(vec![sse_head(), Step::Send(CHUNK.into()), Step::Hang]).await;
    let (gateway, collector) = gateway(&upstream, Timeouts { idle_ms: 150, ..Timeouts::default() }).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.status, 200);
    let rest = answer.text().strip_prefix(CHUNK).unwrap();
    assert!(rest.contains("\"code\":\"upstream_timeout\"") && rest.contains("150 ms"), "{rest}");
    upstream.closed().await;
    assert_eq!(collector.call().await.get("error.type"), "upstream_timeout");
}

#[tokio::test]
async fn a_stream_that_never_ends() {
    let mut steps = vec![sse_head()];
    for _ in 0..100 {
        steps.extend([Step::Send(CHUNK.into()), Step::Wait(Duration::from_millis(30))]);
    }
    let upstream = Upstream::always(steps).await;
    let timeouts = Timeouts { idle_ms: 5_000, total_ms: 400, ..Timeouts::default() };
    let (gateway, _collector) = gateway(&upstream, timeouts).await;
    let started = std::time::Instant::now();
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(answer.text().contains("\"code\":\"upstream_timeout\""), "{}", answer.text());
}

#[tokio::test]
async fn an_answer_that_stops_half_way() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":";
    let upstream = Upstream::always(vec![Step::Send(head.into()), Step::Hang]).await;
    let (gateway, _collector) = gateway(&upstream, Timeouts { idle_ms: 150, ..Timeouts::default() }).await;
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (504, Some("upstream_timeout"))
    );
}

#[tokio::test]
async fn a_client_that_stops_sending() {
    let upstream = Upstream::always(Vec::new()).await;
    let (gateway, collector) =
        gateway(&upstream, Timeouts { client_body_ms: 150, ..Timeouts::default() }).await;
    let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), async {
        while !String::from_utf8_lossy(&answer).contains("request_timeout") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
    })
    .await
    .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(collector.call().await.get("error.type"), "request_timeout");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer() {
    let text = "y".repeat(32 << 20);
    let answer = format!(
        r#"{{"choices":[{{"message":{{"role":"assistant","content":"{text}"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":1}}}}"#
    );
    let upstream = Upstream::always(crate::support::json(200, &answer)).await;
    let (gateway, collector) =
        gateway(&upstream, Timeouts { client_stall_ms: 500, ..Timeouts::default() }).await;
    let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let body = chat(false);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    collector.call().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut seen = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut seen)).await;
    assert!(seen.len() < answer.len(), "the whole answer was still to be had");
    end.expect("the connection was given up").unwrap_err();
}

#[tokio::test]
async fn a_client_that_does_not_read_its_stream() {
    let large = CHUNK.replace("\"x\"", &format!("\"{}\"", "y".repeat(1 << 20)));
    let mut steps = vec![sse_head()];
    // More than the buffers of all sockets on the way.
    steps.extend(std::iter::repeat_n(Step::Send(large.into_bytes()), 64));
    let mut upstream = Upstream::always(steps).await;
    let (gateway, collector) =
        gateway(&upstream, Timeouts { client_stall_ms: 300, ..Timeouts::default() }).await;
    let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let body = chat(true);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    upstream.closed().await;
    assert_eq!(collector.call().await.get("error.type"), "client_disconnected");
}
