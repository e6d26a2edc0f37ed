//! Anthropic's protocol as its clients meet it.

use super::{Pool, with};
use crate::config::Config;
use http::StatusCode;
use serde_json::{Value, json};

const PATH: &str = "/v1/messages";

fn messages(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": text}]})
}

fn weather() -> Value {
    let tool = |name: &str| {
        json!({"name": name, "input_schema": {"type": "object", "required": ["city"],
            "properties": {"city": {"type": "string"}}}})
    };
    json!([tool("get_weather"), tool("get_time")])
}

async fn refused(pool: &Pool, body: &Value, part: &str) {
    let (status, bytes) = pool.post(PATH, body).await;
    let error: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((status, &error["type"]), (StatusCode::BAD_REQUEST, &json!("error")), "{error}");
    assert_eq!(error["error"]["type"], "invalid_request_error");
    assert!(error["error"]["message"].as_str().unwrap().contains(part), "{error} does not say {part}");
}

/// The message that a stream adds up to, as a client does it.
fn added_up(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    let mut json_text = String::new();
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                json_text.clear();
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                for (delta, field) in [("text", "text"), ("thinking", "thinking"), ("signature", "signature")]
                {
                    if let Some(text) = event["delta"][delta].as_str() {
                        block[field] = json!(format!("{}{text}", block[field].as_str().unwrap()));
                    }
                }
                if let Some(text) = event["delta"]["partial_json"].as_str() {
                    json_text.push_str(text);
                    block["input"] = serde_json::from_str(&json_text).unwrap_or(json!({}));
                }
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    nameless(message)
}

/// The message without the ids that every answer makes anew.
fn nameless(mut message: Value) -> Value {
    message["id"] = json!("");
    for block in message["content"].as_array_mut().unwrap() {
        if block.get("id").is_some() {
            block["id"] = json!("");
        }
    }
    message
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_message() {
    let pool = Pool::new(Config::default());
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    for asked in [
        messages("sim-fast", "Tell me about ships."),
        with(messages("sim-fast", "Tell me about ships."), &thinking),
        with(messages("sim-fast:redact", "Tell me about ships."), &thinking),
        with(messages("sim-fast:preface", "get weather and get time of Oslo"), &json!({"tools": weather()})),
        with(messages("sim-fast", "echo one two three"), &json!({"stop_sequences": [" three"]})),
        with(messages("sim-fast", "Tell me."), &json!({"max_tokens": 2})),
        messages("sim-fast:filter", "Tell me."),
    ] {
        let whole = pool.json(PATH, &asked).await;
        let events = pool.events(PATH, &with(asked, &json!({"stream": true}))).await;
        assert_eq!(added_up(&events), nameless(whole));
        assert_eq!(events.last().unwrap()["type"], "message_stop");
    }
    let outputs: Vec<(u64, u64)> = pool.close().iter().map(|r| (r.usage.completion, r.tokens_sent)).collect();
    assert!(outputs.iter().all(|(planned, sent)| planned == sent), "{outputs:?}");
    assert!(outputs.chunks(2).all(|pair| pair[0] == pair[1]), "{outputs:?}");
}

#[tokio::test]
async fn stop_reasons_are_told() {
    let pool = Pool::new(Config::default());
    let stop = async |model: &str, text: &str, fields: Value| {
        let message = pool.json(PATH, &with(messages(model, text), &fields)).await;
        (message["stop_reason"].as_str().unwrap().to_owned(), message["stop_sequence"].clone())
    };
    assert_eq!(stop("sim-fast", "Hi", json!({})).await.0, "end_turn");
    assert_eq!(stop("sim-fast", "Hi", json!({"max_tokens": 2})).await.0, "max_tokens");
    assert_eq!(
        stop("sim-fast", "echo a b c", json!({"stop_sequences": ["x", " b"]})).await,
        ("stop_sequence".to_owned(), json!(" b"))
    );
    assert_eq!(stop("sim-fast", "get_weather", json!({"tools": weather()})).await.0, "tool_use");
    assert_eq!(stop("sim-fast:filter", "Hi", json!({})).await.0, "refusal");
}

#[tokio::test]
async fn thoughts_must_come_back_as_they_were() {
    let pool = Pool::new(Config::default());
    let fields = json!({"tools": weather(), "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let asked = with(messages("sim-fast", "get_weather for Oslo, please"), &fields);
    let answer = pool.json(PATH, &asked).await;
    let call = answer["content"].as_array().unwrap().last().unwrap().clone();
    let result = json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call["id"], "content": "rain"}]});
    let turn = |content: Value| {
        let mut next = asked.clone();
        let messages = next["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": content}));
        messages.push(result.clone());
        next
    };
    let said = pool.json(PATH, &turn(answer["content"].clone())).await;
    assert!(said["content"][1]["text"].as_str().unwrap().contains("rain"), "{said}");
    let mut altered = answer["content"].clone();
    altered[0]["thinking"] = json!("Something else.");
    refused(&pool, &turn(altered), "Invalid `signature`").await;
    refused(&pool, &turn(json!([call])), "must start with a thinking block").await;
    // Once a person has said something more, thoughts of earlier turns may be gone.
    let mut later = turn(json!([call]));
    later["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": "Thanks."}));
    pool.json(PATH, &later).await;
    let mut lost = asked.clone();
    lost["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": answer["content"]}),
        json!({"role": "user", "content": "Well?"}),
    ]);
    refused(&pool, &lost, "without `tool_result` blocks").await;
    let mut stray = asked;
    stray["messages"].as_array_mut().unwrap().push(result);
    refused(&pool, &stray, "unexpected `tool_use_id`").await;
}

#[tokio::test]
async fn what_was_marked_is_written_once_and_read_after() {
    let pool = Pool::new(Config::default());
    let system = json!({"system": [{"type": "text", "text": "Each word counts here. ".repeat(20),
        "cache_control": {"type": "ephemeral"}}]});
    let asked = with(messages("sim-fast", "Hi"), &system);
    let usage = async |body: &Value| pool.json(PATH, body).await["usage"].clone();
    let (first, second) = (usage(&asked).await, usage(&asked).await);
    let written = first["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(written > 32 && first["cache_read_input_tokens"] == 0, "{first}");
    assert_eq!(first["cache_creation"]["ephemeral_5m_input_tokens"], written);
    assert_eq!(
        (&second["cache_read_input_tokens"], &second["cache_creation_input_tokens"]),
        (&json!(written), &json!(0))
    );
    assert_eq!(first["input_tokens"], second["input_tokens"]);
    let counted = pool.json("/v1/messages/count_tokens", &asked).await["input_tokens"].as_u64().unwrap();
    assert_eq!(counted, first["input_tokens"].as_u64().unwrap() + written);
    let records = pool.close();
    assert_eq!((records[0].usage.cache_write, records[1].usage.cached), (written, written));
    assert_eq!(records[2].endpoint, "/v1/messages/count_tokens");
}

#[tokio::test]
async fn what_the_api_does_not_take_is_refused() {
    let pool = Pool::new(Config::default());
    let hi = messages("sim-fast", "Hi");
    for (fields, part) in [
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"n": 2}), "unknown field `n`"),
        (json!({"messages": [{"role": "system", "content": "Be nice."}]}), "'user' or 'assistant'"),
        (json!({"messages": []}), "at least one message"),
        (json!({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}), "non-empty"),
        (json!({"temperature": 1.5}), "range 0..1"),
        (json!({"metadata": {"tenant": "a"}}), "metadata.tenant"),
        (json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}), "should match pattern"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 100}}), "1024"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 4096}}), "budget_tokens"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": weather(), "tool_choice": {"type": "any"}}),
            "forces tool use",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image", "source":
                {"type": "base64", "media_type": "image/png", "data": "?"}}]}]}),
            "not base64",
        ),
    ] {
        refused(&pool, &with(hi.clone(), &fields), part).await;
    }
    let image = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]}]});
    assert!(pool.json(PATH, &with(hi, &image)).await["usage"]["input_tokens"].as_u64().unwrap() > 85);
}

#[tokio::test]
async fn keys_versions_and_faults_have_anthropics_errors() {
    let pool = Pool::new(Config { api_key: Some("key".into()), ..Config::default() });
    let body = messages("sim-fast", "Hi").to_string();
    for (headers, status, kind) in [
        (vec![("x-api-key", "key"), ("anthropic-version", "2023-06-01")], 200, Value::Null),
        (vec![("anthropic-version", "2023-06-01")], 401, json!("authentication_error")),
        (
            vec![("x-api-key", "other"), ("anthropic-version", "2023-06-01")],
            401,
            json!("authentication_error"),
        ),
        (vec![("x-api-key", "key")], 400, json!("invalid_request_error")),
    ] {
        let (got, _, bytes) = pool.request(PATH, &headers, &body).await;
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((got.as_u16(), &answer["error"]["type"]), (status, &kind), "{answer}");
    }
    for (model, status, kind) in [
        ("sim-fast:error-529", 529, "overloaded_error"),
        ("sim-fast:error-429", 429, "rate_limit_error"),
        ("claude-nope", 404, "not_found_error"),
    ] {
        let (got, bytes) = pool.post(PATH, &messages(model, "Hi")).await;
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((got.as_u16(), error["error"]["type"].as_str().unwrap()), (status, kind));
    }
    let broken = with(messages("sim-fast:break", "Hi"), &json!({"stream": true}));
    let events = pool.events(PATH, &broken).await;
    assert_eq!(events.last().unwrap()["error"]["type"], "api_error");
}
