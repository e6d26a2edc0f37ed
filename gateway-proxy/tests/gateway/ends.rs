//! Whether a stream has come to its end: its last event came, or it was closed when all that was begun had ended.

use crate::cascades::{pieces, routed};
use crate::support::{Collector, Gateway, Span, Step, Upstream, chat, config, sse};
use http::StatusCode;
use serde_json::json as value;
use std::sync::atomic::{AtomicUsize, Ordering};

const CHAT: &str = "/v1/chat/completions";

/// The attempts of the only call, in order.
async fn tries(collector: &Collector) -> Vec<Span> {
    collector.call().await;
    let mut tries = collector.spans();
    tries.retain(|span| span.kind == 3);
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    tries
}

fn each<'a>(tries: &'a [Span], name: &str) -> Vec<&'a str> {
    tries.iter().map(|span| span.get(name)).collect()
}

fn events(events: &[serde_json::Value]) -> Vec<Step> {
    let events: Vec<Vec<u8>> = events.iter().map(|event| format!("data: {event}\n\n").into_bytes()).collect();
    sse(&events.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn whole(model: &str, text: &str) -> Vec<Step> {
    sse(&pieces(model, text).iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_sample_that_breaks_off_is_no_sample_and_is_counted() {
    let collector = Collector::start().await;
    let count = AtomicUsize::new(0);
    // Its server says with each piece what it has used so far, and closes the connection in good order.
    let cut = |index: u8| {
        value!({"id": "c", "model": "gpt-4o-mini", "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            "choices": [{"index": index, "delta": {"content": "Milan is ".repeat(40)}, "finish_reason": null}]})
    };
    let small = Upstream::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        1 => events(&[cut(0), cut(1)]),
        _ => whole("gpt-4o-mini", "Rome"),
    })
    .await;
    let large = Upstream::always(whole("pro-2025", "Paris")).await;
    let cascade = value!({"tiers": [
        {"model": "gpt-4o-mini", "checks": [{"self_consistency": {"samples": 3}}], "threshold": 0.6}, {"model": "pro"}]});
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(cascade), None));
    let body =
        r#"{"model":"route","messages":[{"role":"user","content":"Capital of Italy?"}],"stream":true}"#;
    let answered = gateway.post(CHAT, body).await;
    assert!(answered.text().contains("\"Rome\""), "{}", answered.text());
    assert!(large.received().is_empty(), "what broke off says nothing against the answer");
    assert_eq!(small.received().len(), 4, "the samples that it did not bring were asked for");
    let tries = tries(&collector).await;
    assert_eq!(each(&tries, "error.type"), ["upstream_stream_cut", "", "", ""]);
    assert_eq!(tries[0].get("control_tower.usage.source"), "partial");
    let written: u64 = tries[0].get("gen_ai.usage.output_tokens").parse().unwrap();
    assert!(written > 80, "all that came is counted: {written}");
}

#[tokio::test]
async fn a_tiers_stream_without_a_last_event_is_whole_once_it_has_finished() {
    for (has_finished, source) in [(true, "estimated"), (false, "partial")] {
        let collector = Collector::start().await;
        let mut pieces = pieces("gpt-4o-mini", "I think it is Rome.");
        pieces.truncate(if has_finished { 3 } else { 2 });
        let small = Upstream::always(sse(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>())).await;
        let large = Upstream::always(whole("pro-2025", r#"{"city":"Rome"}"#)).await;
        let cascade =
            value!({"tiers": [{"model": "gpt-4o-mini", "checks": ["json_schema"]}, {"model": "pro"}]});
        let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(cascade), None));
        let body = r#"{"model":"route","messages":[{"role":"user","content":"Which city?"}],"stream":true,"response_format":{"type":"json_object"}}"#;
        let answered = gateway.post(CHAT, body).await;
        assert!(answered.text().contains("pro-2025"), "{}", answered.text());
        assert_eq!(each(&tries(&collector).await, "control_tower.usage.source"), [source, "reported"]);
    }
}

#[tokio::test]
async fn of_two_choices_both_must_have_ended() {
    let of = |index: u8, reason: Option<&str>| value!({"id": "c", "model": "m", "choices": [{"index": index, "delta": {"content": "Hi"}, "finish_reason": reason}]});
    for (last, error) in [(Some("length"), ""), (None, "upstream_stream_cut")] {
        let upstream = Upstream::always(events(&[of(0, Some("stop")), of(1, last)])).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let answered = gateway.post(CHAT, chat(true).replacen('{', r#"{"n":2,"#, 1)).await;
        assert_eq!(answered.text().contains("upstream_stream_cut"), !error.is_empty(), "{}", answered.text());
        assert_eq!(collector.call().await.get("error.type"), error);
    }
}

#[tokio::test]
async fn an_empty_reason_is_no_end() {
    let of = |text: &str, reason: &str| value!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]});
    for (last, error) in [("stop", ""), ("", "upstream_stream_cut")] {
        let upstream = Upstream::always(events(&[of("Hel", ""), of("lo", last)])).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        gateway.post(CHAT, chat(true)).await;
        assert_eq!(collector.call().await.get("error.type"), error);
    }
}

#[tokio::test]
async fn a_choice_that_ends_twice_does_not_end_another() {
    let of = |index: u8, reason: Option<&str>| value!({"id": "c", "model": "m", "choices": [{"index": index, "delta": {"content": "Hi"}, "finish_reason": reason}]});
    let said = [of(1, None), of(0, Some("stop")), of(0, Some("stop"))];
    let upstream = Upstream::always(events(&said)).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    gateway.post(CHAT, chat(true).replacen('{', r#"{"n":2,"#, 1)).await;
    assert_eq!(collector.call().await.get("error.type"), "upstream_stream_cut");
}

#[tokio::test]
async fn half_an_event_after_one_that_the_client_does_not_get_is_no_answer() {
    let usage = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let broken = Upstream::always(sse(&[format!("{usage}\n\n").as_bytes(), b"data: {\"cho"])).await;
    let gateway = Gateway::start(config(None), routed(&broken, &broken, None, None));
    let body = r#"{"model":"route","messages":[{"role":"user","content":"Hi"}],"stream":true}"#;
    assert_eq!(gateway.post(CHAT, body).await.status, StatusCode::BAD_GATEWAY);
}
