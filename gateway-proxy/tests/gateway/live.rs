//! What goes on in a gateway, as whoever holds an admin key sees it.

use crate::pools::pooled;
use crate::support::{Answer, Gateway, KEY, Step, Upstream, chat, config, json, snapshot};
use bytes::Bytes;
use contracts::Usd;
use contracts::live::{BudgetKind, Counted, DeploymentState, GatewayAnswer, GatewayLive, Live, Spending};
use contracts::policy::budget::Budget;
use contracts::policy::plan::Plan;
use contracts::policy::{KeyPolicy, Named, Reaching, Snapshot};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ADMIN: &str = "ct-admin-0123456789abcdef";

/// Costs 3 x $1 + 2 x $2 a million: 0.000007.
const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

const COST: Usd = Usd::from_picos(7_000_000);

fn administered(mut snapshot: Snapshot) -> Snapshot {
    snapshot.admin_keys.insert(control::secrets::hash(ADMIN));
    snapshot
}

fn named<D>(name: &str, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision: 1, spec })
}

fn budgeted(mut snapshot: Snapshot, name: &str, json: &serde_json::Value) -> Snapshot {
    let budget: Budget = serde_json::from_value(json.clone()).unwrap();
    snapshot.budgets.insert(None, budget.reach(), Ok(named(name, budget)));
    snapshot
}

fn request(gateway: &Gateway, method: Method, key: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = gateway.request(contracts::live::PATH, "");
    *request.method_mut() = method;
    let headers = request.headers_mut();
    headers.remove("authorization");
    if let Some(key) = key {
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

async fn ask(gateway: &Gateway, key: Option<&str>) -> Answer {
    gateway.call(request(gateway, Method::GET, key)).await
}

async fn live(gateway: &Gateway) -> GatewayLive {
    live_to(gateway, ADMIN).await
}

async fn live_to(gateway: &Gateway, admin: &str) -> GatewayLive {
    let answer = ask(gateway, Some(admin)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// What goes on as soon as `is` is true of it.
pub async fn live_when(gateway: &Gateway, admin: &str, is: impl Fn(&GatewayLive) -> bool) -> GatewayLive {
    for _ in 0..500 {
        let live = live_to(gateway, admin).await;
        if is(&live) {
            return live;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never comes to that: {:#?}", live_to(gateway, admin).await);
}

/// A short request: a budget holds little for it.
fn short() -> String {
    chat(false).replacen('{', r#"{"max_tokens":2,"service_tier":"default","#, 1)
}

async fn good_call(gateway: &Gateway) {
    let answer = gateway.post("/v1/chat/completions", short()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn only_an_admin_key_is_let_in() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(config(None), administered(snapshot(upstream.addr, false)));
    for (key, status, code) in [
        (None, StatusCode::UNAUTHORIZED, "invalid_api_key"),
        (Some("ct-admin-wrong-0123456789"), StatusCode::UNAUTHORIZED, "invalid_api_key"),
        (Some("ct-revoked-key-0123456789"), StatusCode::UNAUTHORIZED, "invalid_api_key"),
        (Some(KEY), StatusCode::FORBIDDEN, "admin_key_required"),
    ] {
        let answer = ask(&gateway, key).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["request_id"], answer.header("x-request-id"));
    }
    let wrong = gateway.call(request(&gateway, Method::POST, Some(ADMIN))).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.header("allow"), "GET");
    // To call models it is no key.
    let mut call = gateway.request("/v1/chat/completions", short());
    call.headers_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
    assert_eq!(gateway.call(call).await.status, StatusCode::UNAUTHORIZED);
    let flood = live(&gateway).await.flood;
    assert_eq!((flood.addresses, flood.held_up, flood.capacity), (1, 0, 65_536));
}

#[tokio::test]
async fn a_call_shows_in_traffic_budgets_and_plans() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let mut policy = administered(snapshot(upstream.addr, false));
    let plan: Plan = serde_json::from_value(
        serde_json::json!({"requests_per_minute": 100, "dollars_per_day": "1", "dollars_per_month": {"soft": "2"}}),
    )
    .unwrap();
    let hash = control::secrets::hash(KEY);
    let key = KeyPolicy { plan: Some(Ok(named("gold", plan))), ..KeyPolicy::clone(&policy.keys[&hash]) };
    policy.keys.insert(hash, Arc::new(key));
    let scope = serde_json::json!({"kind": "tenant", "tenant": "acme"});
    let policy = budgeted(
        policy,
        "acme-monthly",
        &serde_json::json!({"scope": scope, "limit": "0.01", "soft": "0.005"}),
    );
    let policy = budgeted(
        policy,
        "others",
        &serde_json::json!({"scope": {"kind": "organisation", "organisation": "o"}, "limit": "1"}),
    );
    let gateway = Gateway::start(config(None), policy);

    let before = live(&gateway).await;
    assert_eq!(before.instance, "gateway-1");
    assert_eq!(before.traffic.since_start.calls, 0);
    assert_eq!(
        before.budgets.len(),
        2,
        "plans that nobody was charged under are not shown: {:?}",
        before.budgets
    );
    let monthly = &before.budgets[0];
    assert_eq!((monthly.name.as_str(), monthly.tenant.as_ref().unwrap().as_str()), ("acme-monthly", "acme"));
    assert_eq!(
        (monthly.kind, &monthly.counted, monthly.spent),
        (BudgetKind::Budget, &Counted::Gateway, Usd::ZERO)
    );
    let limit: Usd = "0.01".parse().unwrap();
    assert_eq!((monthly.limit, monthly.left), (Some(limit), Some(limit)));
    assert!(monthly.ends_ms.unwrap() > before.at_ms);
    assert_eq!((before.budgets[1].name.as_str(), &before.budgets[1].tenant), ("others", &None));

    good_call(&gateway).await;
    let refused = gateway.post("/v1/chat/completions", short().replace("gpt-4o-mini", "none")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let after = live(&gateway).await;
    let traffic = after.traffic;
    for totals in
        [traffic.since_start, traffic.last_10_s.totals, traffic.last_minute.totals, traffic.today.totals]
    {
        assert_eq!((totals.calls, totals.failed), (2, 1));
        assert_eq!((totals.input_tokens, totals.output_tokens, totals.cost), (3, 2, COST));
    }
    assert_eq!(traffic.in_flight, 0);
    let monthly = &after.budgets[0];
    assert_eq!((monthly.spent, monthly.held, monthly.left), (COST, Usd::ZERO, Some(limit - COST)));
    assert_eq!(monthly.own, Spending { spent: COST, held: Usd::ZERO });
    let plans: Vec<_> = after.budgets.iter().filter(|budget| budget.kind == BudgetKind::Plan).collect();
    let shown: Vec<_> = plans.iter().map(|plan| (plan.account.as_str(), plan.limit, plan.spent)).collect();
    let one: Usd = "1".parse().unwrap();
    assert_eq!(shown, [("plan|key|key-1|day", Some(one), COST), ("plan|key|key-1|month", None, COST)]);
    let [rate] = after.rates.as_slice() else { panic!("{:?}", after.rates) };
    assert_eq!((rate.plan.as_str(), rate.tenant.as_ref().unwrap().as_str()), ("gold", "acme"));
    assert_eq!(rate.key.as_ref().unwrap().as_str(), "key-1");
    // One call was refused for its model before it was counted against the plan.
    assert_eq!(rate.requests.map(|level| (level.limit, level.remaining)), Some((100, 99)));
    assert!(after.spool.pending_bytes > 0, "without a collector the call waits: {:?}", after.spool);
    assert_eq!((after.policy.version, after.policy.routes), (1, 1));
}

#[tokio::test]
async fn a_breaker_that_tripped_shows_as_open_and_says_why() {
    let dead = Upstream::always(json(503, r#"{"error":{"message":"down"}}"#)).await;
    let healthy = Upstream::always(json(200, ANSWER)).await;
    let policy = serde_json::json!({"balance": {"kind": "weighted"}});
    let gateway = Gateway::start(config(None), administered(pooled(&[&dead, &healthy], &policy)));
    let [pool] = live(&gateway).await.pools.try_into().unwrap();
    assert_eq!(pool.model.as_str(), "gpt-4o-mini");
    assert!(pool.health.deployments.iter().all(|one| one.state != DeploymentState::Out), "{pool:?}");
    let mut calls = 0;
    let out = loop {
        good_call(&gateway).await;
        calls += 1;
        let live = live(&gateway).await;
        let first = live.pools[0].health.deployments[0].clone();
        if first.state == DeploymentState::Out {
            break first;
        }
        assert!(calls < 200, "it is never put out: {first:?}");
    };
    assert_eq!((out.id.as_str(), out.outstanding), ("d0", 0));
    assert!(out.faults > 0 && out.ejections == 1 && out.ready_in_ms.unwrap() > 0, "{out:?}");
    assert!(!out.why.unwrap().is_empty());
    let live = live(&gateway).await;
    assert_eq!(live.pools[0].health.deployments[1].state, DeploymentState::In);
    assert_eq!(live.pools[0].health.deployments[1].succeeded, calls);
}

#[tokio::test]
async fn who_waits_in_a_queue_shows_and_so_does_what_is_held_meanwhile() {
    let hanging = Upstream::always(vec![Step::Hang]).await;
    let policy = serde_json::json!({"queue": {"concurrency": 1}});
    let policy = administered(pooled(&[&hanging], &policy));
    let scope = serde_json::json!({"kind": "tenant", "tenant": "acme"});
    let policy = budgeted(policy, "acme", &serde_json::json!({"scope": scope, "limit": "1"}));
    let gateway = Arc::new(Gateway::start(config(None), policy));
    let call = || {
        let gateway = gateway.clone();
        tokio::spawn(async move { gateway.post("/v1/chat/completions", short()).await })
    };
    let calls = [call(), call(), call()];
    let live = live_when(&gateway, ADMIN, |live| live.pools[0].queue.waiting == 2).await;
    assert_eq!(live.traffic.in_flight, 3);
    let queue = &live.pools[0].queue;
    assert_eq!((queue.running, queue.concurrency), (1, Some(1)));
    let band = queue.bands.iter().find(|band| band.waiting > 0).unwrap();
    assert_eq!((band.band.as_str(), band.running), ("standard", 1));
    let [tenant] = band.tenants.as_slice() else { panic!("{band:?}") };
    assert_eq!((tenant.tenant.as_str(), tenant.running, tenant.waiting), ("acme", 1, 2));
    assert!(queue.longest_wait_ms().is_some() && tenant.longest_wait_ms == band.longest_wait_ms);
    let budget = &live.budgets[0];
    assert!(
        budget.held > Usd::ZERO && budget.left == Some(budget.limit.unwrap() - budget.held),
        "{budget:?}"
    );
    assert_eq!(live.pools[0].health.deployments[0].outstanding, 1);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    live_when(&gateway, ADMIN, |live| live.traffic.in_flight == 0 && live.pools[0].queue.waiting == 0).await;
}

/// A Redis of this test's own.
struct Redis {
    process: Child,
    url: String,
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let process =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed");
        Self { process, url: format!("redis://127.0.0.1:{port}") }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

#[tokio::test]
async fn two_gateways_on_one_redis_tell_of_the_same_use_and_together_of_it_once() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let redis = Redis::start();
    let scope = serde_json::json!({"kind": "tenant", "tenant": "acme"});
    let budget = serde_json::json!({"scope": scope, "limit": "1"});
    let policy = budgeted(administered(snapshot(upstream.addr, false)), "acme", &budget);
    let start = || {
        let mut config = config(None);
        config.budgets.redis.clone_from(&redis.url);
        // A new Redis keeps closed for a lease.
        config.budgets.lease_ms = 300;
        Gateway::start(config, policy.clone())
    };
    let gateways = [start(), start()];
    for (gateway, calls) in gateways.iter().zip([1, 2]) {
        for _ in 0..calls {
            for tried in 0.. {
                let answer = gateway.post("/v1/chat/completions", short()).await;
                if answer.status == StatusCode::OK {
                    break;
                }
                assert!(tried < 200, "{}", answer.text());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let settled =
        |live: &GatewayLive| live.budgets[0].spent == COST.times(3) && live.budgets[0].held == Usd::ZERO;
    let lives =
        [live_when(&gateways[0], ADMIN, settled).await, live_when(&gateways[1], ADMIN, settled).await];
    let [one, two] = &lives;
    let Counted::Shared { ledger } = &one.budgets[0].counted else { panic!("{:?}", one.budgets) };
    assert!(!ledger.is_empty());
    assert_eq!(one.budgets[0].counted, two.budgets[0].counted);
    assert_eq!((one.budgets[0].own.spent, two.budgets[0].own.spent), (COST, COST.times(2)));
    let answers =
        lives.map(|live| GatewayAnswer { url: String::new(), error: None, live: Some(Box::new(live)) });
    let live = Live::of(0, answers.into());
    assert_eq!(live.budgets.len(), 1);
    assert_eq!((live.budgets[0].spent, live.traffic.since_start.cost), (COST.times(3), COST.times(3)));

    drop(redis);
    let away =
        live_when(&gateways[0], ADMIN, |live| matches!(live.budgets[0].counted, Counted::Away { .. })).await;
    assert_eq!(away.budgets[0].spent, COST, "what it knows of its own");
}
