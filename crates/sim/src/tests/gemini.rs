//! Gemini's protocol as its clients meet it.

use super::{Pool, with};
use crate::config::Config;
use serde_json::{Value, json};

fn path(model: &str, method: &str) -> String {
    format!("/v1beta/models/{model}:{method}")
}

fn contents(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn weather() -> Value {
    let tool = |name: &str| {
        json!({"name": name, "parameters": {"type": "OBJECT", "required": ["city"],
            "properties": {"city": {"type": "STRING"}}}})
    };
    json!({"tools": [{"functionDeclarations": [tool("get_weather"), tool("get_time")]}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 100, "includeThoughts": true}}})
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let pool = Pool::new(Config::default());
    let thoughts =
        json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": true}}});
    for asked in [contents("Tell me about ships."), with(contents("Tell me about ships."), &thoughts)] {
        let whole = pool.json(&path("sim-fast", "generateContent"), &asked).await;
        let events = pool.events(&path("sim-fast", "streamGenerateContent?alt=sse"), &asked).await;
        let joined = |answers: &[Value], thought: bool| -> String {
            let parts =
                answers.iter().flat_map(|a| a["candidates"][0]["content"]["parts"].as_array().unwrap());
            parts.filter(|p| (p["thought"] == true) == thought).map(|p| p["text"].as_str().unwrap()).collect()
        };
        for thought in [true, false] {
            assert_eq!(joined(&events, thought), joined(std::slice::from_ref(&whole), thought));
        }
        let last = events.last().unwrap();
        assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        let array = pool.post(&path("sim-fast", "streamGenerateContent"), &asked).await.1;
        let array: Vec<Value> = serde_json::from_slice(&array).unwrap();
        assert_eq!(array.len(), events.len());
    }
    let records = pool.close();
    assert!(records.iter().all(|r| r.tokens_sent == r.usage.completion), "{records:?}");
    assert!(records[3].usage.reasoning > 0);
}

#[tokio::test]
async fn calls_carry_the_signature_of_the_thoughts_before_them_and_must_keep_it() {
    let pool = Pool::new(Config::default());
    let asked = with(contents("get_weather and get_time of Oslo"), &weather());
    let url = path("sim-fast", "generateContent");
    let answer = pool.json(&url, &asked).await;
    let said = answer["candidates"][0]["content"].clone();
    let calls: Vec<Value> = said["parts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p.get("functionCall").is_some())
        .cloned()
        .collect();
    assert_eq!(calls.len(), 2);
    assert!(calls[0]["thoughtSignature"].is_string() && calls[1].get("thoughtSignature").is_none());
    let results: Vec<Value> = calls
        .iter()
        .map(|c| json!({"functionResponse": {"name": c["functionCall"]["name"], "response": {"output": "rain"}}}))
        .collect();
    let turn = |said: &Value, results: &[Value]| {
        let mut next = asked.clone();
        next["contents"]
            .as_array_mut()
            .unwrap()
            .extend([said.clone(), json!({"role": "user", "parts": results})]);
        next
    };
    let next = pool.json(&url, &turn(&said, &results)).await;
    assert!(next.to_string().contains("rain"));
    let refused = async |body: Value, part: &str| {
        let (status, bytes) = pool.post(&url, &body).await;
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((status.as_u16(), &error["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{error}");
    };
    let first =
        said["parts"].as_array().unwrap().iter().position(|p| p.get("functionCall").is_some()).unwrap();
    let mut lost = said.clone();
    lost["parts"][first].as_object_mut().unwrap().remove("thoughtSignature");
    refused(turn(&lost, &results), "missing a thought_signature").await;
    let mut altered = said.clone();
    altered["parts"][first]["functionCall"]["args"]["city"] = json!("elsewhere");
    refused(turn(&altered, &results), "not valid").await;
    let mut foreign = said.clone();
    foreign["parts"][first]["thoughtSignature"] = json!("skip_thought_signature_validator");
    pool.json(&url, &turn(&foreign, &results)).await;
    refused(turn(&said, &results[..1]), "number of function response parts").await;
    refused(with(asked.clone(), &json!({"max_tokens": 3})), "unknown field `max_tokens`").await;
}

#[tokio::test]
async fn schemas_tokens_and_log_probabilities() {
    let pool = Pool::new(Config::default());
    let config = json!({"generationConfig": {"responseMimeType": "application/json", "responseLogprobs": true, "logprobs": 2,
        "responseSchema": {"type": "OBJECT", "required": ["n"], "properties": {"n": {"type": "INTEGER"}}}}});
    let answer = pool.json(&path("sim-fast", "generateContent"), &with(contents("Count."), &config)).await;
    let candidate = &answer["candidates"][0];
    let text: Value =
        serde_json::from_str(candidate["content"]["parts"][0]["text"].as_str().unwrap()).unwrap();
    assert!(text["n"].is_i64());
    let chosen = candidate["logprobsResult"]["chosenCandidates"].as_array().unwrap();
    assert_eq!(chosen.len() as u64, answer["usageMetadata"]["candidatesTokenCount"].as_u64().unwrap());
    assert!(chosen.iter().all(|c| c["logProbability"].as_f64().unwrap() < 0.0));
    let counted = pool.json(&path("sim-fast", "countTokens"), &contents("Count.")).await;
    assert_eq!(counted["totalTokens"], answer["usageMetadata"]["promptTokenCount"]);
    let limited = with(contents("Tell me."), &json!({"generationConfig": {"maxOutputTokens": 2}}));
    let limited = pool.json(&path("sim-fast", "generateContent"), &limited).await;
    assert_eq!(limited["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[tokio::test]
async fn keys_and_faults_have_googles_errors() {
    let pool = Pool::new(Config { api_key: Some("key".into()), ..Config::default() });
    let body = contents("Hi").to_string();
    let url = path("sim-fast", "generateContent");
    for (at, headers, status, kind) in [
        (url.clone(), vec![("x-goog-api-key", "key")], 200, Value::Null),
        (format!("{url}?key=key"), vec![], 200, Value::Null),
        (url.clone(), vec![("x-goog-api-key", "other")], 400, json!("INVALID_ARGUMENT")),
        (url.clone(), vec![], 403, json!("PERMISSION_DENIED")),
        (
            path("sim-fast:error-503", "generateContent"),
            vec![("x-goog-api-key", "key")],
            503,
            json!("UNAVAILABLE"),
        ),
        (path("gemini-nope", "generateContent"), vec![("x-goog-api-key", "key")], 404, json!("NOT_FOUND")),
    ] {
        let (got, _, bytes) = pool.request(&at, &headers, &body).await;
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((got.as_u16(), &answer["error"]["status"]), (status, &kind), "{at} {answer}");
    }
}
