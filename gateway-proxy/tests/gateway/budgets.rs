//! Budgets: what is held for a call, what it is charged, and to whom.

use super::limits::{ANSWER, named};
use crate::support::{Collector, Gateway, KEY, Step, Upstream, chat, config, json, snapshot, sse};
use contracts::policy::budget::Budget;
use contracts::policy::{KeyPolicy, Model, Reaching, Snapshot, TenantPolicy};
use contracts::{Timestamp, Usd};
use http::StatusCode;
use runtime::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn budgeted(upstream: &Upstream, budgets: &[serde_json::Value]) -> Snapshot {
    let mut snapshot = snapshot(upstream.addr, false);
    for (n, json) in budgets.iter().enumerate() {
        let budget: Budget = serde_json::from_value(json.clone()).unwrap();
        budget.validate().unwrap();
        let reach = budget.reach();
        snapshot.budgets.insert(None, reach, Ok(named(&format!("b{n}"), budget)));
    }
    snapshot
}

/// A request whose answer has at most two tokens.
fn short() -> String {
    chat(false).replacen('{', r#"{"max_tokens":2,"service_tier":"default","#, 1)
}
#[tokio::test]
async fn a_budget_is_reserved_settled_and_not_overshot() {
    let collector = Collector::start().await;
    let upstream = Upstream::always(json(200, ANSWER)).await;
    // A call holds at most a few hundred microdollars and costs 7.
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.001", "soft": "0.00002", "window": "total"});
    let gateway = Arc::new(Gateway::start(config(Some(&collector)), budgeted(&upstream, &[budget])));
    let mut calls = Vec::new();
    for _ in 0..8 {
        let gateway = gateway.clone();
        calls.push(tokio::spawn(async move {
            let mut good = 0;
            for _ in 0..60 {
                let answer = gateway.post("/v1/chat/completions", short()).await;
                match answer.status {
                    StatusCode::OK => good += 1,
                    StatusCode::TOO_MANY_REQUESTS => {
                        let json = answer.json();
                        assert_eq!(json["error"]["code"], "insufficient_quota");
                        assert_eq!(answer.header("x-should-retry"), "false");
                        assert!(json["error"]["message"].as_str().unwrap().contains("0.001"), "{json}");
                    }
                    other => panic!("{other}"),
                }
            }
            good
        }));
    }
    let mut good = 0;
    for call in calls {
        good += call.await.unwrap();
    }
    let spent = Usd::from_picos(7_000_000).times(good);
    let limit: Usd = "0.001".parse().unwrap();
    assert!(spent <= limit, "{spent}");
    // What is left is less than one call must be able to cost.
    assert!(limit - spent < "0.0003".parse().unwrap(), "{spent}");
    assert_eq!(upstream.received().len() as u64, good, "what is refused is not sent");

    let events = collector.events(1).await;
    let [event] = &events[..] else { panic!("passed more than once: {events:?}") };
    assert_eq!(
        (event.name.as_str(), event.get("control_tower.limit.name")),
        ("control_tower.soft_limit", "budget")
    );
    let of = |name| event.get(name).parse::<Usd>().unwrap();
    assert_eq!(
        (of("control_tower.limit.soft"), of("control_tower.limit.hard")),
        ("0.00002".parse().unwrap(), limit)
    );
    assert_eq!(of("control_tower.limit.used"), Usd::from_picos(21_000_000));
    assert_eq!(event.trace_id.len(), 32);
}

#[tokio::test]
async fn each_call_is_charged_to_its_own_key_and_its_own_tags() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let spent = |scope: serde_json::Value| serde_json::json!({"scope": scope, "limit": "0"});
    let of_key = spent(serde_json::json!({"kind": "key", "key": "key-1"}));
    let of_tag = spent(serde_json::json!({"kind": "tag", "tenant": "acme", "tag": "batch"}));
    let mut policy = budgeted(&upstream, &[of_key, of_tag]);
    let own = KeyPolicy::clone(&policy.keys[&control::secrets::hash(KEY)]);
    policy.keys.insert(
        control::secrets::hash("another"),
        Arc::new(KeyPolicy { id: "key-2".parse().unwrap(), ..own }),
    );
    let gateway = Gateway::start(config(None), policy);
    // Twice, for what was found out about the first of each serves the second.
    for _ in 0..2 {
        for (key, tags, status) in [
            (KEY, None, StatusCode::TOO_MANY_REQUESTS),
            ("another", None, StatusCode::OK),
            ("another", Some("batch"), StatusCode::TOO_MANY_REQUESTS),
            ("another", Some("other"), StatusCode::OK),
        ] {
            let mut request = gateway.request("/v1/chat/completions", short());
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
            if let Some(tags) = tags {
                request.headers_mut().insert("x-control-tower-tags", tags.parse().unwrap());
            }
            let answer = gateway.call(request).await;
            assert_eq!(answer.status, status, "{key} {tags:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_budget_that_renews_soon_is_waited_for_and_says_for_how_long() {
    let dear = ANSWER.replace("\"completion_tokens\":2", "\"completion_tokens\":5000");
    let upstream = Upstream::always(json(200, &dear)).await;
    let asked = |scope: serde_json::Value, window: &'static str| {
        let budget = serde_json::json!({"scope": scope, "limit": "0.009", "window": window});
        let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
        async move {
            assert_eq!(gateway.post("/v1/chat/completions", short()).await.status, StatusCode::OK);
            gateway.post("/v1/chat/completions", short()).await
        }
    };
    let tenant = || serde_json::json!({"kind": "tenant", "tenant": "acme"});
    let refused = asked(tenant(), "hour").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let error = &refused.json()["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&"rate_limit_exceeded".into(), &true.into()));
    assert!((1..=3_600).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(refused.header("x-should-retry"), "");

    let refused = asked(tenant(), "month").await;
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert!((1..=31 * 86_400).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(refused.header("x-should-retry"), "false");

    let refused = asked(tenant(), "total").await;
    assert!(refused.text().contains("budget of tenant acme: "), "{}", refused.text());
    assert!(refused.text().contains("of 0.009 dollars"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "");

    // What does not fit into an empty budget need not be tried again.
    let budget = serde_json::json!({"scope": tenant(), "limit": "0.000001", "window": "minute"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    let refused = gateway.post("/v1/chat/completions", short()).await;
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), ("", "false"));
}

#[tokio::test]
async fn what_the_request_does_not_bound_is_not_sent_under_a_budget() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.3"});
    let policy = || budgeted(&upstream, std::slice::from_ref(&budget));
    let gateway = Gateway::start(config(None), policy());
    let with = |more: &str| short().replacen('{', &format!("{{{more},"), 1);
    let search = with(r#""web_search_options":{}"#);
    let file = short().replace("\"Say hi\"", r#"[{"type":"file","file":{"file_id":"f"}}]"#);
    for (body, param) in [(&search, "web_search_options"), (&file, "messages")] {
        let refused = gateway.post("/v1/chat/completions", body.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
        let error = &refused.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&"cost_not_bounded".into(), &param.into()));
    }
    // Where it is known how long a prompt can be, that much is held: $0.2 of them.
    let known = |tokens: u64| {
        let mut config = config(None);
        config.budgets.context_tokens = tokens.try_into().ok();
        Gateway::start(config, policy())
    };
    assert_eq!(known(200_000).post("/v1/chat/completions", file.clone()).await.status, StatusCode::OK);
    let refused = known(400_000).post("/v1/chat/completions", file).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let refused = known(200_000).post("/v1/chat/completions", search.clone()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    // Without a budget it is the provider's affair.
    let free = Gateway::start(config(None), snapshot(upstream.addr, false));
    assert_eq!(free.post("/v1/chat/completions", search).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_charged_in_full_passes_a_soft_limit_too() {
    let collector = Collector::start().await;
    // It does not say what it used, and what it was asked refers to a file.
    let upstream = Upstream::always(json(200, &ANSWER.replace("\"usage\"", "\"not usage\""))).await;
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "10", "soft": "0.1", "window": "total"});
    let mut config = config(Some(&collector));
    config.budgets.context_tokens = 200_000_u64.try_into().ok();
    let gateway = Gateway::start(config, budgeted(&upstream, &[budget]));
    let file = short().replacen(
        "\"Say hi\"",
        r#"[{"type":"text","text":"Say hi"},{"type":"file","file":{"file_id":"f"}}]"#,
        1,
    );
    let answer = gateway.post("/v1/chat/completions", file).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(collector.call().await.get("control_tower.usage.source"), "estimated");
    let events = collector.events(1).await;
    let used: Usd = events[0].get("control_tower.limit.used").parse().unwrap();
    assert!(used > "0.2".parse().unwrap(), "{used}");
}

#[tokio::test]
async fn the_tier_that_a_provider_may_choose_is_reserved_for() {
    // Of 100 tokens in and 2 out: $0.0002 at the standard tier, and a hundredfold of it at priority.
    let served = ANSWER.replacen('{', r#"{"service_tier":"priority","#, 1);
    let upstream = Upstream::always(json(200, &served)).await;
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.001"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    let asked = |tier: &str| short().replace(r#""default""#, tier);
    for tier in ["null", "\"auto\"", "\"priority\"", "\"what\""] {
        let refused = gateway.post("/v1/chat/completions", asked(tier)).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{tier}");
    }
    assert_eq!(gateway.post("/v1/chat/completions", asked("\"flex\"")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_comes_slowly_is_charged_to_the_window_in_which_it_is_admitted() {
    let dear = ANSWER.replace("\"completion_tokens\":2", "\"completion_tokens\":5000");
    let upstream = Upstream::always(json(200, &dear)).await;
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.009", "window": "month"});
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_793_491_199));
    let gateway = Gateway::start_at(config(None), budgeted(&upstream, &[budget]), clock.clone());
    // In the last second of October all is spent, and a request begins.
    let mut slow = TcpStream::connect(gateway.addr).await.unwrap();
    let (body, waiting) = (short(), Duration::from_millis(300));
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body.as_bytes()[..9]).await.unwrap();
    tokio::time::sleep(waiting).await;
    let status = async || gateway.post("/v1/chat/completions", short()).await.status;
    assert_eq!((status().await, status().await), (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS));
    // It ends in November, of which nothing is spent yet, and spends it.
    clock.advance(Duration::from_secs(2));
    slow.write_all(&body.as_bytes()[9..]).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(status().await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_organisations_budget_is_not_told_to_its_tenants() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let budget =
        serde_json::json!({"scope": {"kind": "organisation", "organisation": "group"}, "limit": "0.000123"});
    let mut policy = budgeted(&upstream, &[budget]);
    let hash = control::secrets::hash(KEY);
    let old = KeyPolicy::clone(&policy.keys[&hash]);
    let organisation = Some("group".parse().unwrap());
    let tenant = Arc::new(TenantPolicy { organisation, ..TenantPolicy::clone(&old.tenant) });
    policy.keys.insert(hash, Arc::new(KeyPolicy { tenant, ..old }));
    let keys = policy.keys.clone();
    let gateway = Gateway::start(config(None), policy);
    let refused = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    assert!(!refused.text().contains("0.0"), "{}", refused.text());

    let budget = serde_json::json!({"scope": {"kind": "organisation", "organisation": "group"}, "limit": "1", "soft": "0.000003"});
    let mut soft = budgeted(&upstream, &[budget]);
    soft.keys = keys;
    let gateway = Gateway::start(config(None), soft);
    gateway.post("/v1/chat/completions", short()).await;
    let told = gateway.post("/v1/chat/completions", short()).await;
    assert_eq!(told.header("x-control-tower-soft-limit"), "your organisation budget_per_month");
}

#[tokio::test]
async fn an_answer_of_open_length_is_bounded_where_a_budget_must_know() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let budget = serde_json::json!({"scope": {"kind": "key", "key": "key-1"}, "limit": "1"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    gateway.post("/v1/chat/completions", chat(false)).await;
    gateway.post("/v1/chat/completions", short()).await;
    let sent = upstream.received();
    assert_eq!(sent[0].json()["max_tokens"], 4096);
    assert_eq!(sent[1].json()["max_tokens"], 2, "what the client says stays");
}

#[tokio::test]
async fn what_bounds_an_answer_is_what_the_upstream_reads_and_what_is_reserved() {
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let budget = serde_json::json!({"scope": {"kind": "key", "key": "key-1"}, "limit": "1"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    let ask = |more: &str| {
        gateway.post("/v1/chat/completions", chat(false).replacen('{', &format!("{{{more},"), 1))
    };
    for (more, says) in [
        (r#""max_tokens":null"#, r#""max_tokens":4096"#),
        (r#""max_completion_tokens":null"#, r#""max_tokens":4096"#),
        (r#""max_tokens":null,"max_completion_tokens":9"#, r#""max_tokens":9"#),
        (r#""max_tokens":5,"max_completion_tokens":9"#, r#""max_tokens":5"#),
    ] {
        let answer = ask(more).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let received = upstream.received();
        let sent = String::from_utf8(received.last().unwrap().body.clone()).unwrap();
        assert!(sent.contains(says), "{sent}");
        assert_eq!(sent.matches("\"max_tokens\"").count(), 1, "{sent}");
    }
    let sent = upstream.received().len();
    for more in [r#""max_tokens":-1"#, r#""max_tokens":1,"max_completion_tokens":-1"#] {
        let answer = ask(more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.text().contains("below zero"), "{}", answer.text());
    }
    // The greater of both, as many answers as are asked for, and a number beyond any: more than a dollar.
    for more in [
        r#""max_tokens":1,"max_completion_tokens":600000"#,
        r#""max_tokens":1,"n":600000"#,
        r#""max_tokens":99999999999999999999"#,
    ] {
        assert_eq!(ask(more).await.status, StatusCode::TOO_MANY_REQUESTS, "{more}");
    }
    let prompts = vec!["a"; 600];
    let many = serde_json::json!({"model": "gpt-4o-mini", "prompt": prompts, "max_tokens": 1_000});
    assert_eq!(gateway.post("/v1/completions", many.to_string()).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(upstream.received().len(), sent, "what is refused is not sent");
}

/// `snapshot` with the first model known upstream as `upstream_model` and priced as `price_as`.
fn known_as(mut snapshot: Snapshot, upstream_model: &str, price_as: Option<&str>) -> Snapshot {
    let name = "gpt-4o-mini".parse().unwrap();
    let old = Model::clone(&snapshot.models[&name]);
    let model = Model { upstream_model: upstream_model.into(), price_as: price_as.map(Into::into), ..old };
    snapshot.models.insert(name, Arc::new(model));
    snapshot
}

#[tokio::test]
async fn what_is_reserved_and_what_is_charged_have_one_price() {
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.0003"});
    // A deployment with a name of its own, whose answers name a model that has a price.
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let gateway = Gateway::start(
        config(None),
        known_as(budgeted(&upstream, std::slice::from_ref(&budget)), "prod-chat", None),
    );
    let refused = gateway.post("/v1/chat/completions", short()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let error = &refused.json()["error"];
    assert_eq!((&error["code"], &error["fault"]), (&"model_not_priced".into(), &"policy".into()));
    assert!(error["message"].as_str().unwrap().contains("\"prod-chat\" at \"sim\""), "{error}");
    assert!(upstream.received().is_empty());
    // Without a budget it is asked as before.
    let free = Gateway::start(config(None), known_as(snapshot(upstream.addr, false), "prod-chat", None));
    let answer = free.post("/v1/chat/completions", short()).await;
    assert_eq!((answer.status, answer.header("x-control-tower-cost-usd")), (StatusCode::OK, "0.000007"));

    // The answer names a dearer model: what is charged is what was reserved for.
    let dear = ANSWER.replace("gpt-4o-mini", "dear");
    let upstream = Upstream::always(json(200, &dear)).await;
    let policy = known_as(budgeted(&upstream, &[budget]), "prod-chat", Some("pro-2025"));
    let gateway = Gateway::start(config(None), policy);
    let answer = gateway.post("/v1/chat/completions", short()).await;
    assert_eq!((answer.status, answer.header("x-control-tower-cost-usd")), (StatusCode::OK, "0.000007"));
    assert_eq!(gateway.post("/v1/chat/completions", short()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_no_call_used_is_given_back() {
    let upstream = Upstream::always(json(500, r#"{"error":{"message":"no"}}"#)).await;
    let budget = serde_json::json!({"scope": {"kind": "tag", "tenant": "acme", "tag": "team:search"}, "limit": "0.001"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    for _ in 0..50 {
        let mut request = gateway.request("/v1/chat/completions", short());
        request.headers_mut().insert("x-control-tower-tags", "team:search, env:prod".parse().unwrap());
        assert_eq!(gateway.call(request).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_stream_that_its_client_leaves_is_charged_for_what_it_brought() {
    let piece =
        br#"data: {"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"word "}}]}

"#;
    let mut steps = sse(&[piece]);
    steps.pop();
    steps.push(Step::Hang);
    let mut upstream = Upstream::always(steps).await;
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.01"});
    let gateway = Gateway::start(config(None), budgeted(&upstream, &[budget]));
    // Each holds most of the budget: were it not given back, no other could follow.
    let body = || chat(true).replacen('{', r#"{"service_tier":"default","#, 1);
    for _ in 0..3 {
        for waited in 0.. {
            let answer = gateway.send(gateway.request("/v1/chat/completions", body())).await;
            if answer.status() == StatusCode::OK {
                break;
            }
            assert!(waited < 200, "it is never given back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        upstream.closed().await;
    }
}
