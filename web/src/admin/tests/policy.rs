//! Policy documents, prompts, and what the audit log tells of them.

use super::Api;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderName, StatusCode};
use contracts::policy::Kind;
use serde_json::{Value, json};

impl Api {
    /// Sends a request with one more header.
    async fn call_with(
        &self,
        method: &str,
        path: &str,
        (name, value): (HeaderName, &str),
        body: Option<Value>,
    ) -> super::Answer {
        let mut request = self.request(method, path, body.map(|json| json.to_string()));
        request.headers_mut().insert(name, value.parse().unwrap());
        self.send(request).await
    }
}

/// What may stand in a policy of `kind`; another for each `n`, which is 1 or more. A cascade needs a model `m`.
fn spec(kind: Kind, n: u64) -> Value {
    match kind {
        Kind::Plan => json!({"requests_per_minute": n}),
        Kind::Budget => {
            json!({"scope": {"kind": "organisation", "organisation": "big"}, "limit": n.to_string()})
        }
        Kind::Pool => json!({"slow_start_ms": n}),
        Kind::Cascade => json!({"tiers": [{"model": "m", "timeout_ms": n}]}),
        Kind::Cache => json!({"ttl_seconds": n}),
        Kind::Guardrail => {
            json!({"input": [{"name": "length", "check": {"max_chars": n}, "action": "block"}]})
        }
        Kind::Experiment => json!({"arms": [{"name": "a", "weight": n}, {"name": "b"}]}),
        Kind::Prompt => json!({"messages": [{"role": "system", "content": format!("Version {n}.")}]}),
    }
}

#[tokio::test]
async fn documents_of_every_kind() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    api.create("/providers", json!({"id": "p", "base_url": "https://h"})).await;
    api.create("/models", json!({"name": "m", "provider": "p"})).await;
    for kind in Kind::DOCUMENTS {
        let path = format!("/{}/m", kind.plural());
        let spec = spec(kind, 1);
        let written = api.call("PUT", &path, Some(spec.clone())).await;
        assert_eq!(written.status, StatusCode::OK, "{}", written.body);
        let revision = written.body["revision"].as_u64().unwrap();
        assert_eq!(
            written.body,
            json!({
                "kind": kind.as_str(), "tenant": null, "name": "m", "spec": spec, "revision": revision,
                "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            })
        );
        assert_eq!(written.headers[ETAG], format!("\"{revision}\""));
        let read = api.call("GET", &path, None).await;
        assert_eq!((&read.body, &read.headers[ETAG]), (&written.body, &written.headers[ETAG]));
        let listed = api.call("GET", &format!("/{}", kind.plural()), None).await.body;
        assert_eq!(listed, json!({"data": [written.body]}));

        let of_tenant = api.call("PUT", &format!("{path}?tenant=acme"), Some(spec)).await;
        if kind.may_be_of_a_tenant() {
            assert_eq!(of_tenant.body["tenant"], "acme");
            let own = api.call("GET", &format!("/{}?tenant=acme", kind.plural()), None).await.body;
            assert_eq!(own["data"].as_array().unwrap().len(), 1);
        } else {
            of_tenant.assert_error(400, None, Some("tenant"), "shared by all");
        }
        assert_eq!(api.call("DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
        let gone = format!("{kind} \"m\" does not exist");
        api.call("DELETE", &path, None).await.assert_error(404, Some("not_found"), None, &gone);
        api.call("GET", &path, None).await.assert_error(404, Some("not_found"), None, &gone);
    }
}

#[tokio::test]
async fn bad_documents_name_what_is_wrong() {
    let api = Api::start().await;
    let put = async |path: &str, spec: Value| api.call("PUT", path, Some(spec)).await;
    put("/caches/c", json!({"ttl_seconds": "x"})).await.assert_error(
        400,
        None,
        Some("ttl_seconds"),
        "cache \"c\": ttl_seconds: \"x\" is not valid, expected u64",
    );
    put("/caches/c", json!({"semantic": {"colour": 1}})).await.assert_error(
        400,
        None,
        Some("semantic.colour"),
        "unknown field `colour`",
    );
    put("/cascades/c", json!({"tiers": [{"model": "none"}]})).await.assert_error(
        400,
        None,
        Some("model"),
        "cascade \"c\" refers to model \"none\", which does not exist",
    );
    let broken = json!({"input": [{"name": "unclosed", "check": {"max_chars": 1}, "action": "block"}]});
    put("/guardrails/g", broken).await.assert_error(
        400,
        None,
        Some("input[0].check"),
        "guardrail \"g\": input[0].check: \"(\" is not valid, expected a pattern",
    );
    let broken = json!({"messages": [{"role": "system", "content": "Hello {{"}]});
    api.call("POST", "/prompts/p", Some(broken)).await.assert_error(
        400,
        None,
        Some("messages[0].content"),
        "prompt \"p\": messages[0].content: \"{{\" is not valid, expected a template",
    );
    put("/plans/p?tenant=nobody", json!({})).await.assert_error(400, None, Some("tenant"), "does not exist");
    put("/plans/two%20words", json!({})).await.assert_error(400, None, Some("path"), "policy name");
    api.send(api.request("PUT", "/plans/p", Some("{".into()))).await.assert_error(
        400,
        None,
        Some("body"),
        "EOF",
    );
    api.call("POST", "/plans", Some(json!({}))).await.assert_error(
        405,
        Some("method_not_allowed"),
        None,
        "does not support",
    );
    let tenant = json!({"id": "acme", "plan": "gold"});
    api.call("POST", "/tenants", Some(tenant)).await.assert_error(
        400,
        None,
        Some("plan"),
        "tenant \"acme\" refers to plan \"gold\", which does not exist",
    );
}

#[tokio::test]
async fn who_is_slower_is_told_so() {
    let api = Api::start().await;
    let path = "/plans/gold";
    let put = async |header, n| api.call_with("PUT", path, header, Some(spec(Kind::Plan, n))).await;
    let absent = || (IF_NONE_MATCH, "*");
    let first = put(absent(), 1).await;
    let first = first.headers[ETAG].to_str().unwrap();
    put(absent(), 2).await.assert_error(409, Some("stale_revision"), None, "read it again");
    assert_eq!(put((IF_MATCH, first), 2).await.status, StatusCode::OK);
    put((IF_MATCH, first), 3).await.assert_error(409, Some("stale_revision"), None, "plan \"gold\" is at");
    let answer = api.call_with("DELETE", path, (IF_MATCH, first), None).await;
    answer.assert_error(409, Some("stale_revision"), None, "read it again");
    for bad in ["*", "\"0\"", "W/\"1\"", "soon"] {
        put((IF_MATCH, bad), 3).await.assert_error(
            400,
            None,
            Some("If-Match"),
            "expected a revision such as",
        );
    }
    put((IF_NONE_MATCH, "\"1\""), 3).await.assert_error(400, None, Some("If-None-Match"), "expected *");
    assert_eq!(api.call("GET", path, None).await.body["spec"], spec(Kind::Plan, 2));
}

#[tokio::test]
async fn what_is_needed_stays() {
    let api = Api::start().await;
    api.create("/providers", json!({"id": "p", "base_url": "https://h"})).await;
    api.create("/models", json!({"name": "m", "provider": "p"})).await;
    for (kind, path) in [
        (Kind::Cascade, "/cascades/cheap"),
        (Kind::Cache, "/caches/c"),
        (Kind::Guardrail, "/guardrails/g"),
        (Kind::Experiment, "/experiments/e"),
        (Kind::Plan, "/plans/gold"),
    ] {
        let written = api.call("PUT", path, Some(spec(kind, 1))).await;
        assert_eq!(written.status, StatusCode::OK, "{}", written.body);
    }
    api.create("/prompts/hello", spec(Kind::Prompt, 1)).await;
    let label = json!({"version": 1});
    assert_eq!(api.call("PUT", "/prompts/hello/labels/production", Some(label)).await.status, StatusCode::OK);
    let all = json!({
        "cascade": "cheap", "cache": "c", "guardrails": ["g"], "experiment": "e", "prompt": {"name": "hello"},
        "tags": ["team-a"],
    });
    let route = api.create("/routes", json!({"name": "bot", "model": "m", "spec": all})).await;
    assert_eq!(route["spec"], all);
    for path in ["/cascades/cheap", "/caches/c", "/guardrails/g", "/experiments/e"] {
        api.call("DELETE", path, None).await.assert_error(
            409,
            Some("in_use"),
            None,
            "in use by route \"bot\"",
        );
    }
    let answer = api.call("DELETE", "/prompts/hello/labels/production", None).await;
    answer.assert_error(409, Some("in_use"), None, "in use by route \"bot\"");
    let patch = |spec: Value| api.call("PATCH", "/routes/bot", Some(json!({ "spec": spec })));
    patch(json!({"cascade": 1})).await.assert_error(400, None, Some("spec.cascade"), "invalid type: integer");
    patch(json!({"tags": ["two words"]})).await.assert_error(400, None, Some("spec.tags[0]"), "64 visible");
    patch(json!({"cache": "none"})).await.assert_error(400, None, Some("cache"), "which does not exist");
    assert_eq!(patch(Value::Null).await.body["spec"], Value::Null);
    assert_eq!(api.call("DELETE", "/cascades/cheap", None).await.status, StatusCode::NO_CONTENT);

    api.create("/tenants", json!({"id": "acme", "plan": "gold", "organisation": "big"})).await;
    let key = api.create("/keys", json!({"tenant": "acme", "plan": "gold"})).await;
    assert_eq!(key["plan"], "gold");
    let expected = "in use by key";
    api.call("DELETE", "/plans/gold", None).await.assert_error(409, Some("in_use"), None, expected);
    let path = format!("/keys/{}", key["id"].as_str().unwrap());
    assert_eq!(api.call("PATCH", &path, Some(json!({"plan": null}))).await.body["plan"], Value::Null);
    let changed = api.call("PATCH", "/tenants/acme", Some(json!({"plan": null}))).await.body;
    assert_eq!((&changed["plan"], &changed["organisation"]), (&Value::Null, &json!("big")));
    assert_eq!(api.call("DELETE", "/plans/gold", None).await.status, StatusCode::NO_CONTENT);

    let azure =
        json!({"id": "az", "base_url": "https://h", "protocol": "azure", "settings": {"api_version": "1"}});
    let created = api.create("/providers", azure).await;
    assert_eq!((&created["protocol"], &created["settings"]), (&json!("azure"), &json!({"api_version": "1"})));
    let wrong = json!({"id": "x", "base_url": "https://h", "protocol": "bedrock"});
    api.call("POST", "/providers", Some(wrong)).await.assert_error(
        400,
        None,
        Some("settings.region"),
        "region",
    );
    let wrong = json!({"id": "x", "base_url": "https://h", "protocol": "telepathy"});
    api.call("POST", "/providers", Some(wrong)).await.assert_error(
        400,
        None,
        Some("protocol"),
        "unknown variant",
    );
}

#[tokio::test]
async fn prompts_have_versions_and_labels() {
    let api = Api::start().await;
    let first = api.create("/prompts/support%2Fhello", spec(Kind::Prompt, 1)).await;
    assert_eq!((&first["version"], &first["spec"]), (&json!(1), &spec(Kind::Prompt, 1)));
    assert!(first["created_by"].as_str().unwrap().starts_with("adm_"), "{first}");
    api.create("/prompts/support%2Fhello", spec(Kind::Prompt, 2)).await;
    let path = "/prompts/support%2Fhello";
    let label = |version: u64| {
        api.call("PUT", "/prompts/support%2Fhello/labels/production", Some(json!({ "version": version })))
    };
    assert_eq!(label(1).await.body["labels"], json!({"production": 1}));
    let prompt = label(2).await.body;
    assert_eq!(
        prompt,
        json!({"tenant": null, "name": "support/hello", "versions": [1, 2], "labels": {"production": 2}})
    );
    assert_eq!(api.call("GET", path, None).await.body, prompt);
    assert_eq!(api.call("GET", "/prompts", None).await.body, json!({"data": [prompt]}));
    let version = async |which: &str| api.call("GET", &format!("{path}/versions/{which}"), None).await;
    assert_eq!(version("1").await.body, first);
    assert_eq!(version("production").await.body["version"], 2);
    version("9").await.assert_error(404, Some("not_found"), None, "prompt \"support/hello@9\"");
    label(9).await.assert_error(400, None, Some("prompt"), "prompt \"support/hello@9\" does not exist");
    let delete = async |rest: &str| api.call("DELETE", &format!("{path}/{rest}"), None).await;
    delete("versions/2").await.assert_error(409, Some("in_use"), None, "in use by label \"production\"");
    delete("versions/x").await.assert_error(400, None, Some("path"), "x");
    assert_eq!(delete("labels/production").await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete("versions/2").await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.create(path, spec(Kind::Prompt, 3)).await["version"], 3);
    api.call("GET", "/prompts/none", None).await.assert_error(
        404,
        Some("not_found"),
        None,
        "prompt \"none\"",
    );
}

#[tokio::test]
async fn a_version_gets_a_label_at_once() {
    let api = Api::start().await;
    let path = "/prompts/support%2Fhello";
    let labels = async || api.call("GET", path, None).await.body["labels"].clone();
    api.create(&format!("{path}?label=production"), spec(Kind::Prompt, 1)).await;
    assert_eq!(labels().await, json!({"production": 1}));
    // Without one a new version changes nothing for those who ask by label; with one it takes it over.
    api.create(path, spec(Kind::Prompt, 2)).await;
    assert_eq!(labels().await, json!({"production": 1}));
    let third = api.create(&format!("{path}?label=production"), spec(Kind::Prompt, 3)).await;
    assert_eq!(labels().await, json!({"production": 3}));
    assert_eq!(api.call("GET", &format!("{path}/versions/production"), None).await.body, third);
    // A label that cannot be put makes no version either.
    let wrong = api.call("POST", &format!("{path}?label=B%20b"), Some(spec(Kind::Prompt, 4))).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.body);
    let prompt = api.call("GET", path, None).await.body;
    assert_eq!((&prompt["versions"], &prompt["labels"]), (&json!([1, 2, 3]), &json!({"production": 3})));
    // A tenant's own prompt has labels of its own.
    api.create("/tenants", json!({"id": "acme"})).await;
    let own = api.create(&format!("{path}?tenant=acme&label=production"), spec(Kind::Prompt, 5)).await;
    let found = api.call("GET", &format!("{path}/versions/production?tenant=acme"), None).await.body;
    assert_eq!(found, own);
    assert_eq!(labels().await, json!({"production": 3}));
}

#[tokio::test]
async fn the_audit_log_names_the_admin_key() {
    let api = Api::start().await;
    let key = api.control.admin_keys().list().await.unwrap().remove(0).id;
    api.create("/tenants", json!({"id": "acme"})).await;
    for n in 1..=3 {
        api.call("PUT", "/plans/gold?tenant=acme", Some(spec(Kind::Plan, n))).await;
    }
    let audit = async |query: &str| api.call("GET", &format!("/audit{query}"), None).await;
    let page = audit("?kind=plan&limit=2").await.body;
    let entries = page["data"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["actor"], key.as_str());
    assert_eq!((&entries[0]["action"], &entries[0]["tenant"]), (&json!("update"), &json!("acme")));
    assert_eq!(entries[0]["before"]["spec"], spec(Kind::Plan, 2));
    assert_eq!(entries[0]["after"]["spec"], spec(Kind::Plan, 3));
    let next = page["next"].as_u64().unwrap();
    let rest = audit(&format!("?kind=plan&limit=2&cursor={next}")).await.body;
    assert_eq!((&rest["data"][0]["action"], &rest["next"]), (&json!("create"), &Value::Null));
    assert_eq!(audit("?tenant=acme").await.body["data"].as_array().unwrap().len(), 4);
    assert_eq!(audit(&format!("?actor={key}")).await.body["data"].as_array().unwrap().len(), 4);
    assert_eq!(audit("?actor=cli").await.body["data"], json!([]));
    audit("?since=soon").await.assert_error(400, None, Some("since"), "is not valid: expected");
    audit("?limit=0").await.assert_error(400, None, Some("limit"), "expected 1 to 1000");
    audit("?colour=red").await.assert_error(400, None, Some("query"), "unknown field `colour`");
}
