//! What a call leaves behind, when, and how it reaches the collector.

use crate::support::{Collector, Gateway, Span, Step, Upstream, chat, config, json, snapshot, sse, sse_head};
use axum::http::StatusCode;
use gateway_proxy::WhenFull;
use http_body_util::BodyExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const ANSWER: &str = r#"{"id":"chatcmpl-1","model":"gpt-4o-mini","service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

#[tokio::test]
async fn a_call_is_two_spans_that_say_all() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let mut request = gateway.request("/v1/chat/completions", chat(false).replace("gpt-4o-mini", "fast"));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    let answer = gateway.call(request).await;
    let call = collector.call().await;
    let spans = collector.spans();
    let attempt = spans.iter().find(|s| s.get("control_tower.record") == "attempt").unwrap();

    assert_eq!((call.name.as_str(), call.kind), ("POST /v1/chat/completions", 2));
    assert_eq!((attempt.name.as_str(), attempt.kind), ("chat fast", 3));
    assert_eq!((call.parent.as_str(), &attempt.parent), ("00f067aa0ba902b7", &call.span_id));
    assert_eq!(call.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(upstream.received()[0].header("traceparent").unwrap().contains(&attempt.span_id));
    assert!(call.duration >= attempt.duration && attempt.duration > 0);
    for (name, value) in [
        ("control_tower.tenant.id", "acme"),
        ("control_tower.key.id", "key-1"),
        ("control_tower.request.id", answer.header("x-request-id")),
        ("control_tower.route", "fast"),
        ("control_tower.tier", "mid"),
        ("control_tower.retention.days", "30"),
        ("control_tower.usage.source", "reported"),
        ("control_tower.price_book.version", "test-1"),
        ("control_tower.cost.input", "0.00001"),
        ("control_tower.cost.output", "0.00001"),
        ("control_tower.cost.cache", "0"),
        ("control_tower.cost.total", "0.00002"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "sim"),
        ("gen_ai.request.model", "fast"),
        ("gen_ai.request.stream", "false"),
        ("gen_ai.response.model", "gpt-4o-mini"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("gen_ai.usage.input_tokens", "10"),
        ("gen_ai.usage.output_tokens", "5"),
        ("gen_ai.input.messages", r#"[{"role":"user","content":"Say hi"}]"#),
        ("gen_ai.output.messages", r#"[{"role":"assistant","content":"Hello"}]"#),
        ("http.request.method", "POST"),
        ("http.route", "/v1/chat/completions"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(call.get(name), value, "{name}");
    }
    assert_eq!(attempt.get("control_tower.attempt"), "1");
    assert_eq!(attempt.get("server.port"), upstream.addr.port().to_string());
    assert_eq!(attempt.get("control_tower.cost.total"), "0.00002");
    assert_eq!(attempt.get("gen_ai.input.messages"), "", "content is kept once");
    let headers = &collector.headers()[0];
    assert_eq!(headers["x-control-tower-service-key"], "service-key");
    assert_eq!(headers["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn content_is_kept_only_where_it_may_and_only_so_much() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, false));
    gateway.post("/v1/chat/completions", chat(false)).await;
    let call = collector.call().await;
    assert_eq!((call.get("gen_ai.input.messages"), call.get("gen_ai.output.messages")), ("", ""));

    let collector = Collector::start().await;
    let mut small = config(Some(&collector));
    small.limits.capture_bytes = 50;
    let gateway = Gateway::start(small, snapshot(upstream.addr, true));
    gateway.post("/v1/chat/completions", chat(false).replace("Say hi", &"\u{e9}".repeat(40))).await;
    let call = collector.call().await;
    // Cut between characters of two bytes.
    assert_eq!(call.get("gen_ai.input.messages").len(), 49);
    let cut: f64 = call.get("control_tower.content.truncated_bytes").parse().unwrap();
    assert!(cut > 40.0, "{cut}");
    assert_eq!(gateway.metric("gateway_capture_truncated_bytes_total").await, Some(cut));
}

#[tokio::test]
async fn words_that_were_asked_of_no_model_are_not_kept() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    // Which guardrails would have judged them nobody can say.
    gateway.post("/v1/chat/completions", chat(false).replace("gpt-4o-mini", "nothing")).await;
    let call = collector.call().await;
    assert_eq!((call.get("error.type"), call.get("gen_ai.input.messages")), ("model_not_found", ""));
}

#[tokio::test]
async fn the_form_that_was_asked_for_and_the_tokens_probabilities_are_kept_with_the_content() {
    let logprobs =
        r#""logprobs":{"content":[{"token":"Hel","logprob":-0.5},{"token":"lo","logprob":-0.25}]}"#;
    let answer = ANSWER.replace(r#""index":0"#, &format!(r#""index":0,{logprobs}"#));
    let upstream = Upstream::always(json(200, &answer)).await;
    let asked = chat(false).replacen(
        '{',
        r#"{"logprobs":true,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"#,
        1,
    );
    for (captured, bytes, format, probable) in [
        (true, 262_144, r#"{"type":"json_schema","json_schema":{"name":"n","schema":{}}}"#, "[-0.5,-0.25]"),
        // Half of it would be another form.
        (true, 20, "", "[-0.5,-0.25]"),
        (false, 262_144, "", ""),
    ] {
        let collector = Collector::start().await;
        let mut config = config(Some(&collector));
        config.limits.capture_bytes = bytes;
        let gateway = Gateway::start(config, snapshot(upstream.addr, captured));
        gateway.post("/v1/chat/completions", asked.clone()).await;
        let call = collector.call().await;
        let kept = (call.get("control_tower.response_format"), call.get("control_tower.logprobs"));
        assert_eq!(kept, (format, probable), "captured: {captured}, {bytes} bytes");
    }
}

#[tokio::test]
async fn names_are_recorded_only_so_long() {
    let long = "\u{e9}".repeat(100_000);
    let answer = ANSWER
        .replace("chatcmpl-1", &long)
        .replace(r#""model":"gpt-4o-mini""#, &format!(r#""model":"{long}""#));
    let upstream = Upstream::always(json(200, &answer.replace("stop", &long))).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let mut request = gateway.request("/v1/chat/completions", chat(false));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    request
        .headers_mut()
        .insert("tracestate", format!("a={0},b={0},c={0}", "x".repeat(200)).parse().unwrap());
    gateway.call(request).await;
    gateway.post("/v1/chat/completions", chat(false).replace("gpt-4o-mini", &long)).await;
    let calls = collector.calls(2).await;
    let length = |call: &Span, name: &str| call.get(name).chars().count();
    assert_eq!(length(&calls[0], "gen_ai.response.model"), 128);
    assert_eq!(length(&calls[0], "gen_ai.response.id"), 256);
    assert_eq!(length(&calls[0], "gen_ai.response.finish_reasons"), 128);
    assert_eq!(calls[0].trace_state, "");
    assert_eq!(length(&calls[1], "gen_ai.request.model"), 128);
    // Three names and a trace state of the first call, one of the second.
    assert_eq!(gateway.metric("gateway_names_cut_total").await, Some(5.0));
}

#[tokio::test]
async fn a_failed_request_of_a_known_key_is_a_call_too() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    gateway.post("/v1/chat/completions", "{").await;
    gateway.post("/v1/chat/completions", chat(false).replace("gpt-4o-mini", "nope")).await;
    let mut stranger = gateway.request("/v1/chat/completions", chat(false));
    stranger.headers_mut().insert("authorization", "Bearer unknown-key-of-a-stranger".parse().unwrap());
    gateway.call(stranger).await;
    let calls = collector.calls(2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(collector.spans().len(), 2, "a stranger leaves no row");
    let seen: Vec<_> =
        calls.iter().map(|c| (c.get("http.response.status_code"), c.get("error.type"))).collect();
    assert_eq!(seen, [("400", "invalid_json"), ("404", "model_not_found")]);
    assert_eq!(gateway.metric("gateway_refusals_total{class=\"invalid_api_key\"}").await, Some(1.0));
}

#[tokio::test]
async fn the_record_is_in_the_spool_before_the_last_byte() {
    let events = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    let mut steps = sse(&[events.as_bytes(), b"data: [DONE]\n\n"]);
    // The end of the stream is held back: the record must be there when [DONE] is.
    steps.insert(3, Step::Wait(Duration::from_millis(500)));
    steps.insert(2, Step::Wait(Duration::from_millis(300)));
    let upstream =
        Upstream::start(
            move |request| {
                if request.json()["stream"] == true { steps.clone() } else { json(200, ANSWER) }
            },
        )
        .await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, true));
    for _ in 0..20 {
        let answer = gateway.post("/v1/chat/completions", chat(false)).await;
        assert!(gateway.is_spooled(answer.header("x-request-id")));
    }
    let response = gateway.send(gateway.request("/v1/chat/completions", chat(true))).await;
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("[DONE]") {
        assert!(!gateway.is_spooled(&id), "not before the answer is whole");
        seen.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert!(gateway.is_spooled(&id));
}

#[tokio::test]
async fn usage_that_is_missing_is_estimated() {
    let without = ANSWER.replace(r#","usage":{"prompt_tokens":10,"completion_tokens":5}"#, "");
    let upstream = Upstream::always(json(200, &without)).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.usage.source"), "estimated");
    assert_eq!(call.get("gen_ai.usage.output_tokens"), "1");
    assert_eq!(answer.header("x-control-tower-cost-usd"), call.get("control_tower.cost.total"));
    assert_eq!(gateway.metric("gateway_usage_total{class=\"estimated\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_full_spool_refuses_or_drops_as_configured() {
    for when_full in [WhenFull::Refuse, WhenFull::Drop] {
        let upstream = Upstream::always(json(200, ANSWER)).await;
        let mut small = config(None);
        small.spool.max_bytes = 64 << 10;
        small.spool.segment_bytes = 8 << 10;
        small.spool.when_full = when_full;
        let gateway = Gateway::start(small, snapshot(upstream.addr, true));
        let mut last = gateway.post("/v1/chat/completions", chat(false)).await;
        let mut served = 0;
        for _ in 0..100 {
            last = gateway.post("/v1/chat/completions", chat(false)).await;
            served += u32::from(last.status == 200);
        }
        if when_full == WhenFull::Drop {
            assert_eq!(served, 100);
            assert!(gateway.metric("gateway_spool_dropped_total").await.unwrap() > 0.0);
            continue;
        }
        assert!(served < 100);
        assert_eq!((last.status.as_u16(), last.json()["error"]["code"].as_str()), (503, Some("spool_full")));
        assert!(!last.header("retry-after").is_empty());
        let calls = upstream.received().len();
        gateway.post("/v1/chat/completions", chat(false)).await;
        assert_eq!(upstream.received().len(), calls, "nothing is asked of the upstream");
        assert_eq!(gateway.metric("gateway_records_lost_total").await, Some(0.0));
    }
}

/// A disk that takes nothing more is played by moving the spool's directory away: its open segment lives on, but no other
/// can be begun.
#[tokio::test]
async fn a_disk_that_takes_no_record_withholds_answers_and_refuses_calls_until_it_does() {
    let finish =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n";
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    let steps = sse(&[finish.as_bytes(), usage.as_bytes()]);
    let upstream =
        Upstream::start(
            move |request| {
                if request.json()["stream"] == true { steps.clone() } else { json(200, ANSWER) }
            },
        )
        .await;
    for stream in [false, true] {
        let mut small = config(None);
        small.spool.segment_bytes = 4 << 10;
        let gateway = Gateway::start(small, snapshot(upstream.addr, true));
        assert_eq!(gateway.post("/v1/chat/completions", chat(stream)).await.status, 200);
        let away = gateway.spool.with_extension("away");
        std::fs::rename(&gateway.spool, &away).unwrap();
        let mut last = gateway.post("/v1/chat/completions", chat(stream)).await;
        for _ in 0..20 {
            if last.text().contains("not_recorded") {
                break;
            }
            last = gateway.post("/v1/chat/completions", chat(stream)).await;
        }
        assert_eq!(last.status.as_u16(), if stream { 200 } else { 503 });
        assert!(last.text().contains("\"code\":\"not_recorded\""), "{}", last.text());
        assert!(!last.text().contains("Hello") && !last.text().contains("[DONE]"), "{}", last.text());
        assert_eq!(gateway.metric("gateway_records_lost_total").await, Some(1.0));

        // From here on nothing is asked of the upstream, also not when it is time to try the disk again.
        let calls = upstream.received().len();
        for pause in [0, 600] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let refused = gateway.post("/v1/chat/completions", chat(stream)).await;
            assert_eq!(
                (refused.status.as_u16(), refused.json()["error"]["code"].as_str()),
                (503, Some("spool_full"))
            );
        }
        assert_eq!(upstream.received().len(), calls);
        std::fs::rename(&away, &gateway.spool).unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let served = gateway.post("/v1/chat/completions", chat(stream)).await;
        assert_eq!(served.status, 200);
        assert!(gateway.is_spooled(served.header("x-request-id")));
    }
}

#[tokio::test]
async fn the_shipper_insists_until_the_collector_is_back() {
    let down = std::sync::Arc::new(AtomicU32::new(3));
    let left = down.clone();
    let collector = Collector::judging(move |_| {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
        if before == Ok(0) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    })
    .await;
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    gateway.post("/v1/chat/completions", chat(false)).await;
    collector.call().await;
    assert_eq!(down.load(Ordering::SeqCst), 0);
    assert_eq!(gateway.metric("gateway_shipper_failures_total{class=\"busy\"}").await, Some(3.0));
    assert_eq!(gateway.metric("gateway_shipped_records_total").await, Some(1.0));
}

#[tokio::test]
async fn a_batch_that_may_have_arrived_says_so() {
    let failures = std::sync::Arc::new(AtomicU32::new(0));
    let left = failures.clone();
    let collector = Collector::judging(move |_| {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
        if before == Ok(0) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    })
    .await;
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    // The first of the process, one that goes through at once, one that is refused for now, and again one at once.
    for (number, fails) in [0, 0, 1, 0].into_iter().enumerate() {
        failures.store(fails, Ordering::SeqCst);
        gateway.post("/v1/chat/completions", chat(false)).await;
        collector.calls(number + 1).await;
    }
    let said: Vec<bool> =
        collector.headers().iter().map(|h| h.contains_key("x-control-tower-retry")).collect();
    assert_eq!(said, [true, false, true, false]);
    assert_eq!(collector.headers()[0]["x-control-tower-retry"], "1");
}

#[tokio::test]
async fn a_record_that_the_collector_refuses_does_not_block_the_others() {
    let collector = Collector::judging(|batch| {
        let is_poison = batch.windows(6).any(|w| w == b"POISON");
        if is_poison { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    })
    .await;
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(Some(&collector)), snapshot(upstream.addr, true));
    for number in 0..9 {
        let text = if number == 4 { "POISON" } else { "fine" };
        gateway.post("/v1/chat/completions", chat(false).replace("Say hi", text)).await;
    }
    collector.calls(8).await;
    for _ in 0..100 {
        if gateway.metric("gateway_shipper_rejected_records_total").await == Some(1.0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the poisoned record was not counted");
}

#[tokio::test]
async fn a_call_that_is_cut_at_the_end_is_recorded_before_the_end() {
    let first = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    let upstream = Upstream::always(vec![sse_head(), Step::Send(first.into()), Step::Hang]).await;
    let collector = Collector::start().await;
    let mut hasty = config(Some(&collector));
    hasty.drain_ms = 50;
    let gateway = Gateway::start(hasty, snapshot(upstream.addr, false));
    // Long enough to be counted off the async threads.
    let body = chat(true).replace("Say hi", &"many words ".repeat(100_000));
    let mut body = gateway.send(gateway.request("/v1/chat/completions", body)).await.into_body();
    body.frame().await.unwrap().unwrap();
    gateway.stop().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "a call and its attempt, delivered before the end");
    assert!(spans.iter().all(|span| span.get("control_tower.usage.source") == "partial"), "{spans:?}");
}

#[tokio::test]
async fn a_stop_lets_streams_finish_and_delivers_the_records() {
    let first = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";
    let mut steps = sse(&[first.as_bytes(), b"data: [DONE]\n\n"]);
    steps.insert(2, Step::Wait(Duration::from_millis(400)));
    Gateway::warm_up();
    let upstream = Upstream::always(steps).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let response = gateway.send(gateway.request("/v1/chat/completions", chat(true))).await;
    gateway.begin_stop();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    gateway.stop().await;
    assert_eq!(collector.call().await.get("error.type"), "");
}
