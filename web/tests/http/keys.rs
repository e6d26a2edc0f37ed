//! Keys: who may create and revoke them, and what is shown of them.

use crate::{NOW_MS, OURS, clock, full, get, post, session};
use axum::http::StatusCode;
use contracts::policy::Kind;
use control::records::NewApiKey;
use serde_json::{Value, json};

#[tokio::test]
async fn an_admin_creates_and_revokes_keys() {
    let stage = full().await;
    let cookie = session(&stage, "ada").await;
    let body = r#"{"tenant":"acme","name":"ci","expires_in_days":30,"allowed_models":["gpt-4o-mini"]}"#;
    let created = post(&stage, "/api/v1/keys", &cookie, OURS, body).await;
    assert_eq!(created.status, StatusCode::OK, "{}", created.text);
    let created = created.json();
    let secret = created["secret"].as_str().unwrap();
    assert!(stage.control.keys().find_by_secret(secret).await.unwrap().is_some());
    assert_eq!(created["key"]["expires_ms"], NOW_MS + 30 * 86_400_000);
    for path in ["/api/v1/keys", "/keys"] {
        let list = get(&stage, path, &cookie).await;
        assert!(list.text.contains("ci") && !list.text.contains(secret), "{path}");
    }
    let id = created["key"]["id"].as_str().unwrap();
    let revoked = post(&stage, &format!("/api/v1/keys/{id}/revoke"), &cookie, OURS, "").await;
    assert_eq!(revoked.json()["revoked_ms"], NOW_MS);
    for (path, body, param) in [
        ("/api/v1/keys", r#"{"tenant":"nobody","name":"x"}"#, "tenant"),
        ("/api/v1/keys", r#"{"tenant":"acme","name":"x","allowed_models":["a b"]}"#, "allowed_models"),
        ("/api/v1/keys", r#"{"tenant":"acme","name":"x","colour":"red"}"#, "body"),
        ("/api/v1/keys", "{", "body"),
        ("/api/v1/keys/key_none/revoke", "", "key"),
    ] {
        let answer = post(&stage, path, &cookie, OURS, body).await;
        assert!(answer.status.is_client_error(), "{body}");
        assert_eq!(answer.json()["error"]["param"], param, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_keys_plan_and_guardrails_are_shown() {
    let stage = full().await;
    let (control, acme, now) = (&stage.control, Some("acme".parse().unwrap()), clock().now());
    let rules = json!({"input": [
        {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}}, "action": "block"}]});
    for (kind, name, spec) in [
        (Kind::Plan, "gold-plan", json!({"requests_per_minute": 60})),
        (Kind::Guardrail, "no-cards", rules.clone()),
        (Kind::Guardrail, "no-numbers", rules),
    ] {
        let name = name.parse().unwrap();
        control.documents().put(kind, acme.as_ref(), &name, &spec, None, now).await.unwrap();
    }
    let new = NewApiKey {
        plan: Some("gold-plan".parse().unwrap()),
        guardrails: Some(vec!["no-cards".parse().unwrap(), "no-numbers".parse().unwrap()]),
        ..NewApiKey::new("acme".parse().unwrap(), "guarded")
    };
    control.keys().create(new, now).await.unwrap();
    let cookie = session(&stage, "vera").await;
    let listed = get(&stage, "/api/v1/keys", &cookie).await.json();
    let of = |name: &str| {
        let keys = listed["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["name"] == name).unwrap();
        (key["plan"].clone(), key["guardrails"].clone())
    };
    assert_eq!(of("guarded"), ("gold-plan".into(), json!(["no-cards", "no-numbers"])));
    assert_eq!(of("acme backend"), (Value::Null, json!([])));
    let page = get(&stage, "/keys", &cookie).await.text;
    assert!(page.contains("gold-plan") && page.contains("no-cards, no-numbers"), "{page}");
}
