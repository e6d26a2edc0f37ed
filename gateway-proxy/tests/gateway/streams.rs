//! Streams: bytes pass as they come, the usage that only we asked for is hidden, and a broken stream ends well.

use crate::support::{Gateway, Step, Upstream, chat, sse, sse_head};
use http_body_util::BodyExt;
use std::time::Duration;

const FIRST: &str = "data: {\"id\":\"c1\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"H\u{e9}\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const LAST: &str = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn whole() -> String {
    [FIRST, LAST, USAGE, DONE].concat()
}

#[tokio::test]
async fn usage_is_asked_for_and_hidden_when_the_client_did_not() {
    let upstream =
        Upstream::always(sse(&[FIRST.as_bytes(), LAST.as_bytes(), USAGE.as_bytes(), DONE.as_bytes()])).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.text(), [FIRST, LAST, DONE].concat());
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("x-control-tower-model"), "m-1");
    assert_eq!(upstream.received()[0].json()["stream_options"]["include_usage"], true);
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.usage.source"), "reported");
    assert_eq!(call.get("control_tower.cost.total"), "0.00002");
    assert!(!call.get("gen_ai.response.time_to_first_chunk").is_empty());

    let asked =
        chat(true).replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let answer = gateway.post("/v1/chat/completions", asked.clone()).await;
    assert_eq!(answer.text(), whole(), "who asked for usage gets it");
    assert_eq!(upstream.received()[1].body, asked.as_bytes());
}

#[tokio::test]
async fn the_client_gets_the_same_wherever_the_upstream_cuts() {
    let all = whole();
    let all_bytes: Vec<u8> = all.clone().into_bytes();
    let expected = [FIRST, LAST, DONE].concat();
    // The position to cut at is in the prompt.
    let upstream = Upstream::start(move |request| {
        let at: usize = request.json()["messages"][0]["content"].as_str().unwrap().parse().unwrap();
        sse(&[&all_bytes[..at], &all_bytes[at..]])
    })
    .await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    for at in 0..=all.len() {
        let body = chat(true).replace("Say hi", &at.to_string());
        let answer = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(answer.text(), expected, "cut at {at}");
    }
    let calls = collector.calls(all.len() + 1).await;
    assert!(
        calls.iter().all(|c| c.get("gen_ai.usage.output_tokens") == "5" && c.get("error.type").is_empty())
    );
}

#[tokio::test]
async fn chunks_arrive_when_they_are_sent() {
    let mut steps = sse(&[FIRST.as_bytes(), LAST.as_bytes(), DONE.as_bytes()]);
    steps.insert(2, Step::Wait(Duration::from_millis(300)));
    let upstream = Upstream::always(steps).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let started = std::time::Instant::now();
    let mut body = gateway.send(gateway.request("/v1/chat/completions", chat(true))).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, FIRST, "the first event does not wait for the second");
    assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, LAST);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_with_an_error_event() {
    for (tail, name) in [("data: {\"id\":\"c1\",\"cho", "mid-event"), ("", "between events")] {
        let upstream = Upstream::always(vec![
            sse_head(),
            Step::Send(format!("{FIRST}{tail}").into_bytes()),
            Step::Close,
        ])
        .await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let answer = gateway.post("/v1/chat/completions", chat(true)).await;
        let rest = answer.text().strip_prefix(FIRST).unwrap_or_else(|| panic!("{name}: {}", answer.text()));
        let data = rest.strip_prefix("data: ").and_then(|r| r.strip_suffix("\n\n")).expect(name);
        let error: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(error["error"]["code"], "upstream_stream_cut", "{name}");
        assert_eq!(error["error"]["request_id"].as_str(), Some(answer.header("x-request-id")));
        let call = collector.call().await;
        assert_eq!(call.get("error.type"), "upstream_stream_cut");
        assert_eq!(call.get("control_tower.usage.source"), "partial");
        assert!(call.get("gen_ai.usage.input_tokens").parse::<u64>().unwrap() > 0);
        assert!(call.get("gen_ai.usage.output_tokens").parse::<u64>().unwrap() > 0);
    }
}

#[tokio::test]
async fn responses_streams_end_with_an_error_in_their_own_form() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r1\",\"model\":\"m\"}}\n\n";
    let upstream = Upstream::always(vec![sse_head(), Step::Send(created.into()), Step::Close]).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let body = r#"{"model":"gpt-4o-mini","input":"hi","stream":true}"#;
    let answer = gateway.post("/v1/responses", body).await;
    let rest = answer.text().strip_prefix(created).unwrap();
    let data = rest.strip_prefix("event: error\ndata: ").unwrap();
    let error: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!((error["type"].as_str(), error["sequence_number"].as_u64()), (Some("error"), Some(1)));
}

#[tokio::test]
async fn a_responses_stream_is_metered_by_its_last_event() {
    let events = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r1\",\"model\":\"pro-2025\"}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"output_index\":0,\"delta\":\"Hi\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"r1\",\"model\":\"pro-2025\",\"status\":\"completed\",\"output\":[{\"type\":\"message\"}],\"usage\":{\"input_tokens\":20,\"input_tokens_details\":{\"cached_tokens\":10},\"output_tokens\":4,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
    let upstream = Upstream::always(sse(&[events.as_bytes()])).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let body = r#"{"model":"pro","input":"hi","stream":true}"#;
    let answer = gateway.post("/v1/responses", body).await;
    assert_eq!(answer.text(), events);
    assert_eq!(upstream.received()[0].json().get("stream_options"), None, "nothing to ask for here");
    let call = collector.call().await;
    assert_eq!(call.get("gen_ai.usage.cache_read.input_tokens"), "10");
    assert_eq!(call.get("gen_ai.usage.reasoning.output_tokens"), "1");
    // 10 at $1, 10 cached at $0.1, 4 at $2 a million.
    assert_eq!(call.get("control_tower.cost.total"), "0.000019");
    assert_eq!(call.get("gen_ai.output.messages"), "[{\"type\":\"message\"}]");
}

#[tokio::test]
async fn what_is_no_stream_gets_a_status_of_its_own() {
    for (steps, code) in [
        (
            vec![sse_head(), Step::Send(b"<html>oops</html>\n\n".to_vec()), Step::Close],
            "upstream_invalid_response",
        ),
        (
            vec![sse_head(), Step::Send(b"data: {not json}\n\n".to_vec()), Step::Close],
            "upstream_invalid_response",
        ),
        (vec![sse_head(), Step::Send(b"\x00\xff\xfe".to_vec()), Step::Close], "upstream_invalid_response"),
        (vec![sse_head(), Step::Close], "upstream_closed"),
    ] {
        let upstream = Upstream::always(steps).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let answer = gateway.post("/v1/chat/completions", chat(true)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (502, Some(code)));
        assert_eq!(collector.call().await.get("error.type"), code);
    }
}

#[tokio::test]
async fn a_malformed_event_amid_good_ones_passes_and_is_counted() {
    let all = format!("{FIRST}data: {{broken\n\n{LAST}{USAGE}{DONE}");
    let upstream = Upstream::always(sse(&[all.as_bytes()])).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.text(), all.replace(USAGE, ""));
    assert_eq!(gateway.metric("gateway_malformed_events_total").await, Some(1.0));
    assert_eq!(gateway.metric("gateway_active_streams").await, Some(0.0));
}

#[tokio::test]
async fn an_error_of_the_upstream_within_the_stream_passes() {
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"code\":\"x\"}}\n\n";
    let upstream = Upstream::always(sse(&[FIRST.as_bytes(), error.as_bytes()])).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.text(), [FIRST, error].concat());
    let call = collector.call().await;
    assert_eq!(
        (call.get("error.type"), call.get("control_tower.usage.source")),
        ("upstream_error", "partial")
    );
}

#[tokio::test]
async fn a_stream_without_done_is_whole_when_its_choices_have_ended() {
    let upstream = Upstream::always(sse(&[FIRST.as_bytes(), LAST.as_bytes()])).await;
    let (gateway, collector) = Gateway::simple(&upstream).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.text(), [FIRST, LAST].concat());
    let call = collector.call().await;
    assert_eq!((call.get("error.type"), call.get("control_tower.usage.source")), ("", "estimated"));
}

#[tokio::test]
async fn the_cost_comes_in_a_trailer_to_who_takes_trailers() {
    let upstream = Upstream::always(sse(&[whole().as_bytes()])).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let mut request = gateway.request("/v1/chat/completions", chat(true));
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = gateway.call(request).await;
    assert_eq!(answer.trailers.unwrap()["x-control-tower-cost-usd"], "0.00002");
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.trailers, None, "nobody else sees one");
}
