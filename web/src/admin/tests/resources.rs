//! Each kind of thing from creation to deletion.

use super::Api;
use axum::http::StatusCode;
use control::secrets;
use serde_json::json;

#[tokio::test]
async fn tenants() {
    let api = Api::start().await;
    let created =
        api.create("/tenants", json!({"id": "acme", "name": "Acme", "capture_content": false})).await;
    let expected = json!({
        "id": "acme", "name": "Acme", "retention_days": 30, "capture_content": false,
        "disabled_at": null, "organisation": null, "plan": null, "created_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(created, expected);
    assert_eq!(api.call("GET", "/tenants", None).await.body, json!({"data": [expected]}));
    assert_eq!(api.call("GET", "/tenants/acme", None).await.body, expected);
    let changed =
        api.call("PATCH", "/tenants/acme", Some(json!({"retention_days": 7, "disabled": true}))).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(changed.body["retention_days"], 7);
    assert_eq!(changed.body["disabled_at"], "2026-01-01T00:00:00Z");
    assert_eq!(changed.body["name"], "Acme");
    assert_eq!(api.call("DELETE", "/tenants/acme", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.call("DELETE", "/tenants/acme", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn keys_show_their_secret_once() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    api.create("/tenants", json!({"id": "other"})).await;
    let body = json!({"tenant": "acme", "name": "ci", "allowed_models": ["gpt"], "expires_at": "2026-02-01T00:00:00Z"});
    let created = api.create("/keys", body).await;
    let secret = created["secret"].as_str().unwrap().to_owned();
    let id = created["id"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("ct-") && secret.len() == 67 && id.starts_with("key_"));
    assert_eq!(created["allowed_models"], json!(["gpt"]));
    assert_eq!(created["expires_at"], "2026-02-01T00:00:00Z");

    let listed = api.call("GET", "/keys?tenant=acme", None).await.body;
    assert_eq!(listed["data"][0]["id"], id.as_str());
    let digits = &secret[15..];
    assert!(!listed.to_string().contains(digits), "the secret is shown once");
    assert!(!api.call("GET", &format!("/keys/{id}"), None).await.body.to_string().contains(digits));
    assert_eq!(api.call("GET", "/keys?tenant=other", None).await.body, json!({"data": []}));
    let found = api.control.keys().find_by_secret(&secret).await.unwrap().unwrap();
    assert_eq!(found.id.as_str(), id);

    // `null` clears, what is absent stays.
    let changed = api.call("PATCH", &format!("/keys/{id}"), Some(json!({"allowed_models": null}))).await.body;
    assert_eq!(changed["allowed_models"], json!(null));
    assert_eq!(changed["expires_at"], "2026-02-01T00:00:00Z");
    let changed = api.call("PATCH", &format!("/keys/{id}"), Some(json!({"expires_at": null}))).await.body;
    assert_eq!(changed["expires_at"], json!(null));

    let revoked = api.call("POST", &format!("/keys/{id}/revoke"), None).await;
    assert_eq!(revoked.body["revoked_at"], "2026-01-01T00:00:00Z");
    let snapshot = api.control.snapshot().await.unwrap();
    assert!(snapshot.keys[&secrets::hash(&secret)].revoked_at.is_some());
    assert_eq!(api.call("DELETE", &format!("/keys/{id}"), None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn providers_hide_literals_and_tell_what_does_not_resolve() {
    let api = Api::start().await;
    let body = json!({"id": "openai", "base_url": "https://api.openai.com/v1/", "secret": "literal:sk-123"});
    let created = api.create("/providers", body).await;
    assert_eq!(created["base_url"], "https://api.openai.com/v1");
    assert_eq!(created["secret"], "literal:(hidden)");
    assert_eq!(created["secret_state"], json!({"state": "resolved"}));
    let body = json!({"secret": "env:CONTROL_TOWER_TEST_THAT_NOBODY_SETS", "price_as": "azure"});
    let changed = api.call("PATCH", "/providers/openai", Some(body)).await.body;
    assert_eq!(changed["secret_state"]["state"], "unresolved");
    assert_eq!(
        changed["secret_state"]["reason"],
        "environment variable CONTROL_TOWER_TEST_THAT_NOBODY_SETS is not set"
    );
    assert_eq!(changed["price_as"], "azure");
    let changed = api.call("PATCH", "/providers/openai", Some(json!({"secret": null}))).await.body;
    assert_eq!(changed["secret_state"], json!({"state": "none"}));
    assert_eq!(changed["price_as"], "azure");
    assert_eq!(api.call("GET", "/providers", None).await.body["data"][0], changed);
    assert_eq!(api.call("DELETE", "/providers/openai", None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn models_and_routes_with_slashes_in_their_names() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    api.create("/providers", json!({"id": "vllm", "base_url": "http://10.0.0.1:8000/v1"})).await;
    let model =
        api.create("/models", json!({"name": "meta/llama", "provider": "vllm", "tier": "local"})).await;
    assert_eq!(model["upstream_model"], "meta/llama");
    assert_eq!(api.call("GET", "/models/meta%2Fllama", None).await.body, model);
    let changed =
        api.call("PATCH", "/models/meta%2Fllama", Some(json!({"upstream_model": "llama@fp8"}))).await;
    assert_eq!(
        (changed.body["upstream_model"].as_str(), changed.body["tier"].as_str()),
        (Some("llama@fp8"), Some("local"))
    );
    let changed = api.call("PATCH", "/models/meta%2Fllama", Some(json!({"price_as": "llama-3.1-8b"}))).await;
    assert_eq!(
        (changed.body["price_as"].as_str(), changed.body["upstream_model"].as_str()),
        (Some("llama-3.1-8b"), Some("llama@fp8"))
    );
    let changed = api.call("PATCH", "/models/meta%2Fllama", Some(json!({"price_as": null}))).await;
    assert!(changed.body["price_as"].is_null(), "{:?}", changed.body);
    api.create("/models", json!({"name": "big", "provider": "vllm"})).await;

    api.create("/routes", json!({"name": "acme/bot", "model": "big"})).await;
    api.create("/routes", json!({"name": "acme/bot", "model": "big", "tenant": "acme"})).await;
    let path = "/routes/acme%2Fbot?tenant=acme";
    let moved = api.call("PATCH", path, Some(json!({"model": "meta/llama"}))).await;
    assert_eq!(moved.body["model"], "meta/llama");
    assert_eq!(
        api.call("GET", "/routes/acme%2Fbot", None).await.body["model"],
        "big",
        "the shared one stays"
    );
    api.call("PATCH", path, Some(json!({"model": "none"}))).await.assert_error(
        400,
        None,
        Some("model"),
        "does not exist",
    );
    assert_eq!(api.call("GET", "/routes", None).await.body["data"].as_array().unwrap().len(), 2);
    assert_eq!(api.call("DELETE", path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.call("DELETE", path, None).await.status, StatusCode::NOT_FOUND);
    api.call("DELETE", "/models/big", None).await.assert_error(
        409,
        Some("in_use"),
        None,
        "in use by 1 route",
    );
}

#[tokio::test]
async fn prices() {
    let api = Api::start().await;
    let entry = json!({
        "provider": "openai", "model": "gpt", "valid_from": "2026-01-01",
        "charge": {"tokens": [{"rates": {"input": "0.15", "output": "0.6"}}]},
    });
    let changes = api.call("PUT", "/prices", Some(json!({"data": [entry]}))).await;
    assert_eq!(changes.body, json!({"added": 1, "changed": 0, "unchanged": 0, "removed": 0}));
    let listed = api.call("GET", "/prices?provider=openai", None).await.body;
    assert_eq!(listed["data"], json!([entry]));
    assert_eq!(listed["version"].as_str().unwrap(), api.control.prices().book().await.unwrap().version);
    assert_eq!(api.call("GET", "/prices?model=other", None).await.body["data"], json!([]));

    let bad = json!({"data": [{"provider": "openai", "model": "gpt", "charge": {"tokens": []}}]});
    let answer = api.call("PUT", "/prices", Some(bad)).await;
    answer.assert_error(400, None, Some("charge.tokens"), "price of openai/gpt");
    let bad = json!({"data": [{"provider": "openai", "model": "gpt", "charge": {"tokens": [{"rates": {"input": "-1"}}]}}]});
    let answer = api.call("PUT", "/prices", Some(bad)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body["error"]["param"].as_str().unwrap().starts_with("data[0].charge"), "{}", answer.body);

    let path = "/prices?provider=openai&model=gpt";
    api.call("DELETE", path, None).await.assert_error(404, Some("not_found"), None, "price \"openai/gpt\"");
    let dated = format!("{path}&valid_from=soon");
    api.call("DELETE", &dated, None).await.assert_error(
        400,
        None,
        Some("valid_from"),
        "is not valid: expected",
    );
    let dated = format!("{path}&valid_from=2026-01-01");
    assert_eq!(api.call("DELETE", &dated, None).await.status, StatusCode::NO_CONTENT);

    let list = json!({"gpt-x": {"litellm_provider": "openai", "mode": "chat",
        "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}});
    let dry = api.call("POST", "/prices/import?dry_run=true", Some(list.clone())).await;
    assert_eq!((dry.status, &dry.body["added"]), (StatusCode::OK, &json!(1)), "{}", dry.body);
    assert_eq!(api.call("GET", "/prices", None).await.body["data"], json!([]), "a dry run writes nothing");
    assert_eq!(api.call("POST", "/prices/import", Some(list)).await.body["added"], 1);
    assert_eq!(api.call("GET", "/prices?model=gpt-x", None).await.body["data"].as_array().unwrap().len(), 1);
    api.call("POST", "/prices/import", Some(json!("text"))).await.assert_error(
        400,
        None,
        Some("body"),
        "format is not known",
    );
}

#[tokio::test]
async fn users_never_show_their_password() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    let body = json!({"username": "Ann", "password": "correct horse", "role": "viewer", "tenants": ["acme"]});
    let created = api.create("/users", body.clone()).await;
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        created,
        json!({
            "id": id, "username": "ann", "role": "viewer", "tenants": ["acme"], "created_at": "2026-01-01T00:00:00Z",
        })
    );
    assert_eq!(api.call("GET", "/users", None).await.body, json!({"data": [created]}));
    api.call("POST", "/users", Some(body)).await.assert_error(
        409,
        Some("already_exists"),
        None,
        "user \"ann\"",
    );
    let path = format!("/users/{id}");
    let changed = api
        .call("PATCH", &path, Some(json!({"role": "admin", "tenants": null, "password": "battery staple"})))
        .await;
    assert_eq!((changed.body["role"].as_str(), changed.body["tenants"].is_null()), (Some("admin"), true));
    assert!(api.control.users().verify("ann", "battery staple").await.unwrap().is_some());
    let answer = api.call("PATCH", &path, Some(json!({"password": "short"}))).await;
    answer.assert_error(400, None, Some("password"), "expected 8 to 1024 bytes");
    assert!(!answer.body.to_string().contains("short"));
    api.call("PATCH", &path, Some(json!({"role": "king"}))).await.assert_error(
        400,
        None,
        Some("role"),
        "unknown variant `king`",
    );
    assert_eq!(api.call("DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.call("GET", &path, None).await.status, StatusCode::NOT_FOUND);
}
