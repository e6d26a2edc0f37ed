//! Answers that are streamed, in every protocol, cut anywhere.
// long because every dialect is held to the same cases side by side

use super::policy::{
    CHAT, Call, MESSAGES, More, RESPONSES, ask, gateway, guarded, pieces, read, speaks, usual, withheld,
};
use crate::support::{Answer, Collector, Gateway, Step, Upstream, config, sse_head};
use contracts::policy::Protocol;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PATHS: [&str; 3] = [CHAT, RESPONSES, MESSAGES];

/// A stream in the protocol of `path` that says these texts one after another, and calls a tool with arguments in two pieces.
pub fn stream(path: &str, texts: &[&str], call: Option<Call<'_>>) -> Vec<u8> {
    let mut out = String::new();
    match path {
        MESSAGES => messages(texts, call, &mut |event| {
            named(&mut out, &event);
        }),
        RESPONSES => {
            let mut number = 0;
            responses(texts, call, &mut |mut event| {
                event["sequence_number"] = number.into();
                number += 1;
                named(&mut out, &event);
            });
        }
        _ => {
            chat(texts, call, &mut |event| out.extend(["data: ", &event.to_string(), "\n\n"]));
            out.push_str("data: [DONE]\n\n");
        }
    }
    out.into_bytes()
}

fn named(out: &mut String, event: &Value) {
    let (kind, data) = (event["type"].as_str().unwrap(), event.to_string());
    out.extend(["event: ", kind, "\ndata: ", &data, "\n\n"]);
}

fn halves(text: &str) -> [&str; 2] {
    let (one, two) = text.split_at(text.len() / 2);
    [one, two]
}

fn chat(texts: &[&str], call: Option<Call<'_>>, send: &mut dyn FnMut(Value)) {
    let chunk = |delta: Value, reason: Option<&str>| {
        json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]})
    };
    send(chunk(json!({"role": "assistant", "content": ""}), None));
    for text in texts {
        let mut chunk = chunk(json!({"content": text}), None);
        chunk["choices"][0]["logprobs"] = json!({"content": [{"token": text, "logprob": -1}]});
        send(chunk);
    }
    if let Some((name, arguments)) = call {
        send(chunk(
            json!({"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": name, "arguments": ""}}]}),
            None,
        ));
        for piece in halves(arguments) {
            send(chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}), None));
        }
    }
    send(chunk(json!({}), Some(if call.is_some() { "tool_calls" } else { "stop" })));
    send(
        json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
    );
}

fn messages(texts: &[&str], call: Option<Call<'_>>, send: &mut dyn FnMut(Value)) {
    send(
        json!({"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "model": "gpt-4o-mini",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}),
    );
    send(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
    for text in texts {
        send(
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        );
    }
    send(json!({"type": "content_block_stop", "index": 0}));
    if let Some((name, arguments)) = call {
        send(
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": name, "input": {}}}),
        );
        for piece in halves(arguments) {
            send(
                json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}}),
            );
        }
        send(json!({"type": "content_block_stop", "index": 1}));
    }
    let reason = if call.is_some() { "tool_use" } else { "end_turn" };
    send(
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 2}}),
    );
    send(json!({"type": "message_stop"}));
}

fn responses(texts: &[&str], call: Option<Call<'_>>, send: &mut dyn FnMut(Value)) {
    let base = json!({"id": "r1", "object": "response", "created_at": 1, "status": "in_progress", "model": "gpt-4o-mini", "output": [], "usage": null});
    send(json!({"type": "response.created", "response": base}));
    send(json!({"type": "response.in_progress", "response": base}));
    let mut item =
        json!({"id": "i1", "type": "message", "role": "assistant", "status": "in_progress", "content": []});
    send(json!({"type": "response.output_item.added", "output_index": 0, "item": item}));
    let place = |kind: &str, field: &str, value: Value| {
        let mut event = json!({"type": kind, "item_id": "i1", "output_index": 0, "content_index": 0});
        event[field] = value;
        event
    };
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    send(place("response.content_part.added", "part", part("")));
    for text in texts {
        let mut delta = place("response.output_text.delta", "delta", (*text).into());
        delta["logprobs"] = json!([{"token": text, "logprob": -1}]);
        send(delta);
    }
    let text = texts.concat();
    send(place("response.output_text.done", "text", text.clone().into()));
    send(place("response.content_part.done", "part", part(&text)));
    (item["status"], item["content"]) = ("completed".into(), json!([part(&text)]));
    send(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    let mut output = vec![item];
    if let Some((name, arguments)) = call {
        let of = |arguments: &str| json!({"id": "i2", "type": "function_call", "call_id": "t1", "name": name, "arguments": arguments, "status": "completed"});
        send(json!({"type": "response.output_item.added", "output_index": 1, "item": of("")}));
        for piece in halves(arguments) {
            send(
                json!({"type": "response.function_call_arguments.delta", "item_id": "i2", "output_index": 1, "delta": piece}),
            );
        }
        send(
            json!({"type": "response.function_call_arguments.done", "item_id": "i2", "output_index": 1, "arguments": arguments}),
        );
        send(json!({"type": "response.output_item.done", "output_index": 1, "item": of(arguments)}));
        output.push(of(arguments));
    }
    let mut whole = base;
    (whole["status"], whole["output"]) = ("completed".into(), output.into());
    whole["usage"] = json!({"input_tokens": 3, "output_tokens": 2, "total_tokens": 5});
    send(json!({"type": "response.completed", "response": whole}));
}

/// What a client reads of a stream.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// The answer's text, refusals included.
    pub text: String,
    pub calls: BTreeMap<u64, (String, String)>,
    pub reason: String,
    /// The last event came.
    pub is_ended: bool,
}

/// Reads a stream as a client does, strictly: what begins must end, numbers follow each other, the whole is the sum of its pieces.
pub fn told(path: &str, bytes: &str) -> Told {
    let mut told = Told::default();
    let mut open: Option<u64> = None;
    let mut next = 0;
    for event in bytes.split("\n\n").filter(|event| !event.is_empty() && *event != ":") {
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data");
        assert!(!told.is_ended, "after the end: {event}");
        if data == "[DONE]" {
            told.is_ended = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let index = event["index"].as_u64().or(event["output_index"].as_u64()).unwrap_or(0);
        match (path, event["type"].as_str().unwrap_or_default()) {
            (MESSAGES, "content_block_start") => {
                assert_eq!((open, index), (None, next), "{bytes}");
                (open, next) = (Some(index), next + 1);
                let block = &event["content_block"];
                if block["type"] == "tool_use" {
                    told.calls.insert(index, (text(&block["name"]), String::new()));
                }
            }
            (MESSAGES, "content_block_delta") => {
                assert_eq!(open, Some(index));
                told.text.push_str(&text(&event["delta"]["text"]));
                if let Some(call) = told.calls.get_mut(&index) {
                    call.1.push_str(&text(&event["delta"]["partial_json"]));
                }
            }
            (MESSAGES, "content_block_stop") => assert_eq!(open.take(), Some(index)),
            (MESSAGES, "message_delta") => {
                assert_eq!(open, None);
                assert!(event["usage"]["output_tokens"].is_u64());
                told.reason = text(&event["delta"]["stop_reason"]);
            }
            (MESSAGES, "message_stop") => told.is_ended = true,
            (RESPONSES, kind) => {
                assert_eq!(event["sequence_number"], next, "{bytes}");
                next += 1;
                match kind {
                    "response.output_text.delta" | "response.refusal.delta" => {
                        told.text.push_str(&text(&event["delta"]));
                    }
                    "response.output_item.added" if event["item"]["type"] == "function_call" => {
                        told.calls.insert(index, (text(&event["item"]["name"]), String::new()));
                    }
                    "response.function_call_arguments.delta" => {
                        told.calls.get_mut(&index).unwrap().1.push_str(&text(&event["delta"]));
                    }
                    "response.completed" | "response.incomplete" => {
                        let (whole, reason) = read(RESPONSES, &event["response"]);
                        assert_eq!(whole, told.text, "the whole is the sum of its pieces");
                        let items = event["response"]["output"].as_array().unwrap();
                        let calls = items.iter().filter(|item| item["type"] == "function_call");
                        let calls: Vec<_> =
                            calls.map(|item| (text(&item["name"]), text(&item["arguments"]))).collect();
                        assert_eq!(calls, told.calls.values().cloned().collect::<Vec<_>>());
                        (told.reason, told.is_ended) = (reason, true);
                    }
                    _ => {}
                }
            }
            (MESSAGES, _) => {}
            _ => {
                let Some(choice) = event["choices"].as_array().unwrap().first() else { continue };
                assert_eq!(told.reason, "", "after its end: {bytes}");
                told.text.push_str(&text(&choice["delta"]["content"]));
                for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                    let of = told.calls.entry(call["index"].as_u64().unwrap()).or_default();
                    of.0.push_str(&text(&call["function"]["name"]));
                    of.1.push_str(&text(&call["function"]["arguments"]));
                }
                told.reason = text(&choice["finish_reason"]);
            }
        }
    }
    told
}

fn ended(path: &str, has_call: bool) -> &'static str {
    match (path, has_call) {
        (MESSAGES, false) => "end_turn",
        (MESSAGES, true) => "tool_use",
        (RESPONSES, _) => "completed",
        (_, false) => "stop",
        (_, true) => "tool_calls",
    }
}

/// An upstream that sends the stream that a request's last message asks for: its number among `scripts`.
async fn upstream(scripts: Vec<Vec<Step>>) -> Upstream {
    Upstream::start(move |request| {
        let body = request.json();
        let asked = body["input"].as_str().or(body["messages"][0]["content"].as_str()).unwrap();
        scripts[asked.parse::<usize>().unwrap()].clone()
    })
    .await
}

fn start(upstream: &Upstream, path: &str, guardrails: &[Value]) -> Gateway {
    let more = More { speaks: speaks(path), ..More::default() };
    Gateway::start(config(None), guarded(upstream, guardrails, &more))
}

#[tokio::test]
async fn what_breaks_no_rule_and_waits_for_none_stays_byte_for_byte() {
    for path in PATHS {
        let bytes = stream(path, &["Hel", "lo, ", "world."], None);
        let upstream = upstream(vec![pieces(&bytes, &[])]).await;
        let answered = start(&upstream, path, &[usual()]).post(path, ask(path, "0", true)).await;
        let expected = String::from_utf8(bytes).unwrap();
        // The usage that the client did not ask for is not its.
        let is_hidden = |event: &&str| !(path == CHAT && event.contains("\"choices\":[]"));
        let expected: Vec<&str> = expected.split_inclusive("\n\n").filter(is_hidden).collect();
        assert_eq!(answered.text(), expected.concat());
    }
}

#[tokio::test]
async fn however_bytes_and_texts_are_cut_the_client_gets_what_the_whole_would_be() {
    let said = "Pay 1234567812345678 now, remarkable \u{e9}nough.";
    for path in PATHS {
        let call = ("weather", r#"{"city":"1234567812345678"}"#);
        // The bytes of one stream, cut in two anywhere; and the text, cut into two deltas anywhere.
        let bytes = stream(path, &["Pay 12345", "67812345678 now, rem", "arkable \u{e9}nough."], Some(call));
        let mut scripts: Vec<Vec<Step>> = (1..bytes.len()).map(|cut| pieces(&bytes, &[cut])).collect();
        for cut in (1..said.len()).filter(|cut| said.is_char_boundary(*cut)) {
            let (one, two) = said.split_at(cut);
            scripts.push(pieces(&stream(path, &[one, two], Some(call)), &[]));
        }
        let count = scripts.len();
        let upstream = upstream(scripts).await;
        let gateway = start(&upstream, path, &[usual()]);
        let calls = (0..count).map(|n| gateway.post(path, ask(path, &n.to_string(), true)));
        let answers: Vec<Answer> = futures_util::stream::iter(calls).buffered(32).collect().await;
        for (n, answered) in answers.into_iter().enumerate() {
            let told = told(path, answered.text());
            assert_eq!(told.text, "Pay [card] now, remarkable \u{e9}nough.", "{path} {n}");
            assert_eq!(
                told.calls.into_values().collect::<Vec<_>>(),
                [("weather".into(), r#"{"city":"[card]"}"#.into())]
            );
            assert_eq!((told.reason.as_str(), told.is_ended), (ended(path, true), true));
            assert!(!answered.text().contains("12345"), "{}", answered.text());
        }
    }
}

#[tokio::test]
async fn what_is_blocked_ends_the_stream_and_nothing_of_the_match_is_seen() {
    let said = "Well: the forbidden  fruit is sweet.";
    for path in PATHS {
        let cuts: Vec<usize> = (1..said.len()).collect();
        let scripts = cuts.iter().map(|cut| {
            let (one, two) = said.split_at(*cut);
            pieces(&stream(path, &[one, two], None), &[])
        });
        let upstream = upstream(scripts.collect()).await;
        let gateway = start(&upstream, path, &[usual()]);
        for n in 0..cuts.len() {
            let mut request = gateway.request(path, ask(path, &n.to_string(), true));
            request.headers_mut().insert("accept-language", "de".parse().unwrap());
            let answered = gateway.call(request).await;
            let told = told(path, answered.text());
            let text = told.text.replace("\n\n", "");
            assert_eq!(text, "Well: the Nein: words.", "{path} {n}: {}", answered.text());
            assert_eq!((told.reason.as_str(), told.is_ended), (withheld(path), true), "{}", answered.text());
            for word in ["forbidden", "forb", "fruit", "sweet"] {
                assert!(!answered.text().contains(word), "{path} {n}: {}", answered.text());
            }
        }
    }
}

#[tokio::test]
async fn a_tool_that_is_not_allowed_is_never_heard_of() {
    for path in PATHS {
        let calls = [("shell", r#"{"run":"rm"}"#), ("weather", r#"{"town":"Rome"}"#), ("weather", "{")];
        let scripts = calls.iter().map(|call| pieces(&stream(path, &["Let me see."], Some(*call)), &[]));
        let upstream = upstream(scripts.collect()).await;
        let gateway = start(&upstream, path, &[usual()]);
        for n in 0..calls.len() {
            let answered = gateway.post(path, ask(path, &n.to_string(), true)).await;
            let told = told(path, answered.text());
            assert_eq!(
                told.text.replace("\n\n", ""),
                "Let me see.No: tools.",
                "{path} {n}: {}",
                answered.text()
            );
            assert_eq!((told.reason.as_str(), told.is_ended), (withheld(path), true));
            assert!(told.calls.is_empty() && !answered.text().contains("shell"), "{}", answered.text());
        }
    }
}

#[tokio::test]
async fn what_must_be_judged_as_a_whole_is_released_at_its_end() {
    let rules = json!({"output": [
        {"name": "shape", "check": {"json_schema": {"type": "object", "required": ["a"]}}, "action": "block"},
        {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}}, "action": {"mask": {"with": "[card]"}}},
    ]});
    for path in PATHS {
        let good = pieces(&stream(path, &[r#"{"a":"12345678"#, r#"12345678"}"#], None), &[]);
        let bad = pieces(&stream(path, &["{\"b\":", "\"secret\"}"], None), &[]);
        let upstream = upstream(vec![good, bad]).await;
        let gateway = start(&upstream, path, std::slice::from_ref(&rules));
        let answered = gateway.post(path, ask(path, "0", true)).await;
        let of = told(path, answered.text());
        assert_eq!(
            (of.text.as_str(), of.reason.as_str()),
            (r#"{"a":"[card]"}"#, ended(path, false)),
            "{path}"
        );
        assert!(of.is_ended);
        let answered = gateway.post(path, ask(path, "1", true)).await;
        let of = told(path, answered.text());
        assert!(of.text.contains("rule shape"), "{}", answered.text());
        assert_eq!((of.reason.as_str(), of.is_ended), (withheld(path), true));
        assert!(!answered.text().contains("secret"), "{}", answered.text());
    }
}

#[tokio::test]
async fn a_translated_stream_is_guarded_in_the_clients_protocol() {
    let bytes = stream(MESSAGES, &["Pay 12345", "67812345678 and the forbidden", " fruit."], None);
    let upstream = Upstream::always(pieces(&bytes, &[])).await;
    for path in [CHAT, RESPONSES] {
        let more = More { speaks: Protocol::Anthropic, ..More::default() };
        let gateway = Gateway::start(config(None), guarded(&upstream, &[usual()], &more));
        let answered = gateway.post(path, ask(path, "Hi", true)).await;
        let told = told(path, answered.text());
        assert_eq!(told.text.replace("\n\n", ""), "Pay [card] and the No: words.", "{}", answered.text());
        assert_eq!((told.reason.as_str(), told.is_ended), (withheld(path), true));
    }
}

#[tokio::test]
async fn what_a_model_thinks_is_guarded_as_well() {
    let event = |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    let delta = |delta: Value| event(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    let text = String::from_utf8(stream(MESSAGES, &["Hm."], None)).unwrap();
    let (start, rest) = text.split_once("event: content_block_start").unwrap();
    let rest = format!("event: content_block_start{rest}").replace("\"index\":0", "\"index\":1");
    let thought = |thought: &str| {
        [
            event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}})),
            delta(json!({"type": "thinking_delta", "thinking": thought})),
            delta(json!({"type": "signature_delta", "signature": "sig"})),
            event(json!({"type": "content_block_stop", "index": 0})),
        ]
        .concat()
    };
    for (said, is_seen, signature) in [("all well", true, true), ("1234567812345678", false, false)] {
        let upstream =
            Upstream::always(pieces(format!("{start}{}{rest}", thought(said)).as_bytes(), &[])).await;
        let answered = start_at(&upstream).post(MESSAGES, ask(MESSAGES, "Hi", true)).await;
        assert_eq!(answered.text().contains(said), is_seen, "{}", answered.text());
        assert_eq!(answered.text().contains("\"sig\""), signature, "a mask is not what was signed");
        assert_eq!(told(MESSAGES, answered.text()).text, "Hm.");
    }
}

fn start_at(upstream: &Upstream) -> Gateway {
    start(upstream, MESSAGES, &[usual()])
}

#[tokio::test]
async fn a_blocked_stream_cancels_its_upstream_and_is_recorded_with_what_came() {
    let collector = Collector::start().await;
    let text = String::from_utf8(stream(CHAT, &["Well: ", "the forbidden fruit", " 8765432187654321"], None))
        .unwrap();
    let end = text.find("\"finish_reason\":\"stop\"").unwrap();
    let cut = text[..end].rfind("data: ").unwrap();
    let mut upstream =
        Upstream::always(vec![sse_head(), Step::Send(text.as_bytes()[..cut].to_vec()), Step::Hang]).await;
    let more = More { capture: true, ..More::default() };
    let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[usual()], &more));
    let answered = gateway.post(CHAT, ask(CHAT, "Hi", true)).await;
    assert_eq!(told(CHAT, answered.text()).reason, "content_filter");
    upstream.closed().await;
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.usage.source"), "partial");
    assert_ne!(call.get("gen_ai.usage.output_tokens"), "0");
    assert_eq!(call.get("control_tower.guardrail.decision"), "block");
    assert_eq!(call.get("gen_ai.response.finish_reasons"), "content_filter");
    assert_eq!(call.get("error.type"), "");
    assert!(call.get("gen_ai.output.messages").contains("Well: "), "{call:?}");
    assert!(!format!("{:?}", collector.spans()).contains("forbidden"));
}

#[tokio::test]
async fn usage_that_comes_after_a_refusal_is_waited_for() {
    let collector = Collector::start().await;
    let upstream = Upstream::always(pieces(&stream(CHAT, &["So."], Some(("shell", "{}"))), &[])).await;
    let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[usual()], &More::default()));
    let body = ask(CHAT, "Hi", true)
        .replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let answered = gateway.post(CHAT, body).await;
    assert!(answered.text().contains("\"completion_tokens\":2"), "{}", answered.text());
    assert!(told(CHAT, answered.text()).is_ended);
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.usage.source"), "reported");
    assert_eq!(call.get("control_tower.cost.total"), "0.000007");
}

#[tokio::test]
async fn a_stream_is_kept_for_its_client_and_the_cache_as_it_was_told() {
    let upstream = Upstream::always(pieces(&stream(CHAT, &["Pay 12345", "67812345678."], None), &[])).await;
    let more = More { cache: Some(json!({"exact": true, "ttl_seconds": 60})), ..More::default() };
    let gateway = Gateway::start(config(None), guarded(&upstream, &[usual()], &more));
    let mut request = gateway.request(CHAT, ask(CHAT, "Hi", true));
    request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
    let first = gateway.call(request).await;
    assert!(first.text().contains("[card]") && !first.text().contains("12345"), "{}", first.text());
    let again = gateway.post(CHAT, ask(CHAT, "Hi", false)).await;
    assert_eq!(again.header("x-control-tower-cache"), "hit_exact");
    assert_eq!(read(CHAT, &again.json()).0, "Pay [card].");
}

#[tokio::test]
async fn the_whole_response_that_a_last_event_carries_is_kept_as_it_was_told() {
    let all_at_once = json!({"output": [{"name": "never", "check": {"json_schema": {"type": "string"}}, "action": "flag"}]});
    for guardrails in [vec![usual()], vec![usual(), all_at_once]] {
        for speaks in [Protocol::OpenAi, Protocol::Anthropic] {
            let path = if speaks == Protocol::OpenAi { RESPONSES } else { MESSAGES };
            let bytes = stream(
                path,
                &["Pay 12345", "67812345678."],
                Some(("weather", r#"{"city":"8765432187654321"}"#)),
            );
            let upstream = Upstream::always(pieces(&bytes, &[])).await;
            let cache = Some(json!({"exact": true, "ttl_seconds": 60}));
            let gateway = Gateway::start(
                config(None),
                guarded(&upstream, &guardrails, &More { cache, speaks, ..More::default() }),
            );
            let first = gateway.post(RESPONSES, ask(RESPONSES, "Hi", true)).await;
            assert_eq!(told(RESPONSES, first.text()).text, "Pay [card].");
            for streams in [false, true] {
                let again = gateway.post(RESPONSES, ask(RESPONSES, "Hi", streams)).await;
                assert_eq!(again.header("x-control-tower-cache"), "hit_exact", "{speaks:?}");
                assert!(
                    again.text().contains("Pay [card].") && again.text().contains("weather"),
                    "{}",
                    again.text()
                );
                assert!(
                    !again.text().contains("12345678") && !again.text().contains("87654321"),
                    "{}",
                    again.text()
                );
            }
            assert_eq!(upstream.received().len(), 1);
        }
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_response_that_was_withheld_at_its_end() {
    let rules = json!({"output": [{"name": "shape", "check": {"json_schema": {"type": "object"}}, "action": "block"}]});
    let upstream = Upstream::always(pieces(&stream(RESPONSES, &["secret"], None), &[])).await;
    let more = More { cache: Some(json!({"exact": true, "ttl_seconds": 60})), ..More::default() };
    let gateway = Gateway::start(config(None), guarded(&upstream, &[rules], &more));
    for streams in [true, true, false] {
        let answered = gateway.post(RESPONSES, ask(RESPONSES, "Hi", streams)).await;
        assert_eq!(answered.header("x-control-tower-cache"), "miss");
    }
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn several_choices_are_guarded_each_by_itself() {
    let chunk = |index: u64, text: &str, reason: Option<&str>| {
        format!(
            "data: {}\n\n",
            json!({"id": "c1", "model": "m", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]})
        )
    };
    let bytes = [
        chunk(0, "12345678", None),
        chunk(1, "12345678", None),
        chunk(0, "12345678.", None),
        chunk(1, " or so", None),
        chunk(0, "", Some("stop")),
        chunk(1, "", Some("stop")),
        "data: [DONE]\n\n".into(),
    ]
    .concat();
    let upstream = Upstream::always(pieces(bytes.as_bytes(), &[])).await;
    let answered = gateway(&upstream, &[usual()]).post(CHAT, ask(CHAT, "Hi", true)).await;
    let mut texts = [String::new(), String::new()];
    for data in answered.text().lines().filter_map(|line| line.strip_prefix("data: {")) {
        let event: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        for choice in event["choices"].as_array().unwrap() {
            let at = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
            texts[at].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(texts, ["[card].", "12345678 or so"]);
}
