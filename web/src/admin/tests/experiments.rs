//! What an experiment has beside what every policy document has.

use super::Api;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use serde_json::{Value, json};

#[tokio::test]
async fn an_experiment_is_paused_and_resumed_by_its_status_alone() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    let spec = json!({"salt": "s", "arms": [{"name": "a", "weight": 3.0}, {"name": "b"}]});
    let with = |status: &str| {
        let mut spec = spec.clone();
        spec["status"] = json!(status);
        spec
    };
    let post = async |path: &str| api.call("POST", &format!("/experiments/{path}"), None).await;
    let is = async |query: &str| {
        api.call("GET", &format!("/experiments/tone{query}"), None).await.body["spec"].clone()
    };
    for query in ["", "?tenant=acme"] {
        let put = api.call("PUT", &format!("/experiments/tone{query}"), Some(spec.clone())).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    }

    let own = async |what: &str| post(&format!("tone/{what}?tenant=acme")).await;
    // It runs as it was written, so there is nothing to resume.
    assert_eq!(own("resume").await.body["spec"], spec);
    let paused = own("pause").await;
    assert_eq!((paused.status, &paused.body["spec"]), (StatusCode::OK, &with("paused")), "{}", paused.body);
    assert_eq!(paused.headers[ETAG], format!("\"{}\"", paused.body["revision"]));
    assert_eq!(own("pause").await.body, paused.body, "it is paused already");
    assert_eq!(
        (is("?tenant=acme").await, is("").await),
        (with("paused"), spec.clone()),
        "the tenant's alone"
    );
    assert_eq!(own("resume").await.body["spec"], with("running"));

    let log = api.call("GET", "/audit?kind=experiment&action=update", None).await.body;
    let changes = log["data"].as_array().unwrap();
    let sides: Vec<[&Value; 3]> = changes
        .iter()
        .map(|change| [&change["tenant"], &change["before"]["spec"], &change["after"]["spec"]])
        .collect();
    let (acme, paused) = (json!("acme"), with("paused"));
    assert_eq!(sides, [[&acme, &paused, &with("running")], [&acme, &spec, &paused]]);

    let gone = "experiment \"none\" does not exist";
    for path in ["none/pause", "none/resume"] {
        post(path).await.assert_error(404, Some("not_found"), None, gone);
    }
    post("two%20words/pause").await.assert_error(400, None, Some("path"), "policy name");
    let other = api.call("POST", "/plans/gold/pause", None).await;
    other.assert_error(404, Some("unknown_endpoint"), None, "no such endpoint");
}
