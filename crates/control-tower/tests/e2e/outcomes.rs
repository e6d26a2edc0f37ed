//! From an answer with its context to what a useful action cost, through every process.

use crate::tower::Tower;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_answer_with_context_and_an_action_become_dollars_per_useful_action() {
    let tower = Tower::start().await;
    let key = tower.text("/tenant_key").to_owned();
    let asked = json!({
        "model": "sim-small",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "control_tower": {"context": [{"id": "d1", "text": "Paris is the capital of France.", "score": 0.9}]},
    });
    let answer = tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cost = answer.header("x-control-tower-cost-usd").clone();
    let trace = answer.header("x-control-tower-trace-id").clone();
    let response = answer.json()["id"].as_str().unwrap().to_owned();
    // Another call, of which nobody says anything, is overhead.
    let other = json!({"model": "sim-small", "messages": [{"role": "user", "content": "Hello"}]});
    let other = tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &other).await;

    let say = async |path: &str, body: Value| {
        let answer = tower.http.call(&tower.gateway(path), &key, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    let action = |outcome: &str| json!({"name": "resolved", "outcome": outcome, "responses": [response], "idempotency_key": "ticket-7"});
    say("/v1/actions", action("not_useful")).await;
    say("/v1/actions", action("useful")).await;
    say("/v1/actions", json!({"name": "resolved", "outcome": "useful", "responses": ["nobody-knows"]})).await;
    say("/v1/feedback", json!({"trace_id": trace, "score": 1, "label": "thumbs_up"})).await;

    let started = Instant::now();
    let report = loop {
        let report = tower.api("/api/v1/outcomes?range=1h").await;
        let total = &report["total"];
        let is_whole = total["useful"] == 1 && total["overhead_calls"] == 1 && total["feedback"] == 1;
        if is_whole && report["parked"] == 1 {
            break report;
        }
        assert!(started.elapsed() < WITHIN, "{report:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let total = &report["total"];
    assert_eq!((&total["actions"], &total["mean_score"]), (&json!(1), &json!(1.0)));
    assert_eq!(total["costs"]["answers"], cost.as_str(), "{report:#}");
    assert_eq!(total["overhead"], other.header("x-control-tower-cost-usd").as_str(), "{report:#}");
    // Judges in our own process cost nothing.
    assert_eq!(total["per_useful"], cost.as_str(), "{report:#}");
    assert_eq!(report["by_action"][0]["name"], "resolved");
    let signals = tower.api("/api/v1/signals?range=1h").await;
    assert_eq!(signals["dollars_per_useful_action"], cost.as_str(), "{signals:#}");
    let rows = tower
        .query(&format!(
            "SELECT retrieval_documents AS n FROM spans WHERE record = 'call' AND trace_id = '{trace}'"
        ))
        .await;
    assert!(rows[0]["n"].as_str().unwrap().contains("Paris is the capital"), "{rows:?}");
    tower.stop().await;
}
