//! What upstreams send that is no answer of any protocol: it ends nothing but itself.

use crate::guardrails::policy::{CHAT, MESSAGES, More, RESPONSES, ask, guarded, speaks, usual};
use crate::support::{Gateway, Upstream, config, json, sse};
use serde_json::json as value;

const CARD: &str = "1234567812345678";

/// Events that are lists where objects belong, and texts where lists do.
const EVENTS: [(&str, &str); 13] = [
    (CHAT, "[]"),
    (CHAT, r#""1234567812345678""#),
    (CHAT, r#"{"choices":[[]]}"#),
    (CHAT, r#"{"choices":["1234567812345678"]}"#),
    (CHAT, r#"{"choices":[{"delta":["1234567812345678"]}]}"#),
    (CHAT, r#"{"choices":[{"delta":{"tool_calls":[["1234567812345678"]]},"finish_reason":"tool_calls"}]}"#),
    (RESPONSES, r#"{"type":"response.created","response":[]}"#),
    (RESPONSES, r#"{"type":"response.completed","response":[]}"#),
    (RESPONSES, r#"{"type":"response.failed","response":["1234567812345678"]}"#),
    (
        RESPONSES,
        r#"{"type":"response.output_item.added","output_index":18446744073709551615,"item":["1234567812345678"]}"#,
    ),
    (RESPONSES, r#"{"type":"response.in_progress","sequence_number":18446744073709551615,"response":{}}"#),
    (MESSAGES, r#"{"type":"message_start","message":[]}"#),
    (
        MESSAGES,
        r#"{"type":"content_block_start","index":18446744073709551615,"content_block":["1234567812345678"]}"#,
    ),
];

fn start(upstream: &Upstream, path: &str) -> Gateway {
    let more = More { speaks: speaks(path), ..More::default() };
    Gateway::start(config(None), guarded(upstream, &[usual()], &more))
}

#[tokio::test]
async fn an_event_of_another_form_ends_no_connection_and_is_told_to_nobody() {
    for (path, event) in EVENTS {
        let events = format!("data: {event}\n\n").repeat(2);
        let upstream = Upstream::always(sse(&[events.as_bytes()])).await;
        let gateway = start(&upstream, path);
        for _ in 0..2 {
            let answered = gateway.post(path, ask(path, "Hi", true)).await;
            assert!(!answered.text().contains(CARD), "{event}: {}", answered.text());
        }
    }
}

#[tokio::test]
async fn a_kept_stream_ends_whatever_is_in_it() {
    for (path, event) in EVENTS.iter().filter(|(path, _)| *path != MESSAGES) {
        let events = format!("data: {event}\n\n").repeat(2);
        let upstream = Upstream::always(sse(&[events.as_bytes()])).await;
        let gateway = start(&upstream, path);
        let mut request = gateway.request(path, ask(path, "Hi", true));
        request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
        // Its reader gets to the end.
        let answered = gateway.call(request).await;
        assert!(!answered.text().contains(CARD), "{event}: {}", answered.text());
    }
}

#[tokio::test]
async fn a_schema_without_end_judges_nothing_and_ends_nothing() {
    let link = |n: usize| (format!("a{n}"), value!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}]}));
    let all: serde_json::Map<String, serde_json::Value> = (0..20_000).map(link).collect();
    let mut schema = value!({"$ref": "#/$defs/a0", "$defs": all});
    schema["$defs"]["a20000"] = value!({});
    let answer = crate::cascades::answer("gpt-4o-mini", "{}");
    let upstream = Upstream::always(json(200, &answer)).await;
    let tiers = value!({"tiers": [{"model": "gpt-4o-mini", "checks": ["json_schema"]}, {"model": "pro"}]});
    let gateway =
        Gateway::start(config(None), crate::cascades::routed(&upstream, &upstream, Some(tiers), None));
    let mut body: serde_json::Value = serde_json::from_str(&ask(CHAT, "Hi", false)).unwrap();
    body["response_format"] = value!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let answered = gateway.post(CHAT, body.to_string()).await;
    assert_eq!(answered.header("x-control-tower-model"), "gpt-4o-mini", "{}", answered.text());
}

#[tokio::test]
async fn what_cannot_be_told_as_a_stream_is_asked_of_the_model() {
    let odd = crate::cascades::answer("gpt-4o-mini", "Rome").replacen(
        '{',
        &format!(r#"{{"system_fingerprint":"{}","#, "f".repeat(2_000)),
        1,
    );
    let small = Upstream::start(move |asked| {
        if asked.json()["stream"] == true {
            crate::cascades::streamed("gpt-4o-mini", "Rome")
        } else {
            json(200, &odd)
        }
    })
    .await;
    let cache = value!({"exact": true, "ttl_seconds": 60});
    let gateway = Gateway::start(config(None), crate::cascades::routed(&small, &small, None, Some(cache)));
    let body = |stream: bool| {
        format!(
            r#"{{"model":"route","messages":[{{"role":"user","content":"Capital?"}}],"stream":{stream}}}"#
        )
    };
    for (stream, told) in [(false, "miss"), (false, "hit_exact"), (true, "bypass")] {
        let answer = gateway.post("/v1/chat/completions", body(stream)).await;
        assert_eq!(answer.header("x-control-tower-cache"), told);
        assert_eq!(answer.text().ends_with("data: [DONE]\n\n"), stream, "{}", answer.text());
    }
}
