//! Several deployments of a model, some of them ill.

use crate::cascades::streamed;
use crate::live::live_when;
use crate::support::{Collector, Gateway, Received, Span, Step, Upstream, chat, config, json, snapshot};
use contracts::policy::pool::Pool;
use contracts::policy::{Kind, Named, Provider, Route, RoutePolicy, Snapshot};
use contracts::{ModelName, Timestamp, Usd};
use control::records::{NewApiKey, NewProvider, NewTenant};
use control::{Control, Snapshots};
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// The usual policy, with a pool of `gpt-4o-mini` over `upstreams`, each a provider of its own.
pub fn pooled(upstreams: &[&Upstream], more: &serde_json::Value) -> Snapshot {
    let mut snapshot = snapshot(upstreams[0].addr, false);
    let deployments: Vec<serde_json::Value> = (0..upstreams.len())
        .map(|n| serde_json::json!({"id": format!("d{n}"), "provider": format!("p{n}"), "upstream_model": "gpt-4o-mini"}))
        .collect();
    let mut spec = serde_json::json!({"deployments": deployments});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec: Pool = serde_json::from_value(spec).unwrap();
    spec.validate().unwrap();
    for (n, upstream) in upstreams.iter().enumerate() {
        let id = format!("p{n}").parse().unwrap();
        let provider = Provider::new(id, format!("http://{}/v1", upstream.addr));
        let provider = Provider { price_as: "sim".into(), ..provider };
        snapshot.providers.insert(provider.id.clone(), Arc::new(provider));
    }
    let name: ModelName = "gpt-4o-mini".parse().unwrap();
    let named = Named { tenant: None, name: "gpt-4o-mini".parse().unwrap(), revision: 1, spec };
    snapshot.pools.insert(name, Ok(Arc::new(named)));
    snapshot
}

const CALLS: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_half_the_time_and_one_that_hangs_do_not_show() {
    ill(&serde_json::json!({"retries": {"per_try_timeout_whole_ms": 1_000}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_with_hedges() {
    let hedge = serde_json::json!({"after": {"percentile": 95}, "max_percent": 5});
    ill(&serde_json::json!({"retries": {"per_try_timeout_whole_ms": 1_000}, "hedge": hedge})).await;
}

/// Calls of three deployments, of which one fails half the time and one hangs.
async fn ill(policy: &serde_json::Value) {
    let healthy = Upstream::always(json(200, ANSWER)).await;
    let count = AtomicUsize::new(0);
    let failing = Upstream::start(move |_| {
        let fails = count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if fails { json(500, r#"{"error":{"message":"oops"}}"#) } else { json(200, ANSWER) }
    })
    .await;
    let hanging = Upstream::always(vec![Step::Hang]).await;
    let gateway = Arc::new(Gateway::start(config(None), pooled(&[&healthy, &failing, &hanging], policy)));
    let mut workers = Vec::new();
    for _ in 0..8 {
        let gateway = gateway.clone();
        workers.push(tokio::spawn(async move {
            let mut good = 0;
            for _ in 0..CALLS / 8 {
                let answer = gateway.post("/v1/chat/completions", chat(false)).await;
                good += usize::from(answer.status == StatusCode::OK);
            }
            good
        }));
    }
    let mut good = 0;
    for worker in workers {
        good += worker.await.unwrap();
    }
    let sent = [&healthy, &failing, &hanging].map(|upstream| upstream.received().len());
    let all: usize = sent.iter().sum();
    let hedges = gateway.metric("gateway_hedges_total").await.unwrap();
    println!("{good} of {CALLS} answered, {all} calls upstream {sent:?}, {hedges} of them hedges");
    assert!(good * 1_000 >= CALLS * 999, "{good} of {CALLS}");
    assert!(all * 10 <= CALLS * 13, "{all} calls upstream for {CALLS}");
}

#[tokio::test]
async fn a_bad_request_is_not_tried_again_and_says_nothing_against_a_deployment() {
    let upstreams = [
        Upstream::always(json(400, r#"{"error":{"message":"bad"}}"#)).await,
        Upstream::always(json(400, r#"{"error":{"message":"bad"}}"#)).await,
    ];
    let gateway =
        Gateway::start(config(None), pooled(&[&upstreams[0], &upstreams[1]], &serde_json::json!({})));
    for _ in 0..60 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::BAD_REQUEST);
    }
    let sent = [upstreams[0].received().len(), upstreams[1].received().len()];
    assert_eq!(sent.iter().sum::<usize>(), 60);
    assert!(sent.iter().all(|sent| *sent > 10), "both are asked to the end: {sent:?}");
}

#[tokio::test]
async fn every_try_is_in_the_trace_and_what_it_cost_is_counted() {
    let collector = Collector::start().await;
    let dead = Upstream::always(vec![Step::Close]).await;
    let healthy = Upstream::always(json(200, ANSWER)).await;
    // The dead one is tried first now and then: until it is put out.
    let by_chance = serde_json::json!({"balance": {"kind": "weighted"}});
    let gateway = Gateway::start(config(Some(&collector)), pooled(&[&dead, &healthy], &by_chance));
    for _ in 0..20 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
    let calls = collector.calls(20).await;
    let spans = collector.spans();
    let int = |span: &Span, name: &str| span.get(name).parse::<u64>().unwrap_or(0);
    let tried = spans.iter().filter(|span| span.get("error.type") == "upstream_closed").count();
    assert_eq!(tried, dead.received().len());
    assert!(tried > 0);
    for call in calls.iter().filter(|call| call.get("control_tower.attempt") == "2") {
        let tries = spans.iter().filter(|span| span.kind == 3 && span.trace_id == call.trace_id);
        let sum: u64 = tries.map(|span| int(span, "gen_ai.usage.input_tokens")).sum();
        assert!(sum > 3, "a prompt that may have been read counts");
        assert_eq!(int(call, "gen_ai.usage.input_tokens"), sum);
    }
}

#[tokio::test]
async fn another_model_answers_when_nobody_else_does() {
    let dead = Upstream::always(json(503, r#"{"error":{"message":"down"}}"#)).await;
    let healthy = Upstream::always(json(200, ANSWER)).await;
    let mut policy = pooled(&[&dead], &serde_json::json!({"fallbacks": ["pro"]}));
    let mut pro = policy.models[&"pro".parse::<ModelName>().unwrap()].as_ref().clone();
    pro.provider = Arc::new(Provider::new("sim".parse().unwrap(), format!("http://{}/v1", healthy.addr)));
    policy.models.insert(pro.name.clone(), Arc::new(pro));
    let gateway = Gateway::start(config(None), policy);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(healthy.received()[0].json()["model"], "pro-2025");
}

#[tokio::test]
async fn what_a_try_cost_stays_when_a_model_after_it_has_nobody_to_ask() {
    let collector = Collector::start().await;
    let dead = Upstream::always(vec![Step::Close]).await;
    let healthy = Upstream::always(json(200, ANSWER.replace("gpt-4o-mini", "third").as_str())).await;
    let mut policy = pooled(&[&dead], &serde_json::json!({"fallbacks": ["pro", "third"]}));
    // All of its deployments are drained.
    let drained = serde_json::json!({"deployments": [{"id": "d", "provider": "p0", "upstream_model": "pro-2025", "weight": 0}]});
    let drained = Named {
        tenant: None,
        name: "pro".parse().unwrap(),
        revision: 1,
        spec: serde_json::from_value(drained).unwrap(),
    };
    policy.pools.insert("pro".parse().unwrap(), Ok(Arc::new(drained)));
    let mut third = policy.models[&"pro".parse::<ModelName>().unwrap()].as_ref().clone();
    third.name = "third".parse().unwrap();
    third.provider = Arc::new(Provider::new("sim".parse().unwrap(), format!("http://{}/v1", healthy.addr)));
    policy.models.insert(third.name.clone(), Arc::new(third));
    let gateway = Gateway::start(config(Some(&collector)), policy);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let call = collector.call().await;
    let mut tries = collector.spans();
    tries.retain(|span| span.kind == 3);
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    let cost = |span: &Span| span.get("control_tower.cost.total").parse::<Usd>().unwrap_or_default();
    let failed = tries.len() - 1;
    assert!(
        tries[..failed].iter().all(|span| cost(span) > Usd::ZERO),
        "a prompt may have been read: {tries:?}"
    );
    assert_eq!(cost(&call), tries.iter().map(cost).sum::<Usd>());
    assert!(cost(&call) > cost(&tries[failed]));
}

#[tokio::test]
async fn a_pool_that_is_full_says_when_to_come_back() {
    let slow = Upstream::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(400))];
        steps.extend(json(200, ANSWER));
        steps
    })
    .await;
    let policy = serde_json::json!({"queue": {"concurrency": 1, "max_waiting": 1}});
    let gateway = Arc::new(Gateway::start(config(None), pooled(&[&slow], &policy)));
    let call = || {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.post("/v1/chat/completions", chat(false)).await })
    };
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(call());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = answers.pop().unwrap().await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json()["error"]["code"], "queue_full");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    for answer in answers {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_wait_that_breaks_the_promise_of_a_first_token_is_given_up() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let slow = Upstream::start(move |_| {
        let mut steps = vec![Step::Until(held.clone())];
        steps.extend(json(200, ANSWER));
        steps
    })
    .await;
    let mut policy = pooled(&[&slow], &serde_json::json!({"queue": {"concurrency": 1}}));
    for (name, ttft_slo) in [("prompt", Some(Duration::from_millis(100))), ("patient", None)] {
        let promise = Ok(RoutePolicy { ttft_slo, ..RoutePolicy::default() });
        let route =
            Route { policy: promise, ..Route::new(name.parse().unwrap(), "gpt-4o-mini".parse().unwrap()) };
        policy.shared_routes.insert(route.name.clone(), Arc::new(route));
    }
    let gateway = Arc::new(Gateway::start(config(None), policy));
    let call = |route: &str| {
        let (gateway, body) = (gateway.clone(), chat(false).replace("gpt-4o-mini", route));
        tokio::spawn(async move { gateway.post("/v1/chat/completions", body).await })
    };
    let first = call("patient");
    while slow.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (second, refused) = (call("patient"), call("prompt").await.unwrap());
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    gate.add_permits(2);
    for answer in [first, second] {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(slow.received().len(), 2);
}

#[tokio::test]
async fn a_wait_that_leaves_the_model_too_little_of_the_promise_is_refused() {
    // 300 ms to the first token, and an end that waits for its gate, but for those that teach the pool.
    let (gate, taught) = (Arc::new(Semaphore::new(0)), AtomicUsize::new(0));
    let held = gate.clone();
    let slow = Upstream::start(move |_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(300))];
        steps.extend(streamed("gpt-4o-mini", "Hi"));
        if taught.fetch_add(1, Ordering::Relaxed) == 5 {
            steps.insert(2, Step::Until(held.clone()));
        }
        steps
    })
    .await;
    let mut policy = pooled(&[&slow], &serde_json::json!({"queue": {"concurrency": 1}}));
    // One promise leaves time for the wait, of some 300 ms, and for the model's own time besides; the other does not.
    for (name, ttft_slo) in [("short", 450), ("long", 60_000)] {
        let ttft_slo = Some(Duration::from_millis(ttft_slo));
        let promise = Ok(RoutePolicy { ttft_slo, ..RoutePolicy::default() });
        let route =
            Route { policy: promise, ..Route::new(name.parse().unwrap(), "gpt-4o-mini".parse().unwrap()) };
        policy.shared_routes.insert(route.name.clone(), Arc::new(route));
    }
    let gateway = Arc::new(Gateway::start(config(None), policy));
    let call = |route: &str| {
        let (gateway, body) = (gateway.clone(), chat(true).replace("gpt-4o-mini", route));
        tokio::spawn(async move { gateway.post("/v1/chat/completions", body).await })
    };
    for _ in 0..5 {
        // What need not wait is asked, whatever is promised.
        assert_eq!(call("short").await.unwrap().status, StatusCode::OK);
    }
    let first = call("long");
    while slow.received().len() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = call("short");
    // Without the refusal it would wait behind the first, which goes on when it has come.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = call("long");
    gate.add_permits(1);
    let refused = refused.await.unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert!(refused.text().contains("longer than the call may wait"), "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    for answer in [first, second] {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(slow.received().len(), 7, "nobody was asked for what was refused");
}

#[tokio::test]
async fn a_deployment_that_knows_no_such_model_is_no_black_hole() {
    let gone = Upstream::always(json(404, r#"{"error":{"message":"The deployment does not exist"}}"#)).await;
    let healthy = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(None), pooled(&[&gone, &healthy], &serde_json::json!({})));
    for _ in 0..60 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
    assert!(gone.received().len() < 12, "it is put out: {}", gone.received().len());
}

#[tokio::test]
async fn a_deployment_that_says_in_milliseconds_when_to_come_back_is_left_alone_until_then() {
    let head = "HTTP/1.1 429 X\r\ncontent-type: application/json\r\nretry-after-ms: 60000\r\ncontent-length: 2\r\n\r\n{}";
    let limited = Upstream::always(vec![Step::Send(head.into())]).await;
    let healthy = Upstream::always(json(200, ANSWER)).await;
    let by_chance = serde_json::json!({"balance": {"kind": "weighted"}});
    let gateway = Gateway::start(config(None), pooled(&[&limited, &healthy], &by_chance));
    for _ in 0..60 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
    assert_eq!(limited.received().len(), 1);
}

#[tokio::test]
async fn a_request_larger_than_an_accounts_limit_keeps_nobody_else_away() {
    let limited = |received: &Received| {
        let is_large = received.body.len() > 1_000;
        if is_large { json(429, r#"{"error":{"message":"Request too large"}}"#) } else { json(200, ANSWER) }
    };
    let upstreams =
        [Upstream::start(limited).await, Upstream::start(limited).await, Upstream::start(limited).await];
    let gateway = Gateway::start(
        config(None),
        pooled(&[&upstreams[0], &upstreams[1], &upstreams[2]], &serde_json::json!({})),
    );
    let large = chat(false).replacen("\"content\":\"", &format!("\"content\":\"{}", "long ".repeat(300)), 1);
    assert!(large.len() > 1_000);
    let answer = gateway.post("/v1/chat/completions", large).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(upstreams.iter().map(|upstream| upstream.received().len()).sum::<usize>(), 2);
    for _ in 0..20 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn without_time_nobody_else_is_asked_or_blamed() {
    let slow = |received: &Received| {
        let is_slow = String::from_utf8_lossy(&received.body).contains("think");
        if is_slow { vec![Step::Hang] } else { json(200, ANSWER) }
    };
    let upstreams = [Upstream::start(slow).await, Upstream::start(slow).await];
    let mut config = config(None);
    config.timeouts.first_byte_ms = 400;
    let policy = serde_json::json!({"retries": {"per_try_timeout_whole_ms": 400}});
    let gateway = Gateway::start(config, pooled(&[&upstreams[0], &upstreams[1]], &policy));
    let thinking = chat(false).replacen("\"content\":\"", "\"content\":\"think ", 1);
    assert!(thinking.contains("think"));
    let answer = gateway.post("/v1/chat/completions", thinking).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(upstreams.iter().map(|upstream| upstream.received().len()).sum::<usize>(), 1);
    // The other one was not put out for what it was never given time to do.
    for _ in 0..10 {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_call_that_waits_keeps_to_the_pools_under_which_it_was_admitted() {
    let now = Timestamp::from_unix_seconds(1_767_225_600);
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let full = Upstream::start(move |_| {
        let mut steps = vec![Step::Until(held.clone())];
        steps.extend(json(503, r#"{"error":{"message":"down"}}"#));
        steps
    })
    .await;
    let (first, later) =
        (Upstream::always(json(200, ANSWER)).await, Upstream::always(json(200, ANSWER)).await);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/control.db", dir.path().display());
    let control = Control::open(&url).await.unwrap();
    control.tenants().create(NewTenant::new("acme".parse().unwrap()), now).await.unwrap();
    let key = control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), now).await.unwrap();
    let admin = control.admin_keys().create("test", now).await.unwrap();
    for (name, upstream) in [("full", &full), ("first", &first), ("later", &later)] {
        let provider = NewProvider::new(name.parse().unwrap(), format!("http://{}/v1", upstream.addr));
        control.providers().create(provider, now).await.unwrap();
    }
    for (name, provider) in [("gpt-4o-mini", "full"), ("other", "first")] {
        let model = serde_json::from_value(serde_json::json!({"name": name, "provider": provider})).unwrap();
        control.models().create(model, now).await.unwrap();
    }
    let put = async |name: &str, spec: serde_json::Value| {
        let name = name.parse().unwrap();
        control.documents().put(Kind::Pool, None, &name, &spec, None, now).await.unwrap();
    };
    let deployment = |provider: &str, weight: u32| serde_json::json!({"id": provider, "provider": provider, "upstream_model": "other", "weight": weight});
    put("gpt-4o-mini", serde_json::json!({"fallbacks": ["other"], "queue": {"concurrency": 1}})).await;
    put(
        "other",
        serde_json::json!({"deployments": [deployment("first", 1)], "balance": {"kind": "weighted"}}),
    )
    .await;

    let stop = CancellationToken::new();
    let snapshots = Snapshots::open(&url, Duration::from_millis(20), stop.clone()).await.unwrap();
    snapshots.loaded().await;
    let gateway = Arc::new(Gateway::under(config(None), snapshots.clone()));
    let bearer: http::HeaderValue = format!("Bearer {}", key.secret).parse().unwrap();
    let call = |model: &str| {
        let (gateway, bearer) = (gateway.clone(), bearer.clone());
        let body = chat(false).replace("gpt-4o-mini", model);
        tokio::spawn(async move {
            let mut request = gateway.request("/v1/chat/completions", body);
            request.headers_mut().insert("authorization", bearer);
            gateway.call(request).await
        })
    };
    let mut calls = vec![call("gpt-4o-mini")];
    while full.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    calls.push(call("gpt-4o-mini"));
    live_when(&gateway, &admin.secret, |live| live.pools.iter().any(|pool| pool.queue.waiting == 1)).await;
    // While it waits, the pool that it may fall back to gets a deployment that is nearly always preferred.
    let before = snapshots.status().version;
    let both = serde_json::json!([deployment("first", 1), deployment("later", 1_000)]);
    put("other", serde_json::json!({"deployments": both, "balance": {"kind": "weighted"}})).await;
    while snapshots.status().version == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while later.received().is_empty() {
        assert_eq!(call("other").await.unwrap().status, StatusCode::OK);
    }
    let seen = (first.received().len(), later.received().len());
    gate.add_permits(100);
    for call in calls {
        assert_eq!(call.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!((first.received().len(), later.received().len()), (seen.0 + 2, seen.1));
    stop.cancel();
}
