//! Cascades whose last tier brings no answer.

use crate::cascades::{answer, pieces, routed, streamed};
use crate::limits::named;
use crate::support::{Collector, Gateway, Step, Upstream, config, json, sse};
use contracts::Usd;
use contracts::policy::budget::Budget;
use contracts::policy::{Reaching, Snapshot};
use http::StatusCode;

/// `gpt-4o-mini`, whose answer `verifier` judges and the schema that is asked for, and then `pro`, which may take 300 ms.
fn verified(small: &Upstream, large: &Upstream, verifier: &Upstream) -> Snapshot {
    let mut policy = routed(small, large, Some(tiers(verifier, &serde_json::json!([]))), None);
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "1", "soft": "0.000001", "window": "total"});
    let budget: Budget = serde_json::from_value(budget).unwrap();
    policy.budgets.insert(None, budget.reach(), Ok(named("b", budget)));
    policy
}

fn tiers(verifier: &Upstream, checks_of_last: &serde_json::Value) -> serde_json::Value {
    let url = format!("http://{}/verify", verifier.addr);
    serde_json::json!({"tiers": [
        {"model": "gpt-4o-mini", "checks": ["json_schema", {"verifier": {"url": url, "timeout_ms": 5000}}], "threshold": 0.5},
        {"model": "pro", "timeout_ms": 300, "checks": checks_of_last},
    ]})
}

fn ask(stream: bool) -> String {
    let format =
        r#"{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","required":["city"]}}}"#;
    format!(
        r#"{{"model":"route","messages":[{{"role":"user","content":"Which city?"}}],"stream":{stream},"response_format":{format}}}"#
    )
}

/// Every way not to answer, and whether it may have cost something.
fn failures(stream: bool) -> Vec<(Vec<Step>, bool)> {
    let down = json(503, r#"{"error":{"message":"down"}}"#);
    let misfit = json(400, r#"{"error":{"message":"too long for me"}}"#);
    let mut failures =
        vec![(down, false), (misfit, false), (vec![Step::Close], true), (vec![Step::Hang], true)];
    if stream {
        let error: &[u8] = b"data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
        failures.push((sse(&[error]), true));
    }
    failures
}

#[tokio::test]
async fn what_was_only_improbable_is_given_when_the_last_tier_brings_no_answer() {
    for stream in [false, true] {
        for (n, (failure, is_billed)) in failures(stream).into_iter().enumerate() {
            let about = format!("failure {n}, stream: {stream}");
            let collector = Collector::start().await;
            let small = Upstream::always(if stream {
                streamed("gpt-4o-mini", r#"{"city":"Rome"}"#)
            } else {
                json(200, &answer("gpt-4o-mini", r#"{"city":"Rome"}"#))
            })
            .await;
            let large = Upstream::always(failure).await;
            let verifier = Upstream::always(json(200, r#"{"score":0.25}"#)).await;
            let gateway = Gateway::start(config(Some(&collector)), verified(&small, &large, &verifier));
            let answer = gateway.post("/v1/chat/completions", ask(stream)).await;
            assert_eq!(answer.status, StatusCode::OK, "{about}: {}", answer.text());
            if stream {
                // All of its own pieces, but for the usage that nobody asked for.
                let own = pieces("gpt-4o-mini", r#"{"city":"Rome"}"#);
                let own: Vec<u8> = [&own[..3], &own[4..]].concat().concat();
                assert_eq!(answer.body, own, "{about}");
            } else {
                assert_eq!(answer.json()["id"], "id-gpt-4o-mini", "{about}");
            }
            assert_eq!(answer.header("x-control-tower-model"), "gpt-4o-mini", "{about}");
            assert!(!large.received().is_empty(), "{about}");

            let call = collector.call().await;
            assert_eq!(
                (call.get("error.type"), call.get("http.response.status_code")),
                ("", "200"),
                "{about}"
            );
            assert_eq!(
                (call.get("control_tower.cascade.decision"), call.get("control_tower.cascade.score")),
                ("accept:next_failed", "0.25"),
                "{about}"
            );
            assert_eq!(call.get("gen_ai.response.model"), "gpt-4o-mini", "{about}");
            let mut tries = collector.spans();
            tries.retain(|span| span.kind == 3);
            tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
            let each = |name: &str| tries.iter().map(|span| span.get(name).to_owned()).collect::<Vec<_>>();
            assert_eq!(each("control_tower.cascade.decision")[0], "accept:next_failed", "{about}");
            assert_eq!(each("control_tower.cascade.decision").last().unwrap(), "fail:failed", "{about}");
            assert!(!each("error.type").last().unwrap().is_empty(), "{about}");
            // What was asked is paid, all of it and nothing else.
            let cost: Usd = call.get("control_tower.cost.total").parse().unwrap();
            let first = Usd::from_picos(7_000_000);
            assert_eq!(each("control_tower.cost.total")[0], first.to_string(), "{about}");
            assert_eq!(cost > first, is_billed, "{about}: {cost}");
            let events = collector.events(1).await;
            assert_eq!(events[0].get("control_tower.limit.used").parse::<Usd>().unwrap(), cost, "{about}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_not_given_either_when_the_last_tier_brings_no_answer() {
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", "It is Rome."))).await;
    let large = Upstream::always(json(503, r#"{"error":{"message":"down"}}"#)).await;
    let verifier = Upstream::always(json(200, r#"{"score":0.25}"#)).await;
    let gateway = Gateway::start(config(None), verified(&small, &large, &verifier));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert_eq!(answer.json()["error"]["message"], "down");
}

#[tokio::test]
async fn what_was_only_improbable_is_given_rather_than_what_is_wrong() {
    let collector = Collector::start().await;
    let small = Upstream::always(json(200, &answer("gpt-4o-mini", r#"{"city":"Rome"}"#))).await;
    let large = Upstream::always(json(200, &answer("pro-2025", "It is Rome."))).await;
    let verifier = Upstream::always(json(200, r#"{"score":0.25}"#)).await;
    let cascade = tiers(&verifier, &serde_json::json!(["json_schema"]));
    let gateway = Gateway::start(config(Some(&collector)), routed(&small, &large, Some(cascade), None));
    let answer = gateway.post("/v1/chat/completions", ask(false)).await;
    assert_eq!((answer.status, answer.json()["id"].as_str()), (StatusCode::OK, Some("id-gpt-4o-mini")));
    let call = collector.call().await;
    assert_eq!(call.get("control_tower.cascade.decision"), "accept:next_failed");
    let mut tries = collector.spans();
    tries.retain(|span| span.kind == 3);
    let decisions: Vec<&str> = tries.iter().map(|span| span.get("control_tower.cascade.decision")).collect();
    assert!(decisions.iter().any(|decision| decision.starts_with("fail:")), "{decisions:?}");
    assert_eq!(call.get("error.type"), "");
}
