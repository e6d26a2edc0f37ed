//! What goes on in the gateways, as the console tells it.

use super::{Api, NOW};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::live::{PATH, Totals};
use serde_json::{Value, json};
use std::time::Duration;

/// A gateway that says `live` to whoever shows an admin key, or knows no key.
async fn gateway(live: Option<Value>) -> String {
    let answer = move |headers: HeaderMap| async move {
        let is_admin = headers
            .get("authorization")
            .is_some_and(|value| value.as_bytes().starts_with(b"Bearer ct-admin-"));
        if let Some(live) = live.filter(|_| is_admin) {
            return live.to_string().into_response();
        }
        let error = json!({"error": {"message": "authorization: no such API key"}});
        (StatusCode::UNAUTHORIZED, error.to_string()).into_response()
    };
    serve(Router::new().route(PATH, get(answer))).await
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn live(instance: &str, own: &str) -> Value {
    let totals = Totals { calls: 3, cost: "0.5".parse().unwrap(), ..Totals::default() };
    let lately = json!({"over_ms": 10_000, "calls": 3, "failed": 0, "input_tokens": 0, "output_tokens": 0, "cost": "0.5"});
    let band = |band: &str| {
        json!({
            "band": band, "running": 0, "waiting": 0, "longest_wait_ms": null, "interval_ms": null, "started": 0,
            "started_after_wait": 0, "cancelled": 0, "tenants": [],
            "refused": {"full": 0, "tenant_full": 0, "too_late": 0, "timed_out": 0},
        })
    };
    json!({
        "instance": instance, "version": "0.1.0", "at_ms": NOW.unix_millis(), "up_ms": 1_000,
        "policy": {"version": 1, "age_ms": 10, "error": null, "routes": 0, "prompts": [], "experiments": [], "unreadable": []},
        "traffic": {"in_flight": 1, "since_start": totals, "last_10_s": lately, "last_minute": lately, "today": lately},
        "pools": [{
            "model": "gpt", "revision": 2,
            "health": {
                "deployments": [], "panic": false, "calls": 0, "retries": 0, "hedges": 0, "first_byte_p50_ms": null,
                "first_byte_p99_ms": null,
            },
            "queue": {
                "concurrency": null, "running": 0, "waiting": 0, "typical_call_ms": null,
                "bands": [band("interactive"), band("standard"), band("batch")],
            },
        }],
        "budgets": [{
            "kind": "budget", "name": "monthly", "owner": null, "tenant": "acme", "account": "tenant|acme|month",
            "window": "month", "ends_ms": 1, "limit": "10", "soft": null, "counted": {"by": "shared", "ledger": "r1"},
            "spent": "3", "held": "1", "left": "6", "own": {"spent": own, "held": "0"},
        }],
        "rates": [], "rates_omitted": 0,
        "cache": {
            "hits_exact": 1, "hits_semantic": 0, "misses": 1, "waited": 0, "vetoed": 0, "evicted": 0, "entries": 1, "bytes": 10,
            "max_bytes": 100, "saved": "0.25", "shelves": [], "shelves_omitted": 0,
        },
        "streams": {"kept": 0, "running": 0, "bytes": 0, "max_bytes": 0},
        "flood": {"addresses": 0, "held_up": 0, "capacity": 65_536},
        "spool": {"pending_bytes": 0, "oldest_ms": 0, "bytes": 0, "max_bytes": 0, "dropped": 0},
    })
}

/// A console with two gateways that answer, one that knows the key no more, one that speaks of something else, one that is
/// mute and one that is gone.
async fn console() -> (Api, Vec<String>) {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = serve(Router::new().route(PATH, get(std::future::pending::<Response>))).await;
    let urls = vec![
        gateway(Some(live("g1", "1"))).await,
        gateway(Some(live("g2", "2"))).await,
        gateway(None).await,
        gateway(Some(json!({"object": "list"}))).await,
        mute,
        format!("http://{gone}"),
    ];
    (Api::with(urls.clone()).await, urls)
}

#[tokio::test]
async fn gateways_are_asked_at_once_and_who_is_silent_is_named() {
    let (api, urls) = console().await;
    let began = tokio::time::Instant::now();
    let answer = api.call("GET", "/live", None).await;
    assert!(began.elapsed() < Duration::from_secs(20), "not one after the other");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let body = &answer.body;
    assert_eq!(body["at_ms"], NOW.unix_millis());
    let gateways = body["gateways"].as_array().unwrap();
    let shown: Vec<&str> = gateways.iter().map(|g| g["url"].as_str().unwrap()).collect();
    assert_eq!(shown, urls);
    assert_eq!(
        (&gateways[0]["live"]["instance"], &gateways[1]["live"]["instance"]),
        (&json!("g1"), &json!("g2"))
    );
    for (gateway, says) in gateways[2..].iter().zip([
        "it answers 401: authorization: no such API key",
        "its answer cannot be read: missing field",
        "no answer within 2 s",
        "nothing listens there",
    ]) {
        assert!(gateway["error"].as_str().unwrap().starts_with(says), "{gateway}");
        assert!(gateway.get("live").is_none());
    }
    assert_eq!(body["traffic"]["in_flight"], 2);
    assert_eq!(body["traffic"]["since_start"]["cost"], "1");
    assert_eq!(body["budgets"].as_array().unwrap().len(), 1, "what they share counts once");
    assert_eq!(
        (&body["budgets"][0]["spent"], &body["budgets"][0]["own"]["spent"]),
        (&json!("3"), &json!("3"))
    );
    assert_eq!(body["cache"]["saved"], "0.5");
}

#[tokio::test]
async fn one_budget_and_one_pool_can_be_asked_for() {
    let (api, urls) = console().await;
    api.create("/tenants", json!({"id": "acme"})).await;
    let spec = json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "10"});
    assert_eq!(api.call("PUT", "/budgets/monthly", Some(spec)).await.status, StatusCode::OK);
    let budget = api.call("GET", "/budgets/monthly/use", None).await;
    assert_eq!(budget.status, StatusCode::OK, "{}", budget.body);
    assert_eq!((&budget.body["budget"]["spent"], &budget.body["budget"]["left"]), (&json!("3"), &json!("6")));
    assert_eq!(budget.body["silent"].as_array().unwrap().len(), 4);
    api.call("GET", "/budgets/none/use", None).await.assert_error(404, Some("not_found"), None, "none");
    api.call("GET", "/pools/none/health", None).await.assert_error(404, Some("not_found"), None, "none");

    api.create("/providers", json!({"id": "p", "base_url": "http://127.0.0.1:1/v1"})).await;
    api.create("/models", json!({"name": "gpt", "provider": "p"})).await;
    let put = api.call("PUT", "/pools/gpt", Some(json!({"queue": {"concurrency": 2}}))).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.body);
    let pool = api.call("GET", "/pools/gpt/health", None).await.body;
    assert_eq!(
        (&pool["gateways"][1]["url"], &pool["gateways"][1]["pool"]["revision"]),
        (&json!(urls[1]), &json!(2))
    );
    assert_eq!(pool["gateways"][5]["error"], "nothing listens there");
}
