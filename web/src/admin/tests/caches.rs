//! What a cache has beside what every policy document has.

use super::Api;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use serde_json::{Value, json};

#[tokio::test]
async fn a_purge_gives_a_cache_another_revision_and_changes_nothing_else_that_it_says() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    let spec = json!({"exact": true, "ttl_seconds": 60});
    for query in ["", "?tenant=acme"] {
        let put = api.call("PUT", &format!("/caches/keep{query}"), Some(spec.clone())).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    }
    let is = async |query: &str| api.call("GET", &format!("/caches/keep{query}"), None).await.body;
    let before = is("").await;
    let with = |generation: u64| {
        let mut spec = spec.clone();
        spec["generation"] = json!(generation);
        spec
    };
    for generation in 1..=2 {
        let purged = api.call("POST", "/caches/keep/purge?tenant=acme", None).await;
        assert_eq!((purged.status, &purged.body["spec"]), (StatusCode::OK, &with(generation)));
        assert_eq!(purged.headers[ETAG], format!("\"{}\"", purged.body["revision"]));
        assert_eq!(is("?tenant=acme").await["revision"], purged.body["revision"]);
    }
    assert_eq!(is("").await, before, "the tenant's alone");

    let log = api.call("GET", "/audit?kind=cache&action=update", None).await.body;
    let changes = log["data"].as_array().unwrap();
    let sides: Vec<[&Value; 3]> = changes
        .iter()
        .map(|change| [&change["tenant"], &change["before"]["spec"], &change["after"]["spec"]])
        .collect();
    let acme = json!("acme");
    assert_eq!(sides, [[&acme, &with(1), &with(2)], [&acme, &spec, &with(1)]]);

    let gone = api.call("POST", "/caches/none/purge", None).await;
    gone.assert_error(404, Some("not_found"), None, "cache \"none\" does not exist");
}
