//! Every kind of bad input gets its status, OpenAI's shape, and a message that names the field.

use crate::support::{Answer, Gateway, KEY, Upstream, chat, config, json, snapshot};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::always(json(200, "{}")).await;
    let mut config = config(None);
    config.limits.body_bytes = 100_000;
    let gateway = Gateway::start(config, snapshot(upstream.addr, true));
    (gateway, upstream)
}

/// Checks status and shape; returns `error.message`, `error.code` and `error.param`.
fn error(answer: &Answer, status: u16) -> (String, String, String) {
    assert_eq!(answer.status.as_u16(), status, "{:?}", answer.body);
    let json = answer.json();
    let error = &json["error"];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("request_id"), answer.header("x-request-id"), "{error}");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_eq!(answer.header("x-control-tower-trace-id").len(), 32);
    assert!(!text("type").is_empty() && error["retryable"].is_boolean(), "{error}");
    assert!(["client", "policy", "upstream", "internal"].contains(&text("fault").as_str()), "{error}");
    (text("message"), text("code"), text("param"))
}

#[tokio::test]
async fn keys_that_do_not_work_are_told_apart() {
    let (gateway, upstream) = gateway().await;
    for (header, word) in [
        (None, "no API key"),
        (Some("Basic abc"), "Bearer KEY"),
        (Some("Bearer"), "Bearer KEY"),
        (Some("Bearer ct-wrong-key-0123456789"), "no such API key: ct-w***6789"),
        (Some("Bearer ct-revoked-key-0123456789"), "key-revoked was revoked"),
        (Some("Bearer ct-expired-key-0123456789"), "key-expired has expired"),
    ] {
        for path in ["/v1/chat/completions", "/v1/models"] {
            let mut request = gateway.request(path, chat(false));
            if path == "/v1/models" {
                *request.method_mut() = http::Method::GET;
            }
            match header {
                Some(value) => request.headers_mut().insert("authorization", value.parse().unwrap()),
                None => request.headers_mut().remove("authorization"),
            };
            let answer = gateway.call(request).await;
            let (message, code, _) = error(&answer, 401);
            assert!(message.starts_with("authorization: ") && message.contains(word), "{message}");
            assert_eq!(code, "invalid_api_key");
        }
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_why_it_is_refused() {
    let (gateway, _upstream) = gateway().await;
    // More than the buffers of both sockets hold.
    let body = vec![b' '; 24 << 20];
    for (path, key, kind, expected) in [
        ("/v1/chat/completions", "ct-wrong-key-0123456789", "application/json", "401"),
        ("/v1/chat/completions", KEY, "text/plain", "415"),
        ("/v1/chat/completions", KEY, "application/json", "413"),
        ("/v1/nothing", KEY, "application/json", "404"),
        ("/v1/models", KEY, "application/json", "405"),
    ] {
        let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap_or_else(|error| panic!("{path} {expected}: {error}"));
        let mut answer = vec![0; 4096];
        let length =
            client.read(&mut answer).await.unwrap_or_else(|error| panic!("{path} {expected}: {error}"));
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{answer}");
    }
    // Who waits to be asked is refused without it.
    let mut client = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = client.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 401"));
}

#[tokio::test]
async fn models_that_are_unknown_or_not_allowed() {
    let (gateway, upstream) = gateway().await;
    let body = r#"{"model":"nope","messages":[{"role":"user","content":"x"}]}"#;
    let (message, code, param) = error(&gateway.post("/v1/chat/completions", body).await, 404);
    assert_eq!((code.as_str(), param.as_str()), ("model_not_found", "model"));
    assert!(message.contains("\"nope\""), "{message}");

    let mut request = gateway.request("/v1/chat/completions", chat(false));
    let key = "Bearer ct-only-pro-key-0123456789".parse().unwrap();
    request.headers_mut().insert("authorization", key);
    let answer = gateway.call(request).await;
    let (message, code, param) = error(&answer, 403);
    assert_eq!((code.as_str(), param.as_str()), ("model_not_allowed", "model"));
    assert!(message.contains("key-pro") && message.contains("gpt-4o-mini"), "{message}");
    assert_eq!(answer.json()["error"]["fault"], "policy");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let (gateway, upstream) = gateway().await;
    let deep =
        format!(r#"{{"model":"gpt-4o-mini","messages":{}1{}}}"#, "[".repeat(40_000), "]".repeat(40_000));
    let deep_object = format!(r#"{{"model":"gpt-4o-mini","x":{}"#, "{\"a\":".repeat(15_000));
    for (body, code, word) in [
        ("", "invalid_json", "body: "),
        ("{", "invalid_json", "EOF"),
        ("[]", "invalid_json", "expected a JSON object"),
        ("{\"model\":\"gpt-4o-mini\",}", "invalid_json", "column"),
        ("{\"model\":\"gpt-4o-mini\"} x", "invalid_json", "trailing"),
        ("{\"model\":\"a\",\"model\":\"b\"}", "invalid_json", "duplicate field `model`"),
        (deep.as_str(), "nested_too_deep", "96 levels"),
        (deep_object.as_str(), "nested_too_deep", "96 levels"),
    ] {
        let (message, got, _) = error(&gateway.post("/v1/chat/completions", body.to_owned()).await, 400);
        assert_eq!(got, code, "{message}");
        assert!(message.starts_with("body: ") && message.contains(word), "{message}");
    }
    let (message, code, _) =
        error(&gateway.post("/v1/chat/completions", &b"{\"model\":\"\xff\"}"[..]).await, 400);
    assert_eq!(code, "invalid_utf8");
    assert!(message.contains("offset 10"), "{message}");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named() {
    let (gateway, upstream) = gateway().await;
    let m = r#""messages":[{"role":"user","content":"x"}]"#;
    for (path, body, param, word) in [
        ("/v1/chat/completions", format!("{{{m}}}"), "model", "required"),
        ("/v1/chat/completions", format!("{{\"model\":7,{m}}}"), "model", "number"),
        ("/v1/chat/completions", format!("{{\"model\":null,{m}}}"), "model", "null"),
        ("/v1/chat/completions", format!("{{\"model\":\"\",{m}}}"), "model", "empty"),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"stream\":\"yes\",{m}}}"),
            "stream",
            "expected boolean",
        ),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"temperature\":\"hot\",{m}}}"),
            "temperature",
            "expected number",
        ),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"max_tokens\":1.5,{m}}}"),
            "max_tokens",
            "expected integer",
        ),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"tools\":{{}},{m}}}"),
            "tools",
            "expected array",
        ),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"stream_options\":3,{m}}}"),
            "stream_options",
            "expected object",
        ),
        (
            "/v1/chat/completions",
            format!("{{\"model\":\"gpt-4o-mini\",\"stream_options\":{{\"include_usage\":1}},{m}}}"),
            "stream_options.include_usage",
            "expected boolean",
        ),
        ("/v1/chat/completions", "{\"model\":\"gpt-4o-mini\"}".into(), "messages", "required"),
        ("/v1/chat/completions", "{\"model\":\"gpt-4o-mini\",\"messages\":[ ]}".into(), "messages", "empty"),
        (
            "/v1/chat/completions",
            "{\"model\":\"gpt-4o-mini\",\"messages\":\"hi\"}".into(),
            "messages",
            "array",
        ),
        (
            "/v1/chat/completions",
            "{\"model\":\"gpt-4o-mini\",\"messages\":[1]}".into(),
            "messages[0]",
            "expected object",
        ),
        (
            "/v1/chat/completions",
            "{\"model\":\"gpt-4o-mini\",\"messages\":[{}]}".into(),
            "messages[0].role",
            "required",
        ),
        (
            "/v1/chat/completions",
            "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":5}]}".into(),
            "messages[0].content",
            "expected string or array",
        ),
        ("/v1/completions", "{\"model\":\"gpt-4o-mini\"}".into(), "prompt", "required"),
        ("/v1/completions", "{\"model\":\"gpt-4o-mini\",\"prompt\":{}}".into(), "prompt", "string or array"),
        ("/v1/embeddings", "{\"model\":\"gpt-4o-mini\"}".into(), "input", "required"),
        ("/v1/embeddings", "{\"model\":\"gpt-4o-mini\",\"input\":[]}".into(), "input", "empty"),
        ("/v1/responses", "{\"model\":\"gpt-4o-mini\",\"input\":9}".into(), "input", "string or array"),
    ] {
        let (message, _, got) = error(&gateway.post(path, body.clone()).await, 400);
        assert_eq!(got, param, "{message}");
        assert!(message.starts_with(&format!("{param}: ")) && message.contains(word), "{body}: {message}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn bodies_that_are_too_large_or_of_the_wrong_type() {
    let (gateway, upstream) = gateway().await;
    let large = format!("{{\"model\":\"{}\"}}", "x".repeat(200_000));
    let (message, code, _) = error(&gateway.post("/v1/chat/completions", large).await, 413);
    assert!(message.starts_with("body: ") && message.contains("100000 bytes"), "{message}");
    assert_eq!(code, "request_too_large");

    for (name, value, code, word) in [
        ("content-type", "text/plain", "unsupported_media_type", "text/plain"),
        ("content-type", "", "unsupported_media_type", "application/json"),
        ("content-encoding", "gzip", "unsupported_content_encoding", "gzip"),
    ] {
        let mut request = gateway.request("/v1/chat/completions", chat(false));
        request.headers_mut().insert(name, value.parse().unwrap());
        let (message, got, _) = error(&gateway.call(request).await, 415);
        assert_eq!(got, code);
        assert!(message.starts_with(&format!("{name}: ")) && message.contains(word), "{message}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_body_too_large_without_a_length_is_refused_too() {
    use http_body_util::{BodyExt, StreamBody};
    let (gateway, _upstream) = gateway().await;
    let pieces = (0..20)
        .map(|_| Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![b' '; 10_000]))));
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/v1/chat/completions")
        .header("host", "gateway")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(body.boxed())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let (gateway, _upstream) = gateway().await;
    let (message, code, _) = error(&gateway.post("/v1/assistants", "{}").await, 404);
    assert_eq!(code, "unknown_url");
    assert!(message.contains("POST /v1/assistants"), "{message}");

    let answer = gateway.get("/v1/chat/completions").await;
    let (message, code, _) = error(&answer, 405);
    assert_eq!((code.as_str(), answer.header("allow")), ("method_not_allowed", "POST"));
    assert!(message.contains("GET") && message.contains("expected POST"), "{message}");

    let answer = gateway.post("/v1/models", "{}").await;
    error(&answer, 405);
    assert_eq!(answer.header("allow"), "GET");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (gateway, _upstream) = gateway().await;
    let request = Request::get(format!("http://{}/v1/models", gateway.addr))
        .header("x-large", "y".repeat(100_000))
        .body(Full::default())
        .unwrap();
    assert_eq!(gateway.send(request).await.status(), 431);
}
