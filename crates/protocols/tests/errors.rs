//! Errors in every client's form, the counting of tokens, and requests that have to be cleaned.

use protocols::{Context, Counting, Dialect, Options, StreamTranslator, UpstreamError};
use protocols::{count_tokens, counted_tokens, error, is_marked, is_supported, request};
use serde_json::{Value, json};

const CLIENTS: [Dialect; 3] = [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic];

fn options(model: &str) -> Options<'_> {
    Options {
        upstream_model: model,
        default_max_tokens: 4_096,
        keep_reasoning: false,
        max_completion_tokens: false,
        asks_stream_usage: true,
        response_id: "req_1",
        created: 1,
    }
}

#[test]
fn a_providers_error_is_told_in_the_clients_words() {
    let cases = [
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}"#,
            "rate_limit_error",
            "rate_limit_error",
            "Slow down",
        ),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}"#,
            "server_error",
            "overloaded_error",
            "Busy",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"Bad schema","status":"INVALID_ARGUMENT"}}"#,
            "invalid_request_error",
            "invalid_request_error",
            "Bad schema",
        ),
        (
            503,
            r#"[{"error":{"code":503,"message":"Gone","status":"UNAVAILABLE"}}]"#,
            "server_error",
            "overloaded_error",
            "Gone",
        ),
        (
            400,
            r#"{"message":"Malformed input"}"#,
            "invalid_request_error",
            "invalid_request_error",
            "Malformed input",
        ),
        (
            404,
            r#"{"error":{"message":"No model","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
            "not_found_error",
            "not_found_error",
            "No model",
        ),
        (502, "<html>bad gateway</html>", "server_error", "api_error", "<html>bad gateway</html>"),
        (500, "", "server_error", "api_error", "the model's server answered with status 500"),
        (500, r#"{"error":"plain"}"#, "server_error", "api_error", "plain"),
    ];
    for (status, body, openai, anthropic, message) in cases {
        for to in CLIENTS {
            let told: Value = serde_json::from_slice(&error(to, status, body.as_bytes(), "req_9")).unwrap();
            assert_eq!(told["error"]["message"], message, "{body}");
            let kind = if to == Dialect::Anthropic { anthropic } else { openai };
            assert_eq!(told["error"]["type"], kind, "{body}");
            let id =
                if to == Dialect::Anthropic { &told["request_id"] } else { &told["error"]["request_id"] };
            assert_eq!(id, "req_9");
        }
    }
    let told: Value =
        serde_json::from_slice(&error(Dialect::OpenAiChat, 404, cases[5].1.as_bytes(), "r")).unwrap();
    assert_eq!(
        (&told["error"]["code"], &told["error"]["param"]),
        (&json!("model_not_found"), &json!("model"))
    );
}

#[test]
fn the_gateways_own_error_ends_a_stream() {
    for to in CLIENTS {
        let mut stream = StreamTranslator::new(Dialect::Gemini, to, Context::new("req_1", 1, "m")).unwrap();
        let first =
            stream.push(b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}]}\n\n");
        assert!(!first.is_empty());
        let failed = UpstreamError {
            status: 504,
            kind: None,
            message: "too late".to_owned(),
            code: None,
            param: None,
        };
        let last = String::from_utf8(stream.fail(failed).to_vec()).unwrap();
        assert!(last.contains("too late"), "{last}");
        assert!(stream.push(b"data: {}\n\n").is_empty() && stream.finish().is_empty());
        assert_eq!(stream.facts().error.as_ref().unwrap().status, 504);
        assert!(stream.facts().has_content && !stream.facts().is_complete);
    }
}

#[test]
fn tokens_are_counted_where_the_provider_can() {
    let body = json!({"model": "claude", "system": "Be terse.", "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    let count =
        |to: Dialect, model: &str| count_tokens(to, body.to_string().as_bytes(), &options(model)).unwrap();
    let Counting::Upstream(gemini) = count(Dialect::Gemini, "gemini-2.5-pro") else { panic!() };
    assert_eq!(gemini.path, "/models/gemini-2.5-pro:countTokens");
    let sent: Value = serde_json::from_slice(&gemini.body).unwrap();
    assert_eq!(sent["generateContentRequest"]["model"], "models/gemini-2.5-pro");
    assert_eq!(sent["generateContentRequest"]["contents"][0]["parts"][0]["text"], "Hi");
    let Counting::Upstream(bedrock) = count(Dialect::Bedrock, "anthropic.claude") else { panic!() };
    assert_eq!(bedrock.path, "/model/anthropic.claude/count-tokens");
    let sent: Value = serde_json::from_slice(&bedrock.body).unwrap();
    assert_eq!(sent["input"]["converse"]["system"], json!([{"text": "Be terse."}]));
    let Counting::Upstream(anthropic) = count(Dialect::Anthropic, "claude-opus") else { panic!() };
    let sent: Value = serde_json::from_slice(&anthropic.body).unwrap();
    assert_eq!(sent["model"], "claude-opus");
    assert_eq!(sent["messages"], body["messages"]);
    let Counting::Local(texts) = count(Dialect::OpenAiChat, "gpt") else { panic!() };
    assert_eq!(texts, ["Be terse.", "Hi", "f", "{\"type\":\"object\"}"]);

    for (from, body) in
        [(Dialect::Gemini, r#"{"totalTokens":7}"#), (Dialect::Bedrock, r#"{"inputTokens":7}"#)]
    {
        let (tokens, told) = counted_tokens(from, body.as_bytes()).unwrap();
        assert_eq!((tokens, &told[..]), (7, &br#"{"input_tokens":7}"#[..]));
    }
}

/// A conversation that began with Gemini goes on with Anthropic itself: its client's thoughts are not Anthropic's.
#[test]
fn a_marked_request_is_cleaned_within_its_own_protocol() {
    let body = json!({"model": "claude", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "ct1.gemini.abc"}, {"type": "text", "text": "Yo"}]},
        {"role": "user", "content": "Go on"}]})
    .to_string();
    assert!(is_marked(body.as_bytes()));
    let out =
        request(Dialect::Anthropic, Dialect::Anthropic, body.as_bytes(), &options("claude-opus")).unwrap();
    assert!(!is_marked(&out.body));
    assert_eq!(out.headers, [("anthropic-version", "2023-06-01")]);
}

#[test]
fn pairs_that_are_none_are_refused() {
    let body = br#"{"model":"m","messages":[]}"#;
    let refused = request(Dialect::Gemini, Dialect::Anthropic, body, &options("m")).unwrap_err();
    assert_eq!(refused.field, "protocol");
    let refused = request(Dialect::OpenAiChat, Dialect::OpenAiResponses, body, &options("m")).unwrap_err();
    assert_eq!(refused.field, "protocol");
    assert!(
        StreamTranslator::new(Dialect::OpenAiResponses, Dialect::OpenAiChat, Context::default()).is_err()
    );
    assert!(
        is_supported(Dialect::OpenAiChat, Dialect::Gemini)
            && !is_supported(Dialect::Gemini, Dialect::OpenAiChat)
    );
}

/// A client of responses gets its answer twice, so it is kept: one without end must not fill the memory.
#[test]
fn an_endless_answer_is_cut() {
    let piece =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1 << 20));
    let pushed = |to: Dialect| {
        let mut stream =
            StreamTranslator::new(Dialect::OpenAiChat, to, Context::new("req_1", 1, "m")).unwrap();
        let pieces = (0..40).take_while(|_| !stream.push(piece.as_bytes()).is_empty()).count();
        (pieces, stream.facts().error.is_some())
    };
    assert_eq!(pushed(Dialect::OpenAiResponses), (33, true));
    assert_eq!(pushed(Dialect::Anthropic), (40, false));

    let mut stream = StreamTranslator::new(Dialect::Gemini, Dialect::Anthropic, Context::default()).unwrap();
    let endless = vec![b'x'; 1 << 20];
    let pieces = (0..40).take_while(|_| stream.push(&endless).is_empty()).count();
    assert!(pieces <= 32 && stream.facts().error.is_some());
}

/// Whatever a client fills its request with, nobody reads it more often than once or is told of all of it.
#[test]
fn warnings_calls_and_nested_blocks_have_an_end() {
    let ask = |content: Value| {
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]});
        request(Dialect::Anthropic, Dialect::OpenAiChat, body.to_string().as_bytes(), &options("m"))
    };
    let mut wide = json!({"type": "text", "text": "Hi"});
    for n in 0..1_000 {
        wide[format!("a{n}")] = 1.into();
    }
    assert_eq!(ask(json!([wide])).unwrap().warnings.len(), 64);
    let text = json!([{"type": "text", "text": "Hi"}]);
    let document = json!([{"type": "document", "source": {"type": "content", "content": text}}]);
    // As deep as there is anything.
    let result =
        format!("{:?}", ask(json!([{"type": "tool_result", "tool_use_id": "t", "content": document}])));
    assert!(!result.contains("nested"), "{result}");
    let nested = (0..40)
        .fold(text, |content, _| json!([{"type": "tool_result", "tool_use_id": "t", "content": content}]));
    let refused = ask(nested).unwrap_err();
    assert!(refused.expected.contains("nested less deeply"), "{refused}");

    let context = Context::new("req_1", 1, "m");
    let mut stream = StreamTranslator::new(Dialect::OpenAiChat, Dialect::Anthropic, context).unwrap();
    let calls: Vec<Value> = (0..2_000).map(|n| json!({"index": n, "function": {"name": "f"}})).collect();
    stream.push(format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": calls}}]})).as_bytes());
    assert!(stream.facts().error.is_some());
}
