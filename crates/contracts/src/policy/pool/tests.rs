//! What an operator may write of a pool, and how what is wrong is named.

use super::*;
use serde_json::json;

fn small() -> Pool {
    serde_json::from_value(json!({
        "deployments": [{ "id": "eu-1", "provider": "vllm-eu-1", "upstream_model": "llama-3.1-8b" }]
    }))
    .unwrap()
}

#[test]
fn deployments_are_all_that_must_be_said() {
    let pool = small();
    pool.validate().unwrap();
    assert_eq!(pool.deployments[0].weight, 1);
    assert_eq!(pool.balance, Balance::LeastOutstandingPeakEwma);
    assert!(pool.probe.is_none() && pool.hedge.is_none() && pool.fallbacks.is_empty());
}

#[test]
fn everything_that_can_be_said_round_trips() {
    let told = json!({
        "deployments": [{
            "id": "eu-1", "provider": "vllm-eu-1", "upstream_model": "llama-3.1-8b", "weight": 3, "slots": 64,
            "load": { "url": "http://10.0.0.7:8000/metrics", "kind": "sglang", "every_ms": 500 },
            "gpu": { "url": "http://10.0.0.7:9400/metrics", "kind": "nvml", "devices": ["0", "GPU-1"] }
        }],
        "breaker": { "consecutive_faults": 3 },
        "slow_start_ms": 0,
        "probe": { "path": "/v1/models" },
        "balance": { "kind": "prefix_affinity", "min_prefix_bytes": 512, "prefix_bytes": 2048 },
        "retries": { "max_attempts": 2 },
        "hedge": { "after": { "fixed_ms": 800 }, "max_percent": 2 },
        "fallbacks": ["gpt-4o-mini"]
    });
    let pool: Pool = serde_json::from_value(told).unwrap();
    pool.validate().unwrap();
    assert_eq!(pool.deployments[0].gpu.as_ref().unwrap().kind, GpuKind::Nvml);
    let json = serde_json::to_string(&pool).unwrap();
    assert_eq!(serde_json::from_str::<Pool>(&json).unwrap(), pool);
}

#[test]
fn what_is_misspelt_is_refused() {
    for wrong in [
        json!({ "breakers": {} }),
        json!({ "breaker": { "consecutive": 3 } }),
        json!({ "balance": { "kind": "round_robin" } }),
        json!({ "balance": { "kind": "prefix_affinity", "bytes": 3 } }),
        json!({ "deployments": [{ "id": "a b", "provider": "p", "upstream_model": "m" }] }),
    ] {
        assert!(serde_json::from_value::<Pool>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_pool_without_deployments_is_the_models_own_provider() {
    let pool: Pool = serde_json::from_value(json!({})).unwrap();
    assert_eq!((pool.validate(), pool), (Ok(()), Pool::default()));
}

#[test]
fn an_error_names_the_field_the_value_and_what_is_expected() {
    let says = |change: fn(&mut Pool), field: &str| {
        let mut pool = small();
        change(&mut pool);
        let error = pool.validate().unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(!error.expected.is_empty());
    };
    says(|pool| pool.deployments = vec![pool.deployments[0].clone(); 1_025], "deployments");
    says(|pool| pool.deployments.push(pool.deployments[0].clone()), "deployments[1].id");
    says(|pool| pool.deployments[0].weight = 1_001, "deployments[0].weight");
    says(|pool| pool.deployments[0].slots = Some(0), "deployments[0].slots");
    says(
        |pool| {
            pool.deployments[0].load =
                Some(LoadSource { url: "10.0.0.7".to_owned(), kind: LoadKind::Vllm, every_ms: 1_000 });
        },
        "deployments[0].load.url",
    );
    says(|pool| pool.breaker.ejection_ms = 400_000, "breaker.ejection_ms");
    says(|pool| pool.probe = Some(Probe { path: "health".to_owned(), ..Probe::default() }), "probe.path");
    says(
        |pool| {
            let affinity = PrefixAffinity { prefix_bytes: 10, ..PrefixAffinity::default() };
            pool.balance = Balance::PrefixAffinity(affinity);
        },
        "balance.prefix_bytes",
    );
    says(|pool| pool.weighing.load_fresh_ms = 60_000, "weighing.load_fresh_ms");
    says(|pool| pool.retries.max_attempts = 9, "retries.max_attempts");
    says(
        |pool| pool.hedge = Some(Hedge { after: HedgeAfter::Percentile(100), ..Hedge::default() }),
        "hedge.after.percentile",
    );
}
