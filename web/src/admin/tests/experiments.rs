//! What an experiment has beside what every policy document has.

use super::{Api, NOW};
use axum::http::StatusCode;
use axum::http::header::ETAG;
use contracts::TenantId;
use contracts::policy::experiment::{ArmStats, Measured};
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

#[tokio::test]
async fn what_arms_get_and_what_was_measured_of_them() {
    let api = Api::start().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    let arms = json!([{"name": "a", "weight": 3}, {"name": "b"}]);
    let adaptive = json!({"metric": "useful", "outcome": "binary"});
    let fixed = json!({ "arms": arms });
    let (own, shared) = ("/experiments/tone?tenant=acme", "/experiments/tone");
    let put = async |path: &str, spec: &Value| {
        let put = api.call("PUT", path, Some(spec.clone())).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    };
    put(own, &json!({ "arms": arms, "adaptive": adaptive })).await;
    put(shared, &fixed).await;
    let shares = async |query: &str| {
        let answer = api.call("GET", &format!("/experiments/tone/shares{query}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    };
    let arm = |name: &str, weight: f64, observations: u64, mean: Value, share: f64| json!({"name": name, "weight": weight, "observations": observations, "mean": mean, "share": share});
    let unmeasured = [arm("a", 3.0, 0, Value::Null, 0.75), arm("b", 1.0, 0, Value::Null, 0.25)];
    let mut expected = json!({
        "tenant": "acme", "name": "tone", "status": "running", "metric": "useful", "measured_at": null,
        "is_adapted": false, "arms": unmeasured,
    });
    assert_eq!(shares("?tenant=acme").await, expected);

    let binary = |successes, failures| ArmStats::Binary { successes, failures };
    let arms = [("a".to_owned(), binary(2, 8)), ("b".to_owned(), binary(15, 15))];
    let measured = Measured { metric: "useful".into(), arms: arms.into() };
    let (measurements, acme) = (api.control.judging().measurements(), "acme".parse::<TenantId>().unwrap());
    let name = "tone".parse().unwrap();
    for tenant in [None, Some(&acme)] {
        measurements.put(tenant, &name, &measured, NOW).await.unwrap();
    }
    expected["measured_at"] = json!("2026-01-01T00:00:00Z");
    expected["is_adapted"] = json!(true);
    expected["arms"] = json!([arm("a", 3.0, 10, json!(0.2), 0.25), arm("b", 1.0, 30, json!(0.5), 0.75)]);
    assert_eq!(shares("?tenant=acme").await, expected);
    let paused = api.call("POST", "/experiments/tone/pause?tenant=acme", None).await;
    assert_eq!(paused.status, StatusCode::OK, "{}", paused.body);
    let dealt = shares("?tenant=acme").await;
    assert_eq!((&dealt["status"], &dealt["arms"][0]["share"]), (&json!("paused"), &json!(1.0)));
    assert_eq!((&dealt["arms"][1]["share"], &dealt["arms"][1]["observations"]), (&json!(0.0), &json!(30)));

    // What was measured of one that is fixed by now, or of another metric, says nothing of it.
    expected = json!({
        "tenant": null, "name": "tone", "status": "running", "metric": null, "measured_at": null,
        "is_adapted": false, "arms": unmeasured,
    });
    assert_eq!(shares("").await, expected);
    let cost = json!({"metric": "cost_usd", "outcome": "continuous", "goal": "lower"});
    put(shared, &json!({ "arms": fixed["arms"], "adaptive": cost })).await;
    expected["metric"] = json!("cost_usd");
    assert_eq!(shares("").await, expected);

    let none = api.call("GET", "/experiments/none/shares", None).await;
    none.assert_error(404, Some("not_found"), None, "experiment \"none\" does not exist");
}
