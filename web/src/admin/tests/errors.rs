//! Bad input gets the right status, our error shape, and a message that names the field.

use super::Api;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde_json::json;

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let api = Api::start().await;
    let cases: &[(&str, Option<&str>, &str)] = &[
        ("{", Some("body"), "EOF while parsing"),
        ("[]", Some("body"), "body: invalid"),
        ("{\"id\":\"a\"} {}", Some("body"), "trailing characters"),
        ("{}", Some("body"), "missing field `id`"),
        ("{\"id\":\"two words\"}", Some("id"), "expected 1 to 128 characters"),
        ("{\"id\":7}", Some("id"), "id: invalid type: integer `7`, expected a string"),
        ("{\"id\":\"a\",\"retention_days\":-1}", Some("retention_days"), "retention_days: invalid value"),
        ("{\"id\":\"a\",\"retention_days\":4000}", Some("retention_days"), "expected 1 to 3650"),
        ("{\"id\":\"a\",\"colour\":1}", Some("colour"), "unknown field `colour`"),
    ];
    for (body, param, message) in cases {
        let answer = api.send(api.request("POST", "/tenants", Some((*body).to_owned()))).await;
        answer.assert_error(400, None, *param, message);
        assert_eq!(answer.body["error"]["fault"], "client");
        assert_eq!(answer.body["error"]["retryable"], false);
    }
    // Invalid UTF-8 and deep nesting.
    let key = format!("Bearer {}", api.key);
    for body in [b"{\"id\":\"\xff\"}".to_vec(), b"[".repeat(100_000)] {
        let request = Request::post("/admin/v1/tenants")
            .header(AUTHORIZATION, &key)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        assert_eq!(api.send(request).await.status.as_u16(), 400);
    }
}

#[tokio::test]
async fn content_type_size_path_query_and_method() {
    let api = Api::start().await;
    let key = format!("Bearer {}", api.key);
    let form = Request::post("/admin/v1/tenants")
        .header(AUTHORIZATION, &key)
        .header(CONTENT_TYPE, "text/plain")
        .body(Body::from("{\"id\":\"a\"}"))
        .unwrap();
    api.send(form).await.assert_error(
        415,
        Some("unsupported_content_type"),
        None,
        "Content-Type \"text/plain\" is not supported: expected application/json",
    );
    let charset = Request::post("/admin/v1/tenants")
        .header(AUTHORIZATION, &key)
        .header(CONTENT_TYPE, "Application/JSON; charset=utf-8")
        .body(Body::from("{\"id\":\"a\"}"))
        .unwrap();
    assert_eq!(api.send(charset).await.status.as_u16(), 201);
    let big = format!("{{\"id\":\"a\",\"name\":\"{}\"}}", "x".repeat(super::super::BODY_LIMIT));
    let answer = api.send(api.request("POST", "/tenants", Some(big))).await;
    answer.assert_error(413, Some("body_too_large"), None, "larger than 16777216 bytes");

    api.call("GET", "/tenants/two%20words", None).await.assert_error(
        400,
        None,
        Some("path"),
        "tenant id \"two words\"",
    );
    api.call("GET", "/keys?tenant=two+words", None).await.assert_error(
        400,
        None,
        Some("query"),
        "tenant id \"two words\"",
    );
    api.call("GET", "/keys?tennant=a", None).await.assert_error(
        400,
        None,
        Some("query"),
        "unknown field `tennant`",
    );
    api.call("GET", "/nowhere", None).await.assert_error(
        404,
        Some("unknown_endpoint"),
        None,
        "no such endpoint",
    );
    api.call("PUT", "/tenants", None).await.assert_error(
        405,
        Some("method_not_allowed"),
        None,
        "does not support",
    );
}

#[tokio::test]
async fn missing_taken_and_needed_things() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    api.call("POST", "/tenants", Some(json!({"id": "acme"}))).await.assert_error(
        409,
        Some("already_exists"),
        None,
        "tenant \"acme\" already exists",
    );
    api.call("GET", "/tenants/nobody", None).await.assert_error(
        404,
        Some("not_found"),
        None,
        "tenant \"nobody\" does not exist",
    );
    api.call("POST", "/keys", Some(json!({"tenant": "nobody"}))).await.assert_error(
        400,
        None,
        Some("tenant"),
        "tenant \"nobody\" does not exist",
    );
    api.call("POST", "/models", Some(json!({"name": "m", "provider": "nowhere"}))).await.assert_error(
        400,
        None,
        Some("provider"),
        "provider \"nowhere\" does not exist",
    );
    api.create("/keys", json!({"tenant": "acme"})).await;
    api.call("DELETE", "/tenants/acme", None).await.assert_error(
        409,
        Some("in_use"),
        None,
        "tenant \"acme\" is in use by 1 key: remove these first",
    );
    api.call("POST", "/providers", Some(json!({"id": "p", "base_url": "https://me:hunter2@host/v1"})))
        .await
        .assert_error(
            400,
            None,
            Some("base_url"),
            "expected an http or https URL with a host and without credentials",
        );
    let answer = api
        .call("POST", "/providers", Some(json!({"id": "p", "base_url": "https://h", "secret": "sk-123"})))
        .await;
    answer.assert_error(
        400,
        None,
        Some("secret"),
        "expected env:NAME, file:/absolute/path or literal:SECRET",
    );
    assert!(!answer.body.to_string().contains("sk-123"), "a secret in the wrong form is not repeated");
}

#[tokio::test]
async fn a_database_that_is_gone_is_503_and_says_nothing_of_its_inside() {
    let api = Api::start().await;
    api.control.close().await;
    let answer = api.call("GET", "/tenants", None).await;
    answer.assert_error(503, None, None, "the control database does not answer: try again");
    assert_eq!(answer.body["error"]["type"], "server_error");
    assert_eq!(answer.body["error"]["fault"], "internal");
    assert_eq!(answer.body["error"]["retryable"], true);
    assert_eq!(answer.headers[RETRY_AFTER], "1");
}
