//! What goes wrong at a provider, in the client's own form.

use super::client::Client;
use super::{Setup, everywhere};
use crate::support::{Gateway, Upstream, json as json_answer, sse};
use contracts::policy::Protocol;
use http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_failure_within_a_stream_ends_it_in_the_clients_form() {
    let setup = Setup::start().await;
    let asked = everywhere(async |client, protocol, stream| {
        if !stream {
            return 0;
        }
        for fault in ["break", "cut"] {
            let mut request = client.ask(&format!("{protocol}-{fault}"), "Tell me of lighthouses.");
            request["stream"] = json!(true);
            let answer = setup.post(client, &request).await;
            assert_eq!(answer.status, StatusCode::OK, "{fault}: {}", answer.text());
            let error = client.add_up(answer.text()).expect_err(fault);
            let (kind, message) = client.error(&error);
            assert!(!kind.is_empty() && !message.is_empty(), "{error}");
        }
        2
    });
    let asked = asked.await.iter().sum();
    let calls = setup.collector.calls(asked).await;
    assert!(calls.iter().all(|call| !call.get("error.type").is_empty()), "{calls:?}");
    setup.stop().await;
}

#[tokio::test]
async fn errors_of_providers_come_in_the_clients_form() {
    let setup = Setup::start().await;
    let check = async |client: Client, protocol, stream| {
        for status in [400, 429, 529] {
            let mut request = client.ask(&format!("{protocol}-error-{status}"), "Hi");
            request["stream"] = json!(stream);
            let answer = setup.post(client, &request).await;
            assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
            assert_eq!(answer.header("content-type"), "application/json");
            let (kind, message) = client.error(&answer.json());
            assert!(!message.is_empty(), "{}", answer.text());
            let expected = match (status, client) {
                (400, _) => "invalid_request_error",
                (429, Client::Messages) => "rate_limit_error",
                (529, Client::Messages) => "overloaded_error",
                // OpenAI's own words differ from case to case.
                _ => &kind,
            };
            assert_eq!(kind, expected, "{}", answer.text());
            // Gemini says in its body how long to wait; the client reads it where it looks.
            let waits = status == 429 && protocol != Protocol::Bedrock;
            assert_eq!(answer.headers.contains_key("retry-after"), waits, "{:?}", answer.headers);
        }
    };
    everywhere(check).await;
    setup.stop().await;
}

#[tokio::test]
async fn what_a_provider_does_not_have_is_said_plainly() {
    let setup = Setup::start().await;
    for protocol in [Protocol::Anthropic, Protocol::Gemini, Protocol::Bedrock] {
        for (path, body) in [
            ("/v1/embeddings", json!({"model": protocol, "input": "x"})),
            ("/v1/completions", json!({"model": protocol, "prompt": "x"})),
        ] {
            let answer = setup.gateway.post(path, body.to_string()).await;
            let error = answer.json()["error"].clone();
            assert_eq!((answer.status.as_u16(), &error["code"]), (400, &json!("endpoint_not_served")));
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(protocol.as_str()) && message.contains(path), "{message}");
        }
    }
    setup.stop().await;
}

#[tokio::test]
async fn an_answer_without_usage_is_counted_in_every_clients_form() {
    let whole = r#"{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"word word"},"finish_reason":"stop"}]}"#;
    let streamed = "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word word\"}}]}\n\n\
        data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    // The third client's form is that of the server itself.
    for client in [Client::Chat, Client::Messages] {
        for stream in [false, true] {
            let upstream =
                Upstream::start(
                    move |_| {
                        if stream { sse(&[streamed.as_bytes()]) } else { json_answer(200, whole) }
                    },
                )
                .await;
            let (gateway, collector) = Gateway::simple(&upstream).await;
            let mut request = client.ask("gpt-4o-mini", "Say hi");
            request["stream"] = json!(stream);
            let answer = gateway.post(client.path(), request.to_string()).await;
            assert!(answer.text().contains("word word"), "{}", answer.text());
            let call = collector.call().await;
            assert_eq!(call.get("control_tower.usage.source"), "estimated", "{client:?}, streamed: {stream}");
            assert_eq!(call.get("gen_ai.usage.output_tokens"), "2", "{client:?}, streamed: {stream}");
            assert!(!["", "0"].contains(&call.get("control_tower.cost.total")), "{call:?}");
        }
    }
}
