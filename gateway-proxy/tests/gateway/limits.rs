//! Rate plans, and addresses that keep failing.

use crate::support::{Collector, Gateway, KEY, Step, Upstream, chat, config, json, snapshot};
use contracts::policy::plan::Plan;
use contracts::policy::{KeyPolicy, Named, Snapshot, TenantPolicy};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Costs 3 x $1 + 2 x $2 a million: 0.000007.
pub const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

pub fn named<D>(name: &str, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision: 1, spec })
}

/// The usual policy, with a plan for the tenant and one for the key.
fn planned(upstream: &Upstream, tenant: serde_json::Value, key: serde_json::Value) -> Snapshot {
    let mut snapshot = snapshot(upstream.addr, false);
    let hash = control::secrets::hash(KEY);
    let plan = |name: &str, json: serde_json::Value| {
        let plan: Plan = serde_json::from_value(json).unwrap();
        plan.validate().unwrap();
        Some(Ok(named(name, plan)))
    };
    let old = KeyPolicy::clone(&snapshot.keys[&hash]);
    let of_tenant = TenantPolicy { plan: plan("tenant", tenant), ..TenantPolicy::clone(&old.tenant) };
    let policy = KeyPolicy { tenant: Arc::new(of_tenant), plan: plan("key", key), ..old };
    snapshot.keys.insert(hash, Arc::new(policy));
    snapshot
}

#[tokio::test]
async fn plans_of_tenant_and_key_both_hold_and_are_told_as_openai_tells_them() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let plan = planned(
        &upstream,
        serde_json::json!({"requests_per_minute": 100, "tokens_per_minute": {"soft": 10}}),
        serde_json::json!({"requests_per_minute": 3}),
    );
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), plan);
    for left in ["2", "1", "0"] {
        let answer = gateway.post("/v1/chat/completions", chat(false)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "3");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), left);
        assert!(answer.header("x-ratelimit-reset-requests").ends_with('s'));
        let soft = answer.header("x-control-tower-soft-limit");
        assert!(soft.contains("tokens"), "{soft:?} {:?}", answer.headers);
    }
    let refused = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let error = &refused.json()["error"];
    assert_eq!((&error["code"], &error["type"]), (&"rate_limit_exceeded".into(), &"requests".into()));
    assert_eq!(error["fault"], "policy");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(refused.header("retry-after-ms").parse::<u64>().unwrap() <= wait * 1_000);
    assert_eq!(upstream.received().len(), 3);

    let calls = collector.calls(4).await;
    let beyond =
        calls.iter().filter(|call| call.get("control_tower.soft_limits").contains("tokens_per_minute"));
    assert_eq!(beyond.count(), 3);
    let events = collector.events(1).await;
    let [event] = &events[..] else { panic!("told of more than once in a minute: {events:?}") };
    assert_eq!(
        (event.name.as_str(), event.get("control_tower.tenant.id")),
        ("control_tower.soft_limit", "acme")
    );
    assert_eq!(event.get("control_tower.limit.subject"), "tenant acme");
    assert_eq!(
        (event.get("control_tower.limit.name"), event.get("control_tower.limit.soft")),
        ("tokens_per_minute", "10")
    );
}

#[tokio::test]
async fn a_client_is_told_of_its_own_limits_and_not_of_the_providers() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 8123\r\nx-ratelimit-remaining-tokens: 71\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let upstream = Upstream::always(vec![Step::Send(reply.into_bytes())]).await;
    let plan = planned(&upstream, serde_json::json!({}), serde_json::json!({"requests_per_minute": 3}));
    let gateway = Gateway::start(config(None), plan);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::OK);
    for (name, values) in [
        ("x-ratelimit-limit-requests", &["3"] as &[&str]),
        ("x-ratelimit-remaining-requests", &["2"]),
        // The plan says nothing of tokens, so that there is nothing to be told.
        ("x-ratelimit-remaining-tokens", &[]),
    ] {
        let told: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(told, values, "{name}");
    }
}

#[tokio::test]
async fn each_hard_limit_refuses_in_its_own_name() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    for (limit, code, kind) in [
        (serde_json::json!({"requests_per_second": 2}), "rate_limit_exceeded", "requests"),
        // Five tokens a call, once it is settled.
        (serde_json::json!({"tokens_per_minute": 100}), "rate_limit_exceeded", "tokens"),
        // Room for the most that one call may cost, and for what some of them do.
        (serde_json::json!({"dollars_per_minute": "0.828"}), "rate_limit_exceeded", "rate_limit_error"),
        (serde_json::json!({"dollars_per_day": "0.828"}), "insufficient_quota", "insufficient_quota"),
    ] {
        let plan = planned(&upstream, limit.clone(), serde_json::json!({}));
        let gateway = Gateway::start(config(None), plan);
        let mut asked = 0;
        let refused = loop {
            let answer = gateway.post("/v1/chat/completions", chat(false)).await;
            asked += 1;
            if answer.status != StatusCode::OK {
                break answer;
            }
            assert!(asked < 1_000, "{limit}");
        };
        assert!(asked > 1, "{limit} {}", refused.text());
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{limit} {}", refused.text());
        let error = &refused.json()["error"];
        assert_eq!((&error["code"], &error["type"]), (&code.into(), &kind.into()), "{limit}");
        let waits = refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1);
        assert!(waits || code == "insufficient_quota", "{limit} {:?}", refused.headers);
        let unit = limit.as_object().unwrap().keys().next().unwrap().rsplit('_').next().unwrap().to_owned();
        assert!(refused.text().contains(&unit), "{unit} {}", refused.text());
    }
}

#[tokio::test]
async fn so_many_calls_are_on_their_way_at_once_and_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let mut steps = vec![Step::Until(held.clone())];
        steps.extend(json(200, ANSWER));
        steps
    })
    .await;
    let plan = planned(&upstream, serde_json::json!({"concurrent_requests": 1}), serde_json::json!({}));
    let gateway = Arc::new(Gateway::start(config(None), plan));
    let first = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.post("/v1/chat/completions", chat(false)).await.status }
    });
    while upstream.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    gate.add_permits(9);
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn counting_tokens_is_a_request_of_no_tokens() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let plan = planned(
        &upstream,
        serde_json::json!({"requests_per_minute": 2, "tokens_per_minute": 1}),
        serde_json::json!({}),
    );
    let gateway = Gateway::start(config(None), plan);
    for (status, left) in [(StatusCode::OK, "1"), (StatusCode::OK, "0"), (StatusCode::TOO_MANY_REQUESTS, "0")]
    {
        let answer = gateway.post("/v1/messages/count_tokens", chat(false)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), left);
    }
    // Nor is anything looked at for who has asked enough.
    let refused = gateway.post("/v1/messages/count_tokens", "{").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
}

#[tokio::test]
async fn an_address_that_keeps_failing_has_to_wait_and_a_good_key_has_not() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut config = config(None);
    config.flood.failures_per_minute = 5.try_into().unwrap();
    let gateway = Gateway::start(config, snapshot(upstream.addr, false));
    let wrong = || {
        let mut request = gateway.request("/v1/chat/completions", chat(false));
        request.headers_mut().insert("authorization", "Bearer ct-guess-0123456789".parse().unwrap());
        gateway.call(request)
    };
    for _ in 0..5 {
        assert_eq!(wrong().await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = wrong().await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn headers_that_make_no_sense_are_refused_by_name() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let plan = serde_json::json!({"priority": "standard", "highest_priority": "interactive"});
    let gateway = Gateway::start(config(None), planned(&upstream, plan.clone(), plan));
    for (name, value, says) in [
        ("x-control-tower-priority", "urgent", "interactive, standard or batch"),
        ("x-control-tower-tags", "two words", "visible ASCII"),
        ("x-control-tower-on-disconnect", "abort", "continue or stop"),
        ("x-control-tower-resume", "true", "on or off"),
    ] {
        let mut request = gateway.request("/v1/chat/completions", chat(false));
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = gateway.call(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains(name) && answer.text().contains(says), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_fails_after_it_was_admitted_tells_where_its_client_stands_all_the_same() {
    let other_shape = json(400, r#"{"detail":"odd"}"#);
    let misfit = json(400, r#"{"error":{"message":"no"}}"#);
    for (what, steps, status) in [
        ("an error of the upstream's, as it is", misfit, 400),
        ("an error of the upstream's, in our words", other_shape, 400),
        ("no JSON at all", json(500, "<html>"), 502),
        ("an answer that is none", json(200, "{}"), 502),
        ("a connection that closes", vec![Step::Close], 502),
        ("silence", vec![Step::Hang], 504),
    ] {
        let upstream = Upstream::always(steps).await;
        let plan = planned(
            &upstream,
            serde_json::json!({}),
            serde_json::json!({"requests_per_minute": 3, "tokens_per_minute": 100_000}),
        );
        let mut config = config(None);
        config.timeouts.first_byte_ms = 300;
        let gateway = Gateway::start(config, plan);
        for left in ["2", "1"] {
            let answer = gateway.post("/v1/chat/completions", chat(false)).await;
            assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
            assert_eq!(answer.header("x-ratelimit-limit-requests"), "3", "{what}");
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), left, "{what}");
            assert_eq!(answer.header("x-ratelimit-limit-tokens"), "100000", "{what}");
            assert_eq!(answer.headers.get_all("x-ratelimit-limit-requests").iter().count(), 1, "{what}");
        }
    }
}
