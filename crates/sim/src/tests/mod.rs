//! The simulator as its clients meet it: requests through the router, or over a real connection where that matters.

mod anthropic;
mod bedrock;
mod deployments;
mod gemini;

use crate::answers::Answers;
use crate::config::Config;
use crate::log::{Log, Outcome, Record, Writer};
use crate::server::{Deployments, router};
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use runtime::{Clock, ServeOptions, Shutdown};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

struct Pool {
    deployments: Deployments,
    writer: Writer,
    log: tempfile::NamedTempFile,
}

impl Pool {
    fn new(config: Config) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (log, writer) = Log::open(Some(file.path())).unwrap();
        let answers = Answers::load(&config.answers).unwrap();
        Self { deployments: Deployments::new(config, answers, log, Clock::system()), writer, log: file }
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Vec<u8>) {
        self.send(path, &body.to_string()).await
    }

    async fn send(&self, path: &str, body: &str) -> (StatusCode, Vec<u8>) {
        let headers = [
            ("authorization", "Bearer key"),
            ("api-key", "key"),
            ("x-api-key", "key"),
            ("anthropic-version", "2023-06-01"),
            ("x-goog-api-key", "key"),
        ];
        let (status, _, bytes) = self.request(path, &headers, body).await;
        (status, bytes)
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        self.answer(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn request(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn answer(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = router(self.deployments.clone()).oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn json(&self, path: &str, body: &Value) -> Value {
        let (status, bytes) = self.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, bytes) = self.post(path, body).await;
        assert_eq!(status, StatusCode::OK);
        let text = String::from_utf8(bytes).unwrap().replace("\r\n", "\n");
        let data = text.split("\n\n").filter_map(|e| e.lines().find_map(|l| l.strip_prefix("data: ")));
        data.map(|d| if d == "[DONE]" { json!("[DONE]") } else { serde_json::from_str(d).unwrap() }).collect()
    }

    fn close(self) -> Vec<Record> {
        self.writer.close();
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer_and_the_log_agrees() {
    let pool = Pool::new(Config::default());
    let asked =
        chat("sim-fast:reasoning-30", "Tell me about lighthouses and the people who keep them, please.");
    let whole = pool.json("/v1/chat/completions", &asked).await;
    let streamed = with(asked, &json!({"stream": true, "stream_options": {"include_usage": true}}));
    let events = pool.events("/v1/chat/completions", &streamed).await;
    let content = |e: &Value| e["choices"][0]["delta"]["content"].as_str().unwrap_or("").to_owned();
    let text: String = events.iter().map(content).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[0]["usage"], Value::Null);
    let usage = &events[events.len() - 2];
    assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
    assert_eq!(events[events.len() - 3]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events[events.len() - 1], "[DONE]");
    let records = pool.close();
    assert_eq!(records.len(), 2);
    for (record, id) in records.iter().zip([&whole["id"], &events[0]["id"]]) {
        assert_eq!(record.id, id.as_str().unwrap());
        assert_eq!(json!(record.usage.completion), whole["usage"]["completion_tokens"]);
        assert_eq!(json!(record.usage.prompt), whole["usage"]["prompt_tokens"]);
        assert_eq!((record.outcome, record.tokens_sent), (Outcome::Completed, record.usage.completion));
        assert!(record.usage.reasoning > 0 && record.usage_reported);
    }
}

#[tokio::test]
async fn usage_is_sent_in_a_stream_only_when_asked_for() {
    let pool = Pool::new(Config::default());
    let asked = with(chat("sim-fast", "Hi"), &json!({"stream": true}));
    let events = pool.events("/v1/chat/completions", &asked).await;
    assert!(events.iter().all(|e| e.get("usage").is_none()));
    let silent =
        with(chat("sim-nousage", "Hi"), &json!({"stream": true, "stream_options": {"include_usage": true}}));
    assert!(pool.events("/v1/chat/completions", &silent).await.iter().all(|e| e.get("usage").is_none()));
    assert!(pool.json("/v1/chat/completions", &chat("sim-nousage", "Hi")).await.get("usage").is_none());
}

#[tokio::test]
async fn a_tool_call_is_valid_streamed_and_whole() {
    let pool = Pool::new(Config::default());
    let tools = json!({"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "required": ["city", "days"], "properties":
        {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}}}}}]});
    let asked = with(chat("sim-fast", "Use get_weather for Oslo"), &tools);
    let whole = pool.json("/v1/chat/completions", &asked).await;
    let call = &whole["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(call["function"]["name"], "get_weather");
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].is_string() && (1..=3).contains(&arguments["days"].as_i64().unwrap()));
    let events = pool.events("/v1/chat/completions", &with(asked, &json!({"stream": true}))).await;
    let deltas = events.iter().map(|e| &e["choices"][0]["delta"]["tool_calls"][0]);
    let joined: String =
        deltas.map(|d| d["function"]["arguments"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(joined, call["function"]["arguments"].as_str().unwrap());
}

#[tokio::test]
async fn several_answers_logprobs_and_limits() {
    let pool = Pool::new(Config::default());
    let fields = json!({"n": 2, "max_tokens": 5, "logprobs": true, "top_logprobs": 2});
    let whole = pool.json("/v1/chat/completions", &with(chat("sim-fast", "Count."), &fields)).await;
    assert_eq!(whole["choices"].as_array().unwrap().len(), 2);
    assert_eq!(whole["usage"]["completion_tokens"], 10);
    for choice in whole["choices"].as_array().unwrap() {
        assert_eq!(choice["finish_reason"], "length");
        let content = choice["logprobs"]["content"].as_array().unwrap();
        assert_eq!(content.len(), 5);
        assert!(content.iter().all(
            |t| t["logprob"].as_f64().unwrap() < 0.0 && t["top_logprobs"].as_array().unwrap().len() == 2
        ));
    }
}

#[tokio::test]
async fn responses_stream_the_sequence_that_sdks_expect() {
    let pool = Pool::new(Config::default());
    let asked =
        json!({"model": "sim-fast:reasoning-20", "input": "echo Guten Tag, schöne Welt", "stream": true});
    let events = pool.events("/v1/responses", &asked).await;
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    let mut distinct = kinds.clone();
    distinct.dedup();
    assert_eq!(
        distinct,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert!(events.iter().enumerate().all(|(at, e)| e["sequence_number"] == json!(at)));
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][1]["content"][0]["text"], "Guten Tag, schöne Welt");
    assert!(last["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
    let cut = pool
        .json("/v1/responses", &json!({"model": "sim-fast", "input": "Hi", "max_output_tokens": 2}))
        .await;
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64_of_the_same_numbers() {
    use base64::Engine;
    let pool = Pool::new(Config::default());
    let asked = json!({"model": "sim-embedding", "input": ["a lighthouse", "a ship"], "dimensions": 32});
    let numbers = pool.json("/v1/embeddings", &asked).await;
    let packed = pool.json("/v1/embeddings", &with(asked, &json!({"encoding_format": "base64"}))).await;
    for (plain, packed) in numbers["data"].as_array().unwrap().iter().zip(packed["data"].as_array().unwrap())
    {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(packed["embedding"].as_str().unwrap()).unwrap();
        let unpacked: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(unpacked.len(), 32);
        let plain: Vec<f64> = serde_json::from_value(plain["embedding"].clone()).unwrap();
        assert!(plain.iter().zip(&unpacked).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-6));
    }
}

#[tokio::test]
async fn legacy_completions_echo_stop_and_stream() {
    let pool = Pool::new(Config::default());
    let asked = json!({"model": "sim-fast", "prompt": ["echo one two three", "echo four"], "max_tokens": 50,
        "stop": " three", "logprobs": 1});
    let whole = pool.json("/v1/completions", &asked).await;
    assert_eq!(whole["choices"][0]["text"], "one two");
    assert_eq!(whole["choices"][1]["text"], "four");
    assert_eq!(whole["choices"][0]["logprobs"]["tokens"], json!(["one", " two"]));
    let events = pool.events("/v1/completions", &with(asked, &json!({"stream": true}))).await;
    let first = events.iter().filter(|e| e["choices"][0]["index"] == 0);
    assert_eq!(first.map(|e| e["choices"][0]["text"].as_str().unwrap()).collect::<String>(), "one two");
}

#[tokio::test]
async fn errors_have_openais_shape_and_are_logged() {
    let pool = Pool::new(Config { api_key: Some("key".into()), ..Config::default() });
    for (body, status, code) in [
        (chat("gpt-nope", "Hi").to_string(), 404, json!("model_not_found")),
        (chat("sim-error-429", "Hi").to_string(), 429, json!("rate_limit_exceeded")),
        (chat("sim-error-500", "Hi").to_string(), 500, Value::Null),
        (json!({"model": "sim-fast", "messages": []}).to_string(), 400, Value::Null),
        (json!({"model": "sim-fast", "messages": [{"role": "wizard"}]}).to_string(), 400, Value::Null),
        ("{".to_owned(), 400, Value::Null),
        (json!({"model": 7}).to_string(), 400, Value::Null),
    ] {
        let (got, bytes) = pool.send("/v1/chat/completions", &body).await;
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(got.as_u16(), status, "{body}");
        assert_eq!(error["error"]["code"], code, "{body}");
        assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string());
    }
    let refused = pool.close();
    assert!(refused.iter().all(|r| r.outcome == Outcome::Refused));
    assert_eq!(refused.iter().map(|r| r.status).collect::<Vec<_>>(), [404, 429, 500, 400, 400]);
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let pool = Pool::new(Config { api_key: Some("other".into()), ..Config::default() });
    assert_eq!(pool.post("/v1/chat/completions", &chat("sim-fast", "Hi")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_recorded_model_answers_what_it_answered() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = json!({"prompt": "Sum up.", "context": "Ships  sail.", "model": "org/real-1", "answer": "They sail."});
    std::fs::write(file.path(), line.to_string()).unwrap();
    let pool = Pool::new(Config { answers: vec![file.path().to_owned()], ..Config::default() });
    let whole = pool.json("/v1/chat/completions", &chat("org/real-1", "Sum up.\n\nShips sail.")).await;
    assert_eq!(whole["choices"][0]["message"]["content"], "They sail.");
    let (status, bytes) = pool.post("/v1/chat/completions", &chat("org/real-1", "Something else")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(String::from_utf8(bytes).unwrap().contains("answer_not_found"));
}

#[tokio::test]
async fn every_recorded_answer_is_given_to_its_prompt_at_its_cost() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/replay/rag-answers-dev.jsonl.gz");
    if !file.exists() {
        println!("skipped: {} is absent", file.display());
        return;
    }
    let pool = Pool::new(Config { answers: vec![file.clone()], ..Config::default() });
    let rows = crate::rows(&file).unwrap();
    // One in seven is enough: every model, many prompts.
    for row in rows.iter().step_by(7) {
        let answer = pool.json("/v1/chat/completions", &row.chat_request(&row.model)).await;
        assert_eq!(answer["choices"][0]["message"]["content"], row.answer);
        let usage = &answer["usage"];
        let expected = (json!(row.tokens_in_est.unwrap()), json!(row.tokens_out_est.unwrap()));
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&expected.0, &expected.1));
    }
    let named = json!({"model": "Llama-3.1-8B", "max_tokens": 9000, "metadata": {"prompt_id": rows[0].prompt_id},
        "messages": [{"role": "user", "content": "As recorded."}]});
    let message = pool.json("/v1/messages", &named).await;
    let recorded =
        |row: &&crate::Row| row.prompt_id == rows[0].prompt_id && row.model.contains("Llama-3.1-8B");
    assert_eq!(message["content"][0]["text"], rows.iter().find(recorded).unwrap().answer);
}

#[tokio::test]
async fn results_must_follow_their_calls() {
    let pool = Pool::new(Config::default());
    let call = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let (user, result) = (
        json!({"role": "user", "content": "Hi"}),
        json!({"role": "tool", "tool_call_id": "call_1", "content": "rain"}),
    );
    for (messages, status) in [
        (json!([user, call, result]), StatusCode::OK),
        (json!([user, call, user]), StatusCode::BAD_REQUEST),
        (json!([user, call]), StatusCode::BAD_REQUEST),
        (json!([user, result]), StatusCode::BAD_REQUEST),
    ] {
        let body = json!({"model": "sim-fast", "messages": messages});
        assert_eq!(pool.post("/v1/chat/completions", &body).await.0, status, "{body}");
    }
}

/// Over a real connection: sends a request, reads until `until` shows or the peer closes, then leaves.
async fn converse(pool: &Pool, body: &Value, until: &str) -> String {
    let listener = runtime::listen("test", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::manual();
    let server = tokio::spawn(runtime::serve(
        listener,
        router(pool.deployments.clone()),
        shutdown.clone(),
        ServeOptions::default(),
    ));
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(until) {
            match connection.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => seen.extend_from_slice(&buffer[..read]),
            }
        }
    };
    // A hanging model sends nothing: half a second of silence is taken as such.
    let _ = tokio::time::timeout(Duration::from_millis(500), reading).await;
    drop(connection);
    shutdown.trigger();
    let drained = tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
    assert_eq!(drained.cut, 0);
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded_with_what_it_got() {
    let pool = Pool::new(Config::default());
    let slow = with(chat("sim-fast:tokens-100:tps-50", "Hi"), &json!({"stream": true}));
    let seen = converse(&pool, &slow, "\"content\":\" ").await;
    assert!(!seen.contains("[DONE]"));
    assert_eq!(converse(&pool, &chat("sim-hang", "Hi"), "never").await, "");
    let records = pool.close();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|r| r.outcome == Outcome::Disconnected), "{records:?}");
    assert!((1..50).contains(&records[0].tokens_sent), "{records:?}");
    assert_eq!((records[0].usage.completion, records[1].tokens_sent), (100, 0));
}

#[tokio::test]
async fn cut_and_garbage_break_the_protocol_as_asked() {
    let pool = Pool::new(Config::default());
    let stream = json!({"stream": true});
    let cut = converse(&pool, &with(chat("sim-cut", "Hi"), &stream), "[DONE]").await;
    assert!(cut.contains("data: {") && !cut.contains("[DONE]"));
    let half = converse(&pool, &chat("sim-cut", "Hi"), "never").await;
    let (head, body) = half.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
    let garbage = converse(&pool, &with(chat("sim-garbage", "Hi"), &stream), "garbage \u{fffd}").await;
    assert!(garbage.contains("data: {\"id\": \"chatcmpl-\n\n"));
    assert!(converse(&pool, &chat("sim-garbage", "Hi"), "</html>").await.contains("<html>"));
    let outcomes: Vec<Outcome> = pool.close().iter().map(|r| r.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cut, Outcome::Cut, Outcome::Garbage, Outcome::Garbage]);
}

#[tokio::test]
async fn a_stream_keeps_its_pace() {
    let pool = Pool::new(Config::default());
    let start = std::time::Instant::now();
    let paced = with(chat("sim-fast:first-100:tps-100:tokens-21", "Hi"), &json!({"stream": true}));
    pool.events("/v1/chat/completions", &paced).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}
