//! A client that leaves: its upstream is cancelled within 100 ms, on every endpoint, and the partial cost is recorded.

use crate::support::{Gateway, KEY, Step, Upstream, sse_head};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const CHUNK: &str = "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word word\"}}]}\n\n";

fn raw(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn bodies() -> [(&'static str, String); 5] {
    [
        ("/v1/chat/completions", crate::support::chat(false)),
        ("/v1/completions", r#"{"model":"gpt-4o-mini","prompt":"hi"}"#.into()),
        ("/v1/embeddings", r#"{"model":"gpt-4o-mini","input":"hi"}"#.into()),
        ("/v1/responses", r#"{"model":"gpt-4o-mini","input":"hi"}"#.into()),
        ("/v1/messages", message(false)),
    ]
}

/// What Anthropic's client asks of a model at a server of another protocol.
fn message(stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-4o-mini","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":"Say hi"}}]}}"#
    )
}

/// The median of several.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn leaving_before_the_answer_cancels_the_upstream() {
    for (path, body) in bodies() {
        let mut times = Vec::new();
        let mut upstream = Upstream::always(vec![Step::Hang]).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        for round in 1..=5 {
            let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
            client.write_all(raw(path, &body).as_bytes()).await.unwrap();
            while upstream.received().len() < round {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let left = Instant::now();
            drop(client);
            times.push(upstream.closed().await - left);
        }
        let median = median(times);
        assert!(median < Duration::from_millis(100), "{path}: {median:?}");
        for call in collector.calls(5).await {
            assert_eq!(call.get("error.type"), "client_disconnected", "{path}");
            assert_eq!(call.get("control_tower.client.disconnected"), "true");
            assert_eq!(call.get("http.response.status_code"), "499");
            assert_eq!(call.get("control_tower.usage.source"), "partial");
            assert!(call.get("gen_ai.usage.input_tokens").parse::<u64>().unwrap() > 0, "the prompt costs");
        }
    }
}

#[tokio::test]
async fn leaving_amid_a_stream_cancels_the_upstream() {
    let mut times = Vec::new();
    let mut upstream = Upstream::always(vec![sse_head(), Step::Send(CHUNK.into()), Step::Hang]).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    for _ in 0..5 {
        let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
        let body = crate::support::chat(true);
        client.write_all(raw("/v1/chat/completions", &body).as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("word word") {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
        }
        let left = Instant::now();
        drop(client);
        times.push(upstream.closed().await - left);
    }
    let median = median(times);
    assert!(median < Duration::from_millis(100), "{median:?}");
    for call in collector.calls(5).await {
        assert_eq!(call.get("control_tower.client.disconnected"), "true");
        assert_eq!(call.get("control_tower.usage.source"), "partial");
        assert_eq!(call.get("gen_ai.usage.output_tokens"), "2");
        assert!(!call.get("control_tower.cost.total").is_empty());
        assert!(call.get("gen_ai.output.messages").contains("word word"));
    }
    assert_eq!(gateway.metric("gateway_client_disconnects_total").await, Some(5.0));
    let metrics = gateway.get("/metrics").await;
    let counts = metrics.text().lines().filter_map(|line| line.strip_prefix("gateway_requests_total{"));
    let requests: f64 = counts.filter_map(|line| line.split_once("} ")?.1.parse::<f64>().ok()).sum();
    assert!((requests - 5.0).abs() < 0.1, "{requests} requests were counted");
}

#[tokio::test]
async fn a_running_count_is_no_report_of_the_whole() {
    let usage = r#","usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
    let running = CHUNK.trim_end().strip_suffix('}').unwrap().to_owned() + usage + "\n\n";
    let finish = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned() + "\n\n";
    let ended = format!("{running}{finish}")
        + r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#
        + "\n\n";
    for (events, source, output) in [(&running, "partial", "2"), (&ended, "reported", "4")] {
        let upstream =
            Upstream::always(vec![sse_head(), Step::Send(events.clone().into()), Step::Hang]).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let request = gateway.request("/v1/chat/completions", crate::support::chat(true));
        let mut body = gateway.send(request).await.into_body();
        body.frame().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(body);
        let call = collector.call().await;
        assert_eq!(call.get("control_tower.client.disconnected"), "true");
        assert_eq!(
            (call.get("control_tower.usage.source"), call.get("gen_ai.usage.output_tokens")),
            (source, output)
        );
    }
}

/// A translated answer has places for counts that its provider has not stated: the zeros there must not be charged.
#[tokio::test]
async fn leaving_amid_a_translated_stream_costs_what_came() {
    let mut upstream = Upstream::always(vec![sse_head(), Step::Send(CHUNK.into()), Step::Hang]).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let mut body = gateway.send(gateway.request("/v1/messages", message(true))).await.into_body();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("word word") {
        seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop(body);
    upstream.closed().await;
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.usage.source"), "partial");
    assert_eq!(call.get("gen_ai.usage.output_tokens"), "2");
    assert!(call.get("gen_ai.usage.input_tokens").parse::<u64>().unwrap() > 0);
    assert!(!["", "0"].contains(&call.get("control_tower.cost.total")), "{call:?}");
}

#[tokio::test]
async fn leaving_does_not_change_the_tier_that_was_asked_for() {
    let usage = r#","usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let said = CHUNK.trim_end().strip_suffix('}').unwrap().to_owned() + usage + "\n\n";
    let served = said.replace(r#""model":"m","#, r#""model":"m","service_tier":"default","#);
    for (event, cost) in [(said, "0.002"), (served, "0.00002")] {
        let upstream = Upstream::always(vec![sse_head(), Step::Send(event.into()), Step::Hang]).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let body =
            crate::support::chat(true).replace("\"stream\"", "\"service_tier\":\"priority\",\"stream\"");
        let mut body = gateway.send(gateway.request("/v1/chat/completions", body)).await.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(collector.call().await.get("control_tower.cost.total"), cost);
    }
}

#[tokio::test]
async fn leaving_after_the_last_event_is_no_disconnect() {
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    let upstream =
        Upstream::always(vec![sse_head(), Step::Send(format!("{CHUNK}{finish}").into()), Step::Hang]).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let mut body =
        gateway.send(gateway.request("/v1/chat/completions", crate::support::chat(true))).await.into_body();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("[DONE]") {
        seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    drop(body);
    let call = collector.call().await;
    assert_eq!((call.get("control_tower.client.disconnected"), call.get("error.type")), ("", ""));
    assert_eq!(call.get("control_tower.usage.source"), "reported");
}
