//! Bedrock's Converse protocol as its clients meet it. What a signature must be is tested where it is checked.

use super::{Pool, with};
use crate::config::Config;
use crate::eventstream::tests::decode;
use serde_json::{Value, json};

const SIGNED: [(&str, &str); 2] = [
    ("x-amz-date", "20260101T000000Z"),
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
    ),
];

async fn converse(pool: &Pool, model: &str, body: &Value) -> (u16, Value) {
    let (status, _, bytes) =
        pool.request(&format!("/model/{model}/converse"), &SIGNED, &body.to_string()).await;
    (status.as_u16(), serde_json::from_slice(&bytes).unwrap())
}

fn messages(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}]})
}

fn weather() -> Value {
    let schema = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    json!({"toolConfig": {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": schema}}}]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}})
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let pool = Pool::new(Config::default());
    for asked in [messages("Tell me about ships."), with(messages("get_weather of Oslo"), &weather())] {
        let (status, whole) = converse(&pool, "sim-fast", &asked).await;
        assert_eq!(status, 200, "{whole}");
        let (_, headers, bytes) =
            pool.request("/model/sim-fast/converse-stream", &SIGNED, &asked.to_string()).await;
        assert_eq!(headers["content-type"], "application/vnd.amazon.eventstream");
        let events = decode(&bytes);
        let all =
            |kind: &str| events.iter().filter(|(k, _)| k == kind).map(|(_, p)| p.clone()).collect::<Vec<_>>();
        let (mut text, mut thought, mut signature, mut input) =
            (String::new(), String::new(), String::new(), String::new());
        for event in all("contentBlockDelta") {
            let delta = &event["delta"];
            text.push_str(delta["text"].as_str().unwrap_or_default());
            thought.push_str(delta["reasoningContent"]["text"].as_str().unwrap_or_default());
            signature.push_str(delta["reasoningContent"]["signature"].as_str().unwrap_or_default());
            input.push_str(delta["toolUse"]["input"].as_str().unwrap_or_default());
        }
        for block in whole["output"]["message"]["content"].as_array().unwrap() {
            if let Some(said) = block.get("text") {
                assert_eq!(*said, text);
            }
            if let Some(reasoning) = block.get("reasoningContent") {
                assert_eq!(reasoning["reasoningText"], json!({"text": thought, "signature": signature}));
            }
            if let Some(call) = block.get("toolUse") {
                assert_eq!(
                    call["input"].to_string(),
                    serde_json::from_str::<Value>(&input).unwrap().to_string()
                );
                assert_eq!(all("contentBlockStart")[0]["start"]["toolUse"]["name"], call["name"]);
            }
        }
        assert_eq!(all("messageStop")[0]["stopReason"], whole["stopReason"]);
        assert_eq!(all("metadata")[0]["usage"], whole["usage"]);
        assert_eq!(events[0].0, "messageStart");
    }
    assert!(pool.close().iter().all(|r| r.tokens_sent == r.usage.completion));
}

#[tokio::test]
async fn thoughts_and_results_are_checked() {
    let pool = Pool::new(Config::default());
    let asked = with(messages("get_weather of Oslo"), &weather());
    let (_, answer) = converse(&pool, "sim-fast", &asked).await;
    let said = answer["output"]["message"].clone();
    let id = said["content"][1]["toolUse"]["toolUseId"].clone();
    let turn = |said: &Value, id: &Value| {
        let mut next = asked.clone();
        next["messages"].as_array_mut().unwrap().extend([
            said.clone(),
            json!({"role": "user", "content": [{"toolResult": {"toolUseId": id, "content": [{"text": "rain"}]}}]}),
        ]);
        next
    };
    let (status, next) = converse(&pool, "sim-fast", &turn(&said, &id)).await;
    assert_eq!(status, 200, "{next}");
    assert!(next.to_string().contains("rain"));
    let mut altered = said.clone();
    altered["content"][0]["reasoningContent"]["reasoningText"]["signature"] = json!("bm8=");
    let mut unthought = said.clone();
    unthought["content"].as_array_mut().unwrap().remove(0);
    let mut untold = turn(&said, &id);
    untold.as_object_mut().unwrap().remove("toolConfig");
    for (body, part) in [
        (turn(&altered, &id), "signature"),
        (turn(&unthought, &id), "thinking block"),
        (turn(&said, &json!("other")), "toolUseId"),
        (untold, "toolConfig"),
        (
            json!({"messages": [{"role": "assistant", "content": [{"text": "Hi"}]}]}),
            "start with a user message",
        ),
        (with(messages("Hi"), &json!({"max_tokens": 3})), "unknown field `max_tokens`"),
    ] {
        let (status, error) = converse(&pool, "sim-fast", &body).await;
        assert_eq!(status, 400, "{error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{error} does not say {part}");
    }
}

#[tokio::test]
async fn cache_points_images_and_schemas() {
    let pool = Pool::new(Config::default());
    let long = json!({"system": [{"text": "Each word counts here. ".repeat(20)}, {"cachePoint": {"type": "default"}}]});
    let asked = with(messages("Hi"), &long);
    let first = converse(&pool, "sim-fast", &asked).await.1["usage"].clone();
    let second = converse(&pool, "sim-fast", &asked).await.1["usage"].clone();
    assert!(first["cacheWriteInputTokens"].as_u64().unwrap() > 32, "{first}");
    assert_eq!(second["cacheReadInputTokens"], first["cacheWriteInputTokens"]);
    let schema =
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}).to_string();
    let format = json!({"outputConfig": {"textFormat":
        {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": "n"}}}}});
    let (_, answer) = converse(&pool, "sim-fast", &with(messages("Count."), &format)).await;
    let text = answer["output"]["message"]["content"][0]["text"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap()["n"].is_i64());
    let image = json!({"messages": [{"role": "user", "content": [
        {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}, {"text": "What is this?"}]}]});
    assert!(converse(&pool, "sim-fast", &image).await.1["usage"]["inputTokens"].as_u64().unwrap() > 85);
}

#[tokio::test]
async fn faults_have_bedrocks_errors() {
    let pool = Pool::new(Config::default());
    let body = messages("Hi").to_string();
    for (model, status, kind) in [
        ("sim-fast%3Aerror-429", 429, "ThrottlingException"),
        ("sim-fast%3Aerror-503", 503, "ServiceUnavailableException"),
        ("nope", 404, "ResourceNotFoundException"),
    ] {
        let (got, headers, _) = pool.request(&format!("/model/{model}/converse"), &SIGNED, &body).await;
        assert_eq!((got.as_u16(), headers["x-amzn-errortype"].to_str().unwrap()), (status, kind));
    }
    let (status, _, _) = pool.request("/model/sim-fast/converse", &[], &body).await;
    assert_eq!(status.as_u16(), 403);
    let (_, _, bytes) = pool.request("/model/sim-fast%3Abreak/converse-stream", &SIGNED, &body).await;
    assert_eq!(decode(&bytes).last().unwrap().0, "modelStreamErrorException");
}
