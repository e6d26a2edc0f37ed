//! Nobody comes in without an admin key, whatever they ask for.

use super::{Api, NOW};
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{Request, StatusCode};
use control::records::{NewApiKey, NewTenant};

/// Every operation, as the OpenAPI document names them. A new one must be added here, on purpose.
const OPERATIONS: &[&str] = &[
    "DELETE /admin/v1/budgets/{name}",
    "DELETE /admin/v1/caches/{name}",
    "DELETE /admin/v1/cascades/{name}",
    "DELETE /admin/v1/experiments/{name}",
    "DELETE /admin/v1/guardrails/{name}",
    "DELETE /admin/v1/keys/{id}",
    "DELETE /admin/v1/models/{name}",
    "DELETE /admin/v1/plans/{name}",
    "DELETE /admin/v1/pools/{name}",
    "DELETE /admin/v1/prices",
    "DELETE /admin/v1/prompts/{name}/labels/{label}",
    "DELETE /admin/v1/prompts/{name}/versions/{version}",
    "DELETE /admin/v1/providers/{id}",
    "DELETE /admin/v1/routes/{name}",
    "DELETE /admin/v1/tenants/{id}",
    "DELETE /admin/v1/users/{id}",
    "GET /admin/v1/audit",
    "GET /admin/v1/budgets",
    "GET /admin/v1/budgets/{name}",
    "GET /admin/v1/budgets/{name}/use",
    "GET /admin/v1/caches",
    "GET /admin/v1/caches/{name}",
    "GET /admin/v1/cascades",
    "GET /admin/v1/cascades/{name}",
    "GET /admin/v1/experiments",
    "GET /admin/v1/experiments/{name}",
    "GET /admin/v1/experiments/{name}/shares",
    "GET /admin/v1/guardrails",
    "GET /admin/v1/guardrails/{name}",
    "GET /admin/v1/keys",
    "GET /admin/v1/keys/{id}",
    "GET /admin/v1/live",
    "GET /admin/v1/models",
    "GET /admin/v1/models/{name}",
    "GET /admin/v1/plans",
    "GET /admin/v1/plans/{name}",
    "GET /admin/v1/pools",
    "GET /admin/v1/pools/{name}",
    "GET /admin/v1/pools/{name}/health",
    "GET /admin/v1/prices",
    "GET /admin/v1/prompts",
    "GET /admin/v1/prompts/{name}",
    "GET /admin/v1/prompts/{name}/versions/{version}",
    "GET /admin/v1/providers",
    "GET /admin/v1/providers/{id}",
    "GET /admin/v1/routes",
    "GET /admin/v1/routes/{name}",
    "GET /admin/v1/tenants",
    "GET /admin/v1/tenants/{id}",
    "GET /admin/v1/users",
    "GET /admin/v1/users/{id}",
    "PATCH /admin/v1/keys/{id}",
    "PATCH /admin/v1/models/{name}",
    "PATCH /admin/v1/providers/{id}",
    "PATCH /admin/v1/routes/{name}",
    "PATCH /admin/v1/tenants/{id}",
    "PATCH /admin/v1/users/{id}",
    "POST /admin/v1/caches/{name}/purge",
    "POST /admin/v1/experiments/{name}/pause",
    "POST /admin/v1/experiments/{name}/resume",
    "POST /admin/v1/keys",
    "POST /admin/v1/keys/{id}/revoke",
    "POST /admin/v1/models",
    "POST /admin/v1/prices/import",
    "POST /admin/v1/prompts/{name}",
    "POST /admin/v1/providers",
    "POST /admin/v1/routes",
    "POST /admin/v1/tenants",
    "POST /admin/v1/users",
    "PUT /admin/v1/budgets/{name}",
    "PUT /admin/v1/caches/{name}",
    "PUT /admin/v1/cascades/{name}",
    "PUT /admin/v1/experiments/{name}",
    "PUT /admin/v1/guardrails/{name}",
    "PUT /admin/v1/plans/{name}",
    "PUT /admin/v1/pools/{name}",
    "PUT /admin/v1/prices",
    "PUT /admin/v1/prompts/{name}/labels/{label}",
];

fn request(operation: &str, authorization: Option<&str>) -> Request<Body> {
    let (method, path) = operation.split_once(' ').unwrap();
    let path =
        path.replace("{id}", "x").replace("{name}", "x").replace("{version}", "1").replace("{label}", "x");
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header(AUTHORIZATION, value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_document_lists_every_operation_and_every_operation_exists() {
    let api = Api::start().await;
    let document = api.call("GET", "/openapi.json", None).await;
    assert_eq!(document.status, StatusCode::OK);
    let mut operations: Vec<String> = Vec::new();
    for (path, methods) in document.body["paths"].as_object().unwrap() {
        operations.extend(
            methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    operations.sort();
    assert_eq!(operations, OPERATIONS);
    assert_eq!(document.body["components"]["securitySchemes"]["admin_key"]["scheme"], "bearer");
    assert_eq!(document.body["security"][0]["admin_key"], serde_json::json!([]));

    let key = format!("Bearer {}", api.key);
    for operation in OPERATIONS {
        let answer = api.send(request(operation, Some(&key))).await;
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        assert!(!matches!(code, "unknown_endpoint" | "method_not_allowed"), "{operation}: {}", answer.body);
    }
}

#[tokio::test]
async fn every_operation_refuses_whoever_has_no_admin_key() {
    let api = Api::start().await;
    api.control.tenants().create(NewTenant::new("acme".parse().unwrap()), NOW).await.unwrap();
    let tenant_key =
        api.control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap().secret;
    let tenant_key = format!("Bearer {tenant_key}");
    let basic = format!("Basic {}", api.key);
    let truncated = format!("Bearer {}", &api.key[..api.key.len() - 1]);
    let attempts = [
        (None, "no admin key: expected the header Authorization: Bearer"),
        (Some(""), "malformed Authorization header"),
        (Some("Bearer"), "malformed Authorization header"),
        (Some("Bearer  "), "malformed Authorization header"),
        (Some(basic.as_str()), "malformed Authorization header"),
        (Some(api.key.as_str()), "malformed Authorization header"),
        (Some("Bearer nonsense"), "wrong admin key"),
        (Some(truncated.as_str()), "wrong admin key"),
        (Some(tenant_key.as_str()), "wrong admin key"),
    ];
    let others = ["GET /admin/v1/openapi.json", "GET /admin/v1/nowhere", "TRACE /admin/v1/tenants"];
    let version = api.control.version().await.unwrap();
    for operation in OPERATIONS.iter().chain(&others) {
        for (authorization, message) in attempts {
            let answer = api.send(request(operation, authorization)).await;
            answer.assert_error(401, Some("invalid_admin_key"), None, message);
            assert_eq!(answer.body["error"]["type"], "authentication_error", "{operation}");
            assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer");
        }
    }
    assert_eq!(api.control.version().await.unwrap(), version, "nothing was changed");
}

#[tokio::test]
async fn a_deleted_admin_key_no_longer_works_and_the_scheme_is_read_in_any_case() {
    let api = Api::start().await;
    let lower = format!("bearer {}", api.key);
    assert_eq!(api.send(request("GET /admin/v1/tenants", Some(&lower))).await.status, StatusCode::OK);
    let id = api.control.admin_keys().list().await.unwrap().remove(0).id;
    api.control.admin_keys().delete(&id).await.unwrap();
    let answer = api.call("GET", "/tenants", None).await;
    answer.assert_error(401, Some("invalid_admin_key"), None, "wrong admin key");
}
