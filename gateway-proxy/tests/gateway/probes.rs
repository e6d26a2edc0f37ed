//! What the gateway asks of deployments by itself: whether they are well.

use crate::live::live_when;
use crate::pools::pooled;
use crate::support::{Gateway, Received, Step, Upstream, chat, config, json};
use contracts::live::{DeploymentState, DeploymentView, GatewayLive};
use contracts::policy::{Protocol, Provider, ProviderSettings, Secret, Snapshot, Speaks};
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ADMIN: &str = "ct-admin-0123456789abcdef";

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// A pool over `upstreams` whose providers have a key, probed every 100 ms.
fn probed(upstreams: &[&Upstream]) -> Snapshot {
    let policy = serde_json::json!({
        "probe": {"path": "/v1/models", "every_ms": 100, "timeout_ms": 5_000, "failures": 2},
        "breaker": {"ejection_ms": 100, "trial_successes": 1},
        "balance": {"kind": "weighted"},
        "slow_start_ms": 0,
    });
    let mut snapshot = pooled(upstreams, &policy);
    snapshot.admin_keys.insert(control::secrets::hash(ADMIN));
    for n in 0..upstreams.len() {
        change(&mut snapshot, n, |provider| provider.secret = Some(Secret::new("sk-upstream")));
    }
    snapshot
}

fn change(snapshot: &mut Snapshot, n: usize, change: impl FnOnce(&mut Provider)) {
    let provider = snapshot.providers.get_mut(&format!("p{n}").parse().unwrap()).unwrap();
    change(Arc::make_mut(provider));
}

fn is_probe(received: &Received) -> bool {
    received.head.starts_with("GET /v1/models HTTP/1.1")
}

fn probes(upstream: &Upstream) -> Vec<Received> {
    upstream.received().into_iter().filter(is_probe).collect()
}

fn calls(upstream: &Upstream) -> usize {
    upstream.received().iter().filter(|received| !is_probe(received)).count()
}

fn first(live: &GatewayLive) -> &DeploymentView {
    &live.pools[0].health.deployments[0]
}

/// A server that lets in who has the key.
fn keyed(received: &Received) -> Vec<Step> {
    if received.header("authorization") == Some("Bearer sk-upstream") {
        return json(200, ANSWER);
    }
    json(401, r#"{"error":{"message":"Incorrect API key provided"}}"#)
}

async fn call(gateway: &Gateway) {
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn a_probe_is_let_in_as_calls_are() {
    let upstream = Upstream::start(keyed).await;
    let gateway = Gateway::start(config(None), probed(&[&upstream]));
    // Two failures would have put it out.
    while probes(&upstream).len() < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let live = live_when(&gateway, ADMIN, |live| live.pools.len() == 1).await;
    assert_eq!((first(&live).state, &first(&live).why), (DeploymentState::In, &None), "{live:#?}");
    call(&gateway).await;
}

#[tokio::test]
async fn a_probe_carries_the_credential_of_each_protocol() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let mut snapshot = probed(&[&upstream; 5]);
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let region = (protocol == Protocol::Bedrock).then(|| "eu-central-1".into());
        let access_key_id = region.as_ref().map(|_| "AKID".into());
        let settings = ProviderSettings { region, access_key_id, ..ProviderSettings::default() };
        change(&mut snapshot, n, |provider| provider.speaks = Ok(Speaks { protocol, settings }));
    }
    let _gateway = Gateway::start(config(None), snapshot);
    for (name, begins) in [
        ("authorization", "Bearer sk-upstream"),
        ("api-key", "sk-upstream"),
        ("x-api-key", "sk-upstream"),
        ("x-goog-api-key", "sk-upstream"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKID/"),
    ] {
        let carries = |probe: &Received| probe.header(name).is_some_and(|value| value.starts_with(begins));
        let seen = async {
            while !probes(&upstream).iter().any(carries) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(seen.is_ok(), "no probe has {name}: {begins}: {:#?}", probes(&upstream));
    }
}

#[tokio::test]
async fn a_deployment_whose_probe_fails_is_put_out_and_taken_back() {
    let is_ill = Arc::new(AtomicBool::new(false));
    let ill = is_ill.clone();
    let moody = Upstream::start(move |received| {
        // Calls would be answered: it is the probe that tells.
        if is_probe(received) && ill.load(Ordering::SeqCst) { json(503, "{}") } else { keyed(received) }
    })
    .await;
    let steady = Upstream::start(keyed).await;
    let gateway = Gateway::start(config(None), probed(&[&moody, &steady]));
    while calls(&moody) == 0 {
        call(&gateway).await;
    }

    is_ill.store(true, Ordering::SeqCst);
    let live = live_when(&gateway, ADMIN, |live| first(live).state == DeploymentState::Out).await;
    assert!(first(&live).why.as_ref().is_some_and(|why| why.contains("probe")), "{live:#?}");
    let before = (calls(&moody), calls(&steady));
    for _ in 0..20 {
        call(&gateway).await;
    }
    assert_eq!((calls(&moody), calls(&steady)), (before.0, before.1 + 20));

    is_ill.store(false, Ordering::SeqCst);
    let back = async {
        while calls(&moody) == before.0 {
            call(&gateway).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("it gets calls again");
    live_when(&gateway, ADMIN, |live| first(live).state == DeploymentState::In).await;
}
