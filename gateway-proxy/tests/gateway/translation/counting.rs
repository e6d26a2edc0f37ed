//! Counts of a prompt's tokens, which no model answers.

use super::client::Client;
use super::{CALLS, Setup};
use contracts::policy::Protocol;
use http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_here() {
    let setup = Setup::start().await;
    let path = "/v1/messages/count_tokens";
    let body = |model: &str, text: &str| {
        let mut request = Client::Messages.ask(model, text);
        // What OpenAI's servers count of tools is theirs to know.
        if !model.starts_with("openai") && !model.starts_with("azure") {
            Client::Messages.offer(&mut request, &CALLS);
        }
        request.as_object_mut().unwrap().remove("max_tokens");
        request
    };
    for protocol in Protocol::ALL {
        let counted =
            setup.gateway.post(path, body(protocol.as_str(), "How long is this?").to_string()).await;
        assert_eq!(counted.status, StatusCode::OK, "{protocol}: {}", counted.text());
        let json = counted.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        let tokens = json["input_tokens"].as_u64().unwrap();
        let estimated = matches!(protocol, Protocol::OpenAi | Protocol::Azure);
        assert_eq!(counted.header("x-control-tower-warning").contains("estimated"), estimated, "{protocol}");
        let mut whole = body(protocol.as_str(), "How long is this?");
        whole["max_tokens"] = json!(50);
        let (used, _) = setup.said(Client::Messages, &whole, false).await.usage;
        let is_right = if estimated { tokens.abs_diff(used) * 2 < used } else { tokens == used };
        assert!(is_right, "{protocol}: {tokens}, used {used}");
        let failed = setup.gateway.post(path, body(&format!("{protocol}-error-429"), "Hi").to_string()).await;
        if !estimated {
            assert_eq!(failed.status.as_u16(), 429, "{protocol}: {}", failed.text());
            assert_eq!(Client::Messages.error(&failed.json()).0, "rate_limit_error");
        }
    }
    // What a provider cannot count for, we count.
    let elsewhere = setup.gateway.post(path, body("bedrock-error-400", "Hi").to_string()).await;
    assert!(elsewhere.json()["input_tokens"].as_u64().unwrap() > 5, "{}", elsewhere.text());
    for (bad, status, kind) in [
        (json!({"model": "anthropic"}), 400, "invalid_request_error"),
        (body("nothing", "Hi"), 404, "not_found_error"),
    ] {
        let answer = setup.gateway.post(path, bad.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(Client::Messages.error(&answer.json()).0, kind);
    }
    // No call was made but those that were.
    let calls = setup.collector.calls(Protocol::ALL.len()).await;
    assert!(calls.len() == Protocol::ALL.len() && calls.iter().all(|call| call.name == "POST /v1/messages"));
    setup.stop().await;
}

#[tokio::test]
async fn a_count_wants_a_key_that_works() {
    let setup = Setup::start().await;
    let request = setup.gateway.request("/v1/messages/count_tokens", "{}");
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("authorization");
    parts.headers.insert("x-api-key", "ct-revoked-key-0123456789".parse().unwrap());
    let answer = setup.gateway.call(http::Request::from_parts(parts, body)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(Client::Messages.error(&answer.json()).0, "authentication_error");
    setup.stop().await;
}
