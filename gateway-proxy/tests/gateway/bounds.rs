//! What nobody may take more of than there is: memory for bodies and answers, room in the spool, the collector's patience.

use crate::support::{Collector, Gateway, KEY, Step, Upstream, chat, config, json, snapshot, sse};
use axum::http::StatusCode;
use gateway_proxy::WhenFull;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json as value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER: &str = r#"{"id":"chatcmpl-1","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
const KIB: usize = 1024;

/// A client that says that it sends `length` bytes, and sends the first of them.
async fn begin(gateway: &Gateway, length: usize, first: usize) -> TcpStream {
    let mut client = TcpStream::connect(gateway.addr).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{}",
        "x".repeat(first)
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// A chat of at least so many bytes.
fn long_chat(bytes: usize) -> String {
    chat(false).replace("Say hi", &"hi ".repeat(bytes / 3))
}

#[tokio::test]
async fn bodies_in_work_have_a_bound_together() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut config = config(None);
    config.limits.body_bytes = 300 * KIB;
    config.limits.bodies_in_work_bytes = 400 * KIB;
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let slow = begin(&gateway, 250 * KIB, 10).await;
    // A second of that size does not fit; a small one does, and so does a large one that fits beside it.
    let mut refused = gateway.post("/v1/chat/completions", long_chat(200 * KIB)).await;
    while refused.status == StatusCode::OK {
        // The slow one had not come in yet.
        refused = gateway.post("/v1/chat/completions", long_chat(200 * KIB)).await;
    }
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json()["error"]["code"], "too_many_requests_in_work");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    assert_eq!(gateway.post("/v1/chat/completions", long_chat(100 * KIB)).await.status, StatusCode::OK);
    drop(slow);
    let free = async {
        while gateway.post("/v1/chat/completions", long_chat(200 * KIB)).await.status != StatusCode::OK {}
    };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("the room is given back");
}

#[tokio::test]
async fn a_body_may_take_only_so_long_however_steadily_it_drips() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut config = config(None);
    config.timeouts.client_body_ms = 10_000;
    config.timeouts.client_body_total_ms = 400;
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let started = Instant::now();
    let (mut from, mut to) = begin(&gateway, 10_000, 1).await.into_split();
    let drip = tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let said = async {
        while !String::from_utf8_lossy(&answer).contains("its end did not come within 400 ms") {
            assert_ne!(from.read_buf(&mut answer).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), said).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    drip.abort();
}

#[tokio::test]
async fn a_stream_without_end_is_ended_and_only_its_beginning_is_kept() {
    let text = "y".repeat(100 * KIB);
    let chunk = format!(
        "data: {{\"id\":\"c1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    );
    let pieces = vec![chunk.as_bytes(); 20];
    let upstream = Upstream::always(sse(&pieces)).await;
    let collector = Collector::start().await;
    let mut config = config(Some(&collector));
    config.limits.answer_bytes = 1_500 * KIB;
    let gateway = Gateway::start(config, snapshot(upstream.addr, true));
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert!(answer.text().contains("upstream_answer_too_large"), "{}", answer.text().len());
    assert!(answer.text().len() < 1_700 * KIB);
    let call = collector.call().await;
    assert_eq!(
        (call.get("error.type"), call.get("control_tower.usage.source")),
        ("upstream_answer_too_large", "partial")
    );
    // Sixteen pieces came, or a few more, of which a quarter of a mebibyte was recorded.
    let cut: usize = call.get("control_tower.content.truncated_bytes").parse().unwrap();
    assert!((1_240 * KIB..1_780 * KIB).contains(&cut), "{cut}");
}

#[tokio::test]
async fn an_outcome_is_never_taken_to_be_dropped() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut config = config(None);
    config.spool.max_bytes = 64 << 10;
    config.spool.segment_bytes = 8 << 10;
    config.spool.when_full = WhenFull::Drop;
    let gateway = Gateway::start(config, snapshot(upstream.addr, true));
    let action = value!({"name": "n", "outcome": "useful", "responses": ["r"]}).to_string();
    assert_eq!(gateway.post("/v1/actions", action.clone()).await.status, StatusCode::ACCEPTED);
    for _ in 0..100 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
    assert!(gateway.metric("gateway_spool_dropped_total").await.unwrap() > 0.0);
    let refused = gateway.post("/v1/actions", action).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn an_outcome_of_longer_ago_than_its_tenants_telemetry_is_kept_is_refused_by_name() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, true));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (days, status) in [(28, StatusCode::ACCEPTED), (30, StatusCode::BAD_REQUEST)] {
        let told = value!({"response_id": "r", "score": 1, "time": now - days * 86_400});
        let answer = gateway.post("/v1/feedback", told.to_string()).await;
        assert_eq!(answer.status, status, "{days}: {:?}", answer.body);
        if status != StatusCode::ACCEPTED {
            let message = answer.json()["error"]["message"].to_string();
            assert!(message.contains("outcomes are kept for 30 days"), "{message}");
        }
    }
    let told = value!({"response_id": "r", "score": 1, "rating": 1});
    let message = gateway.post("/v1/feedback", told.to_string()).await.json()["error"]["message"].to_string();
    assert!(message.contains("rating: no such field: expected response_id, trace_id"), "{message}");
}

#[tokio::test]
async fn a_collector_url_that_leads_elsewhere_is_told_by_readyz() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let elsewhere = Upstream::always(json(404, "{}")).await;
    let mut config = config(None);
    config.collector_url = format!("http://{}", elsewhere.addr);
    let gateway = Gateway::start(config, snapshot(upstream.addr, true));
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    let told = async {
        loop {
            let ready = gateway.get("/readyz").await;
            let shipper = ready.json()["components"]["shipper"].clone();
            if shipper["ready"] == false && shipper["reason"] != "starting" {
                return shipper["reason"].to_string();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    for part in ["gateway.collector_url", "/v1/traces", "404", "expected an OTLP/HTTP endpoint"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn what_the_collector_rejects_of_a_batch_is_not_counted_as_shipped() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "1 rejected: control_tower.tenant.id".into(),
        }),
    };
    let body = partial.encode_to_vec();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let picky = Upstream::always(vec![Step::Send([head.into_bytes(), body].concat())]).await;
    let mut config = config(None);
    config.collector_url = format!("http://{}", picky.addr);
    let gateway = Gateway::start(config, snapshot(upstream.addr, true));
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    let counted = async {
        while gateway.metric("gateway_shipper_rejected_records_total").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
    assert_eq!(gateway.metric("gateway_shipped_records_total").await, Some(0.0));
    for (tokens, count) in [("input_tokens", 10.0), ("output_tokens", 5.0), ("reasoning_output_tokens", 0.0)]
    {
        let metric = format!("gen_ai_client_inference_usage_{tokens}_total");
        assert_eq!(gateway.metric(&metric).await, Some(count), "{tokens}");
    }
}

#[tokio::test]
async fn an_attempts_first_token_is_measured_from_the_attempt_and_a_calls_from_its_body() {
    let first = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::always(sse(&[first.as_bytes()])).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    // Long enough to take its time to be read.
    let body = long_chat(4 << 20).replace("\"stream\":false", "\"stream\":true");
    assert_eq!(gateway.post("/v1/chat/completions", body).await.status, StatusCode::OK);
    let call = collector.call().await;
    let attempt = collector.spans().into_iter().find(|s| s.get("control_tower.record") == "attempt").unwrap();
    let seconds =
        |span: &crate::support::Span| span.get("gen_ai.response.time_to_first_chunk").parse::<f64>().unwrap();
    assert!(seconds(&attempt) < seconds(&call), "{} {}", seconds(&attempt), seconds(&call));
}
