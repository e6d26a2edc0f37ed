//! Answers that are given again: what of a stream is kept, and how it comes back.

use crate::cascades::routed;
use crate::resume::{get, hear, say, socket};
use crate::support::{Gateway, KEY, Upstream, config, json, sse};
use contracts::policy::{Named, Protocol, Provider, ProviderSettings, Speaks};
use gateway_proxy::Config;
use http::StatusCode;
use serde_json::{Value, json as value};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// A gateway whose route keeps answers, before a server that always streams `events`.
async fn keeping(protocol: Protocol, events: &[Value]) -> (Gateway, Upstream) {
    keeping_under(config(None), protocol, events).await
}

async fn keeping_under(config: Config, protocol: Protocol, events: &[Value]) -> (Gateway, Upstream) {
    let mut text = String::new();
    for event in events {
        if let Some(kind) = event["type"].as_str() {
            text.extend(["event: ", kind, "\n"]);
        }
        text.extend(["data: ", &event.to_string(), "\n\n"]);
    }
    if protocol == Protocol::OpenAi && events[0]["type"].is_null() {
        text.push_str("data: [DONE]\n\n");
    }
    let upstream = Upstream::always(sse(&[text.as_bytes()])).await;
    let idle = Upstream::always(json(500, "{}")).await;
    let mut snapshot = routed(&upstream, &idle, None, Some(value!({"exact": true, "ttl_seconds": 60})));
    let mut model = snapshot.models[&"gpt-4o-mini".parse().unwrap()].as_ref().clone();
    model.provider = Arc::new(Provider {
        speaks: Ok(Speaks { protocol, settings: ProviderSettings::default() }),
        ..Provider::clone(&model.provider)
    });
    snapshot.models.insert(model.name.clone(), Arc::new(model));
    (Gateway::start(config, snapshot), upstream)
}

fn chat_body(more: &Value) -> Value {
    let mut body =
        value!({"model": "route", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Asks twice for the same stream: whether the second is the first again.
async fn is_kept(protocol: Protocol, path: &str, body: &Value, events: &[Value]) -> bool {
    let (gateway, upstream) = keeping(protocol, events).await;
    let first = gateway.post(path, body.to_string()).await;
    assert_eq!((first.status, first.header("x-control-tower-cache")), (StatusCode::OK, "miss"));
    let again = gateway.post(path, body.to_string()).await;
    let is_kept = again.header("x-control-tower-cache") == "hit_exact";
    assert_eq!(upstream.received().len(), if is_kept { 1 } else { 2 }, "{}", again.text());
    is_kept
}

/// A chat's stream of these choices, with usage.
fn chat_events(choices: &[Value]) -> Vec<Value> {
    let chunk = |choices: Value| value!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices});
    let mut events: Vec<Value> = choices.iter().map(|choice| chunk(value!([choice]))).collect();
    let mut last = chunk(value!([]));
    last["usage"] = value!({"prompt_tokens": 3, "completion_tokens": 2});
    events.push(last);
    events
}

fn says(index: usize, delta: &Value, reason: Option<&str>) -> Value {
    value!({"index": index, "delta": delta, "logprobs": null, "finish_reason": reason})
}

#[tokio::test]
async fn a_chat_is_kept_only_as_far_as_nothing_of_it_is_lost() {
    let hi =
        says(0, &value!({"role": "assistant", "content": "Hi", "refusal": null, "annotations": []}), None);
    let stop = says(0, &value!({}), Some("stop"));
    let mut probable = hi.clone();
    probable["logprobs"] = value!({"content": [{"token": "Hi", "logprob": -0.5, "top_logprobs": []}]});
    let with = |delta: Value| vec![hi.clone(), says(0, &delta, None), stop.clone()];
    let call = |call: Value| with(value!({"tool_calls": [call]}));
    let two = |first: usize, second: usize| {
        vec![
            hi.clone(),
            says(1, &value!({"content": "Ho"}), None),
            says(first, &value!({}), Some("stop")),
            says(second, &value!({}), Some("length")),
        ]
    };
    let none = value!({});
    for (what, more, choices, expected) in [
        ("text", &none, vec![hi.clone(), stop.clone()], true),
        (
            "a call",
            &none,
            call(
                value!({"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}),
            ),
            true,
        ),
        ("two choices", &value!({"n": 2}), two(0, 1), true),
        ("probabilities for another", &none, vec![probable.clone(), stop.clone()], true),
        ("probabilities", &value!({"logprobs": true}), vec![probable, stop.clone()], false),
        (
            "a tool of its own",
            &none,
            call(value!({"index": 0, "id": "t", "type": "custom", "custom": {"name": "f", "input": "x"}})),
            false,
        ),
        ("a function", &none, with(value!({"function_call": {"name": "f", "arguments": "{}"}})), false),
        (
            "signed thoughts",
            &none,
            with(value!({"thinking_blocks": [{"type": "thinking", "signature": "s"}]})),
            false,
        ),
        (
            "a signed call",
            &none,
            call(
                value!({"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "s"}}}),
            ),
            false,
        ),
        ("thoughts by another name", &none, with(value!({"reasoning": "hm"})), false),
        ("choices that end out of order", &value!({"n": 2}), two(1, 0), false),
        (
            "a choice without an end",
            &value!({"n": 2}),
            vec![hi.clone(), says(1, &value!({"content": "Ho"}), None), stop.clone()],
            false,
        ),
    ] {
        let is_kept =
            is_kept(Protocol::OpenAi, "/v1/chat/completions", &chat_body(more), &chat_events(&choices)).await;
        assert_eq!(is_kept, expected, "{what}");
    }
}

#[tokio::test]
async fn a_message_is_kept_only_as_far_as_nothing_of_it_is_lost() {
    let text = value!({"type": "text", "text": ""});
    let said = value!({"type": "text_delta", "text": "Hi"});
    let tool = value!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    let input = value!({"type": "input_json_delta", "partial_json": "{}"});
    let thought = value!({"type": "thinking", "thinking": "", "signature": ""});
    let cited = value!({"type": "citations_delta", "citation": {"cited_text": "x"}});
    let redacted = value!({"type": "redacted_thinking", "data": "x"});
    let signed = value!({"type": "signature_delta", "signature": "s"});
    let end = value!({"stop_reason": "end_turn", "stop_sequence": null});
    let at_word = value!({"stop_reason": "stop_sequence", "stop_sequence": "END"});
    for (what, blocks, end, expected) in [
        ("text and a call", vec![(&text, vec![&said]), (&tool, vec![&input])], &end, true),
        ("a call before text", vec![(&tool, vec![&input]), (&text, vec![&said])], &end, false),
        ("two texts", vec![(&text, vec![&said]), (&text, vec![&said])], &end, false),
        ("a citation", vec![(&text, vec![&said, &cited])], &end, false),
        (
            "a signed thought that is not shown",
            vec![(&thought, vec![&signed]), (&text, vec![&said])],
            &end,
            false,
        ),
        ("a hidden thought", vec![(&redacted, vec![]), (&text, vec![&said])], &end, false),
        ("the word that it stopped at", vec![(&text, vec![&said])], &at_word, false),
    ] {
        let mut events = vec![
            value!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        ];
        for (index, (block, deltas)) in blocks.into_iter().enumerate() {
            events.push(value!({"type": "content_block_start", "index": index, "content_block": block}));
            for delta in deltas {
                events.push(value!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            events.push(value!({"type": "content_block_stop", "index": index}));
        }
        events.push(value!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 2}}));
        events.push(value!({"type": "message_stop"}));
        let mut body = chat_body(&value!({"max_tokens": 9}));
        body["stop_sequences"] = value!(["END"]);
        assert_eq!(is_kept(Protocol::Anthropic, "/v1/messages", &body, &events).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_response_is_kept_as_its_last_event_has_it_and_only_when_it_is_complete() {
    let output = value!([
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"},
        {"type": "message", "id": "msg", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [{"type": "url_citation", "url": "u"}]}]},
    ]);
    let response = |status: &str, output: &Value| {
        value!({"id": "resp", "object": "response", "model": "m", "status": status, "output": output, "temperature": 0.5,
            "incomplete_details": if status == "incomplete" { value!({"reason": "max_output_tokens"}) } else { Value::Null },
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}})
    };
    let body = |stream: bool| value!({"model": "route", "input": "Hi", "stream": stream}).to_string();
    for (status, output, expected) in [
        ("completed", &output, true),
        ("incomplete", &output, false),
        // What its provider leaves out of the last event would be missing in the answer.
        ("completed", &value!([]), false),
    ] {
        let events = [
            value!({"type": "response.created", "sequence_number": 0, "response": response("in_progress", &value!([]))}),
            value!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 1, "delta": "Hi"}),
            value!({"type": format!("response.{status}"), "sequence_number": 2, "response": response(status, output)}),
        ];
        let (gateway, upstream) = keeping(Protocol::OpenAi, &events).await;
        gateway.post("/v1/responses", body(true)).await;
        if !expected {
            assert_eq!(
                gateway.post("/v1/responses", body(true)).await.header("x-control-tower-cache"),
                "miss"
            );
            assert_eq!(upstream.received().len(), 2, "{status}");
            continue;
        }
        let again = gateway.post("/v1/responses", body(false)).await;
        assert_eq!(again.header("x-control-tower-cache"), "hit_exact");
        assert_eq!(again.json(), response(status, output), "nothing of it is lost");
    }
}

/// Makes a call over a socket: what it says, and the numbers of its events.
async fn told(gateway: &Gateway, body: &Value) -> (String, Vec<u64>) {
    let mut socket = socket(gateway, KEY).await.unwrap();
    say(&mut socket, value!({"type": "create", "path": "/v1/chat/completions", "body": body})).await;
    let mut text = String::new();
    let mut numbers = Vec::new();
    loop {
        let told = hear(&mut socket).await;
        if told["type"] == "end" {
            return (text, numbers);
        }
        assert_eq!(told["type"], "event", "{told}");
        text.push_str(told["data"]["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        numbers.push(told["number"].as_u64().unwrap());
    }
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_whole_also_where_there_is_no_room_to_keep_it() {
    let words = "many words ".repeat(800);
    let said =
        [says(0, &value!({"role": "assistant", "content": words}), None), says(0, &value!({}), Some("stop"))];
    let mut config = config(None);
    config.resume.total_bytes = 4_000;
    let (gateway, upstream) = keeping_under(config, Protocol::OpenAi, &chat_events(&said)).await;
    gateway.post("/v1/chat/completions", chat_body(&value!({})).to_string()).await;
    let mut request = gateway.request("/v1/chat/completions", chat_body(&value!({})).to_string());
    request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
    let again = gateway.call(request).await;
    let id = again.header("x-request-id");
    assert_eq!(again.header("x-control-tower-cache"), "hit_exact");
    assert!(again.text().starts_with(&format!("id: {id}:0\ndata: ")), "{}", again.text());
    assert!(again.text().ends_with("data: [DONE]\n\n"), "{}", again.text());
    // Not all of it is there to come back to, and that is said.
    let gone = gateway.call(get(&gateway, &format!("/v1/streams/{id}"))).await;
    assert_eq!(gone.json()["error"]["code"], "events_gone", "{}", gone.text());

    let (text, numbers) = told(&gateway, &chat_body(&value!({}))).await;
    assert_eq!((text, numbers[0]), (words, 0));
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_given_again_can_be_come_back_to() {
    let hi =
        [says(0, &value!({"role": "assistant", "content": "Hi"}), None), says(0, &value!({}), Some("stop"))];
    let (gateway, upstream) = keeping(Protocol::OpenAi, &chat_events(&hi)).await;
    let ask = async || {
        let mut request = gateway.request("/v1/chat/completions", chat_body(&value!({})).to_string());
        request.headers_mut().insert("x-control-tower-resume", "on".parse().unwrap());
        gateway.call(request).await
    };
    assert_eq!(ask().await.header("x-control-tower-cache"), "miss");
    let again = ask().await;
    assert_eq!(
        (again.header("x-control-tower-cache"), again.header("content-type")),
        ("hit_exact", "text/event-stream; charset=utf-8")
    );
    let id = again.header("x-request-id");
    assert!(again.text().starts_with(&format!("id: {id}:0\ndata: ")), "{}", again.text());
    assert!(again.text().contains(r#""content":"Hi""#) && again.text().ends_with("data: [DONE]\n\n"));
    let mut request = get(&gateway, &format!("/v1/streams/{id}"));
    request.headers_mut().insert("last-event-id", format!("{id}:0").parse().unwrap());
    let rest = gateway.call(request).await;
    assert!(rest.text().starts_with(&format!("id: {id}:1\ndata: ")), "{}", rest.text());

    // Over a socket it comes event by event too.
    let (text, numbers) = told(&gateway, &chat_body(&value!({}))).await;
    assert_eq!((text.as_str(), numbers.is_sorted(), numbers[0]), ("Hi", true, 0));
    assert_eq!(upstream.received().len(), 1);
}

/// A Redis of one's own, for as long as it is held.
struct Redis {
    port: u16,
    process: std::process::Child,
    _dir: tempfile::TempDir,
}

impl Redis {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = std::process::Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .current_dir(dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { port, process, _dir: dir };
        for _ in 0..500 {
            if redis.says("PING") == "+PONG" {
                return redis;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer");
    }

    /// The answer to a command, empty when there is none.
    fn says(&self, command: &str) -> String {
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else {
            return String::new();
        };
        let mut answer = [0; 64];
        let read =
            stream.write_all(format!("{command}\r\n").as_bytes()).and_then(|()| stream.read(&mut answer));
        String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_cache_that_was_written_anew_gives_none_of_the_answers_of_before() {
    let redis = Redis::start().await;
    let whole = value!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let upstream = Upstream::always(json(200, &whole.to_string())).await;
    let gateway = |revision: u64| {
        let mut snapshot =
            routed(&upstream, &upstream, None, Some(value!({"exact": true, "ttl_seconds": 60})));
        let mut route = snapshot.shared_routes[&"route".parse().unwrap()].as_ref().clone();
        let cache = route.policy.as_mut().unwrap().cache.as_mut().unwrap();
        let (name, spec) = (cache.name.clone(), cache.spec.clone());
        *cache = Arc::new(Named { tenant: None, name, revision, spec });
        snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
        let mut config = config(None);
        config.cache.redis = format!("redis://127.0.0.1:{}", redis.port);
        Gateway::start(config, snapshot)
    };
    let ask = async |gateway: &Gateway| {
        let answer =
            gateway.post("/v1/chat/completions", chat_body(&value!({"stream": false})).to_string()).await;
        answer.header("x-control-tower-cache").to_owned()
    };
    let (before, beside, after) = (gateway(7), gateway(7), gateway(8));
    assert_eq!(ask(&before).await, "miss");
    while [":0", ""].contains(&redis.says("DBSIZE").as_str()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ask(&beside).await, "hit_exact", "what one keeps, another gives");
    assert_eq!(ask(&after).await, "miss", "what was kept under another revision is done with");
    assert_eq!(ask(&after).await, "hit_exact");

    for (name, expected) in [
        ("hits_total{kind=\"exact\"}", 1.0),
        ("hits_total{kind=\"semantic\"}", 0.0),
        ("misses_total", 1.0),
        ("vetoed_total", 0.0),
        ("not_embedded_total", 0.0),
        ("evicted_total", 0.0),
        ("not_shared_total", 0.0),
        // 3 at $1 and 2 at $2 a million.
        ("saved_picodollars_total", 7_000_000.0),
        ("entries", 1.0),
    ] {
        let metric = after.metric(&format!("gateway_answer_cache_{name} ")).await;
        assert_eq!(metric, Some(expected), "{name}");
    }
}
