//! What reaches the upstream, and what comes back.

use crate::support::{Gateway, Step, Upstream, chat, config, json, snapshot, snapshot_at};
use contracts::policy::{Protocol, Provider, ProviderSettings, Speaks};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion", "model":"pro-2025-01-01","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \u00e9"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

#[tokio::test]
async fn the_body_goes_byte_for_byte_but_for_the_model() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let body = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"h\\u00e9 \u{1F600} \\\"model\\\": \\\"pro\\\"\"} ],\n\t\"x_unknown\": 1.50e3, \"model\":\"pro\" }";
    let answer = gateway.post("/v1/chat/completions", body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.text(), ANSWER, "the answer comes as it is");

    let got = &upstream.received()[0];
    assert_eq!(
        String::from_utf8_lossy(&got.body),
        body.replace("\"model\":\"pro\" }", "\"model\":\"pro-2025\" }")
    );
    assert!(got.head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{}", got.head);

    let same = chat(false);
    gateway.post("/v1/chat/completions", same.clone()).await;
    assert_eq!(upstream.received()[1].body, same.as_bytes(), "nothing to change, nothing changed");
}

#[tokio::test]
async fn upstreams_are_offered_http_1_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}/v1", listener.local_addr().unwrap());
    let gateway = Gateway::start(config(None), snapshot_at(&base_url, false));
    let calling = gateway.post("/v1/chat/completions", chat(false));
    let hearing = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = vec![0; 16 << 10];
        let length = stream.read(&mut hello).await.unwrap();
        hello.truncate(length);
        // Not even the next try is let in.
        drop(listener);
        hello
    };
    let (_, hello) = tokio::join!(calling, hearing);
    assert_eq!(hello[0], 22, "a TLS handshake begins");
    // A protocol in ALPN (RFC 7301) is its length and its name.
    assert!(!hello.windows(3).any(|w| w == b"\x02h2"));
}

#[tokio::test]
async fn headers_pass_by_rule_in_both_directions() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: theirs\r\nopenai-processing-ms: 7\r\nset-cookie: a=b\r\nx-ratelimit-remaining-tokens: 3\r\nanthropic-ratelimit-tokens-remaining: 4\r\nkeep-alive: timeout=9\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let upstream = Upstream::always(vec![Step::Send(reply.into_bytes())]).await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let mut request = gateway.request("/v1/chat/completions", chat(false));
    for (name, value) in [
        ("user-agent", "OpenAI/Python 2.0"),
        ("openai-beta", "responses=v1"),
        ("openai-organization", "org-1"),
        ("idempotency-key", "1"),
        ("x-stainless-lang", "python"),
        ("cookie", "secret=1"),
        ("x-forwarded-for", "10.1.2.3"),
        ("accept-encoding", "gzip, br"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = gateway.call(request).await;
    let got = &upstream.received()[0];
    assert_eq!(got.header("authorization"), Some("Bearer sk-upstream"), "never the client's key");
    assert_eq!(got.header("user-agent"), Some("OpenAI/Python 2.0"));
    assert_eq!(got.header("openai-beta"), Some("responses=v1"));
    assert_eq!(got.header("x-stainless-lang"), Some("python"));
    for name in ["cookie", "x-forwarded-for", "accept-encoding", "openai-organization", "idempotency-key"] {
        assert_eq!(got.header(name), None, "{name} must not pass");
    }
    let onward = got.header("traceparent").unwrap();
    assert!(
        onward.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && !onward.contains("00f067aa0ba902b7")
    );

    assert_eq!(answer.header("openai-processing-ms"), "7");
    let of_the_operators_account = ["x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining"];
    for name in ["set-cookie", "keep-alive"].into_iter().chain(of_the_operators_account) {
        assert_eq!(answer.header(name), "", "{name} must not pass");
    }
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_eq!(answer.header("x-control-tower-trace-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(answer.header("x-control-tower-model"), "pro-2025-01-01");
    // No price for the dated name: that of the model that was asked for. 10 at $1 and 5 at $2 a million.
    assert_eq!(answer.header("x-control-tower-cost-usd"), "0.00002");
}

#[tokio::test]
async fn a_connection_is_kept_and_a_dead_one_replaced() {
    let upstream = Upstream::start(|request| {
        let mut steps = json(200, ANSWER);
        if String::from_utf8_lossy(&request.body).contains("last") {
            steps.push(Step::Close);
        }
        steps
    })
    .await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    gateway.post("/v1/chat/completions", chat(false)).await;
    gateway.post("/v1/chat/completions", chat(false).replace("Say hi", "last")).await;
    // The upstream closes the kept connection, and nobody tells the next call but the failing connection itself.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, 200);
    let connections: Vec<usize> = upstream.received().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

/// Calls drive their connections themselves: a wake-up that got lost between threads would leave an answer lying.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_in_pieces_arrive_on_every_thread() {
    let upstream = Upstream::start(|request| {
        let Some(Step::Send(whole)) = json(200, ANSWER).pop() else { panic!("an answer in one piece") };
        let cut = 1 + request.body.len() * 7 % (whole.len() - 2);
        let (first, rest) = whole.split_at(cut);
        let mut steps = vec![Step::Send(first.to_vec())];
        for piece in rest.chunks(1 + rest.len() / 3) {
            // Now and then a piece waits for the wheel of a timer, and else for the other thread alone.
            if piece.len() % 3 == 0 {
                steps.push(Step::Wait(Duration::from_millis(1)));
            }
            steps.push(Step::Send(piece.to_vec()));
        }
        steps
    })
    .await;
    let (gateway, _collector) = Gateway::simple(&upstream).await;
    let gateway = Arc::new(gateway);
    let callers = (0..32).map(|caller: usize| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            for call in 0..40 {
                let prompt = "a".repeat(caller * 11 + call);
                let answer =
                    gateway.post("/v1/chat/completions", chat(false).replace("Say hi", &prompt)).await;
                assert_eq!(answer.text(), ANSWER);
            }
        })
    });
    let all = futures_util::future::try_join_all(callers);
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("a call was forgotten").unwrap();
}

#[tokio::test]
async fn errors_of_the_upstream_pass_when_they_have_openais_shape() {
    for status in [400, 404, 409, 422, 429, 500, 503] {
        let body = format!(r#"{{"error": {{"message":"told {status}","type":"t","code":null}} }}"#);
        let reply = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let upstream = Upstream::always(vec![Step::Send(reply.into_bytes())]).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let answer = gateway.post("/v1/chat/completions", chat(false)).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, body.as_str()));
        assert_eq!(answer.header("retry-after"), "7");
        let call = collector.call().await;
        assert_eq!(call.get("http.response.status_code"), status.to_string());
        let class = match status {
            429 => "upstream_rate_limited",
            400..=499 => "upstream_refused",
            _ => "upstream_error",
        };
        assert_eq!((call.get("error.type"), call.get("control_tower.cost.total")), (class, ""));
    }
}

#[tokio::test]
async fn garbage_of_the_upstream_is_wrapped() {
    let html = |status: u16| {
        let body = "<html>no</html>";
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        vec![Step::Send(text.into_bytes())]
    };
    for (steps, status, code) in [
        (html(503), 502, "upstream_invalid_response"),
        (html(404), 404, "upstream_refused"),
        (html(200), 502, "upstream_invalid_response"),
        (json(200, "{\"ok\":true}"), 502, "upstream_invalid_response"),
        (json(200, ""), 502, "upstream_invalid_response"),
        (json(302, "{}"), 502, "upstream_invalid_response"),
        (json(401, "{\"error\":{\"message\":\"Incorrect API key sk-ups***\"}}"), 502, "upstream_authentication"),
        (vec![Step::Send(b"\x00\x01garbage\r\n\r\n".to_vec()), Step::Close], 502, "upstream_closed"),
        (vec![Step::Close], 502, "upstream_closed"),
        (
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":".to_vec()),
                Step::Close,
            ],
            502,
            "upstream_stream_cut",
        ),
    ] {
        let upstream = Upstream::always(steps.clone()).await;
        let (gateway, collector) = Gateway::simple(&upstream).await;
        let answer = gateway.post("/v1/chat/completions", chat(false)).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status.as_u16(), error["code"].as_str()), (status, Some(code)), "{steps:?}: {error}");
        assert_eq!(error["fault"], "upstream");
        assert!(!answer.text().contains("sk-ups"), "the provider's credential is nobody's business");
        assert_eq!(collector.call().await.get("error.type"), code);
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_tried_twice() {
    let upstream = Upstream::always(Vec::new()).await;
    let mut gone = snapshot(upstream.addr, true);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    gone.models = snapshot(free, true).models;
    let collector = crate::support::Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), gone);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
        (502, Some("upstream_unreachable"))
    );
    assert_eq!(answer.json()["error"]["retryable"], true);
    collector.call().await;
    let attempts: Vec<_> =
        collector.spans().into_iter().filter(|s| s.get("control_tower.record") == "attempt").collect();
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|a| a.get("error.type") == "upstream_unreachable"), "{attempts:?}");
    assert_ne!(attempts[0].span_id, attempts[1].span_id);
}

#[tokio::test]
async fn a_bedrock_provider_without_a_secret_is_not_asked_and_says_what_is_missing() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut policy = snapshot(upstream.addr, false);
    let name = "gpt-4o-mini".parse().unwrap();
    let mut model = policy.models[&name].as_ref().clone();
    let settings = ProviderSettings { region: Some("eu-central-1".into()), ..ProviderSettings::default() };
    model.provider = Arc::new(Provider {
        secret: None,
        speaks: Ok(Speaks { protocol: Protocol::Bedrock, settings }),
        ..Provider::clone(&model.provider)
    });
    policy.models.insert(name, Arc::new(model));
    let gateway = Gateway::start(config(None), policy);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "provider_misconfigured");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("provider sim: it has no secret: expected"), "{message}");
    assert!(upstream.received().is_empty(), "nothing is sent unsigned");
}
