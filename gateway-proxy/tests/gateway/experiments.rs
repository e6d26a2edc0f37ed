//! Experiments: who gets which arm, what an arm changes, and what the trace says of it.

use crate::support::{Answer, Collector, Gateway, Received, Upstream, config, json, snapshot};
use contracts::Timestamp;
use contracts::policy::budget::Budget;
use contracts::policy::cache::Cache;
use contracts::policy::cascade::Cascade;
use contracts::policy::experiment::{ArmStats, Experiment, Measured};
use contracts::policy::guardrail::Guardrail;
use contracts::policy::prompt::Prompt;
use contracts::policy::{Kind, Model, Named, Reaching, Route, RoutePolicy, RouteSpec, Snapshot};
use contracts::price::{Charge, ModelPrice, PriceBook};
use control::records::{NewApiKey, NewModel, NewProvider, NewRoute, NewTenant};
use control::{Control, Snapshots};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json as object};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

const RESPONSE: &str = r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"id":"o","type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}"#;

/// Answers chats and responses.
async fn upstream() -> Upstream {
    let answer = |request: &Received| {
        if request.head.contains("/responses") { json(200, RESPONSE) } else { json(200, ANSWER) }
    };
    Upstream::start(answer).await
}

fn named<D>(name: &str, revision: u64, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision, spec })
}

/// The usual policy with an experiment `test` on the route `route`, which leads to `gpt-4o-mini`.
fn compared(upstream: &Upstream, experiment: &Value) -> Snapshot {
    let experiment: Experiment = serde_json::from_value(experiment.clone()).unwrap();
    experiment.validate().unwrap();
    let policy = RoutePolicy { experiment: Some(named("test", 1, experiment)), ..RoutePolicy::default() };
    with_route(snapshot(upstream.addr, false), policy)
}

fn with_route(mut snapshot: Snapshot, policy: RoutePolicy) -> Snapshot {
    let route =
        Route { policy: Ok(policy), ..Route::new("route".parse().unwrap(), "gpt-4o-mini".parse().unwrap()) };
    snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
    snapshot
}

fn policy_of(snapshot: &Snapshot) -> RoutePolicy {
    snapshot.shared_routes[&"route".parse().unwrap()].policy.clone().unwrap()
}

fn by(user: &str) -> String {
    format!(
        r#"{{"model":"route","user":"{user}","max_tokens":2,"messages":[{{"role":"user","content":"Hello"}}]}}"#
    )
}

fn variant(answer: &Answer) -> &str {
    answer.header("x-control-tower-experiment").strip_prefix("test=").unwrap_or_default()
}

async fn ask(gateway: &Gateway, body: String) -> Answer {
    let answer = gateway.post("/v1/chat/completions", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer
}

/// A user for each arm.
async fn users(gateway: &Gateway, arms: usize) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for n in 0..400 {
        let user = format!("user-{n}");
        let answer = gateway.post("/v1/chat/completions", by(&user)).await;
        users.entry(variant(&answer).to_owned()).or_insert(user);
        if users.len() == arms {
            return users;
        }
    }
    panic!("{arms} arms were expected: {users:?}");
}

#[tokio::test]
async fn a_user_meets_the_same_arm_at_every_request_and_every_gateway() {
    let upstream = upstream().await;
    let policy = compared(&upstream, &object!({"arms": [{"name": "control"}, {"name": "b"}]}));
    let one = Gateway::start(config(None), policy.clone());
    let two = Gateway::start(config(None), policy);
    let mut seen = BTreeSet::new();
    for n in 0..20 {
        let user = format!("user-{n}");
        let first = ask(&one, by(&user)).await;
        let arm = variant(&first);
        seen.insert(arm.to_owned());
        assert_eq!(variant(&ask(&one, by(&user)).await), arm, "again");
        assert_eq!(variant(&ask(&two, by(&user)).await), arm, "at another gateway");
        // The same user in another protocol, and where OpenAI would have it named now.
        let said =
            object!({"model": "route", "safety_identifier": user, "user": "somebody", "input": "Hello"});
        assert_eq!(variant(&one.post("/v1/responses", said.to_string()).await), arm, "in responses");
        let said = object!({"model": "route", "max_tokens": 2, "metadata": {"user_id": user},
            "messages": [{"role": "user", "content": "Hello"}]});
        assert_eq!(variant(&one.post("/v1/messages", said.to_string()).await), arm, "in messages");
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[tokio::test]
async fn a_conversation_sticks_to_its_arm_whoever_speaks() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "b"}], "sticky": "conversation"});
    let gateway = Gateway::start(config(None), compared(&upstream, &spec));
    let mut seen = BTreeSet::new();
    for n in 0..20 {
        let mut arms = BTreeSet::new();
        for user in ["ann", "bob"] {
            let mut request = gateway.request("/v1/chat/completions", by(user));
            let id = HeaderValue::from_str(&format!("talk-{n}")).unwrap();
            request.headers_mut().insert("x-control-tower-conversation", id);
            arms.insert(variant(&gateway.call(request).await).to_owned());
            let said = object!({"model": "route", "input": "Hello", "user": user, "conversation": {"id": format!("talk-{n}")}});
            arms.insert(variant(&gateway.post("/v1/responses", said.to_string()).await).to_owned());
        }
        assert_eq!(arms.len(), 1, "{arms:?}");
        seen.extend(arms);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[tokio::test]
async fn shares_follow_the_weights() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control", "weight": 3}, {"name": "b", "weight": 1}, {"name": "off", "weight": 0}]});
    let gateway = Gateway::start(config(None), compared(&upstream, &spec));
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for n in 0..400 {
        let answer = ask(&gateway, by(&format!("user-{n}"))).await;
        *counts.entry(variant(&answer).to_owned()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<u32>(), 400);
    assert!((60..=140).contains(&counts["b"]), "{counts:?}");
    assert!(!counts.contains_key("off"), "{counts:?}");
}

#[tokio::test]
async fn shares_follow_what_was_measured_alike_at_every_gateway() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "b"}],
        "adaptive": {"metric": "useful", "outcome": "binary", "min_share": 0.1, "min_observations": 100}});
    let mut policy = compared(&upstream, &spec);
    let mut measured = |revision: u64, control: u64, b: u64| {
        let arm = |successes| ArmStats::Binary { successes, failures: 1_000 - successes };
        let arms = [("control".to_owned(), arm(control)), ("b".to_owned(), arm(b))].into();
        let measured = named("test", revision, Measured { metric: "useful".into(), arms });
        policy.measured.insert((None, "test".parse().unwrap()), measured);
        [Gateway::start(config(None), policy.clone()), Gateway::start(config(None), policy.clone())]
    };
    for (revision, control, b, expected) in
        [(1, 100, 300, 150..=200), (2, 300, 100, 5..=50), (3, 100, 110, 60..=199)]
    {
        let [one, two] = measured(revision, control, b);
        let mut got_b = 0;
        for n in 0..200 {
            let user = format!("user-{n}");
            let answer = ask(&one, by(&user)).await;
            got_b += u32::from(variant(&answer) == "b");
            if n % 4 == 0 {
                assert_eq!(variant(&ask(&two, by(&user)).await), variant(&answer));
            }
        }
        assert!(expected.contains(&got_b), "{revision}: {got_b}");
    }
}

#[tokio::test]
async fn an_arm_sets_prompt_model_cascade_or_parameters_and_nothing_else() {
    let upstream = upstream().await;
    let mut policy = compared(
        &upstream,
        &object!({"arms": [
            {"name": "control"},
            {"name": "prompt", "prompt": {"name": "greeting", "version": 2}},
            {"name": "model", "model": "pro"},
            {"name": "cascade", "cascade": "climb"},
            {"name": "parameters", "parameters": {"temperature": 0.25, "max_tokens": 7}},
        ]}),
    );
    let prompt = |text: &str| -> Prompt {
        serde_json::from_value(object!({"messages": [{"role": "system", "content": text}]})).unwrap()
    };
    let greeting = "greeting".parse().unwrap();
    let of_route = named("greeting", 1, prompt("Be kind."));
    policy.prompts.insert(None, &greeting, 1, Ok(of_route.clone()));
    policy.prompts.insert(None, &greeting, 2, Ok(named("greeting", 2, prompt("Be brief."))));
    let climb: Cascade = serde_json::from_value(object!({"tiers": [{"model": "pro"}]})).unwrap();
    policy.cascades.insert(None, "climb".parse().unwrap(), Ok(named("climb", 1, climb)));
    let route = RoutePolicy { prompt: Some(of_route), ..policy_of(&policy) };
    let gateway = Gateway::start(config(None), with_route(policy, route));
    let users = users(&gateway, 5).await;
    let plain = object!({"model": "gpt-4o-mini", "user": "", "max_tokens": 2, "messages": [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]});
    for (arm, user) in &users {
        let answer = ask(&gateway, by(user)).await;
        assert_eq!(variant(&answer), arm);
        let mut expected = plain.clone();
        expected["user"] = user.as_str().into();
        match arm.as_str() {
            "prompt" => expected["messages"][0]["content"] = "Be brief.".into(),
            "model" | "cascade" => expected["model"] = "pro-2025".into(),
            "parameters" => {
                expected["temperature"] = 0.25.into();
                expected["max_tokens"] = 7.into();
            }
            _ => {}
        }
        assert_eq!(upstream.received().last().unwrap().json(), expected, "{arm}");
    }
    // A prompt that the client names stays.
    let body = by(&users["prompt"]).replacen('{', r#"{"prompt":{"name":"greeting","version":1},"#, 1);
    ask(&gateway, body).await;
    assert_eq!(upstream.received().last().unwrap().json()["messages"][0]["content"], "Be kind.");
}

#[tokio::test]
async fn a_key_for_the_route_alone_is_led_wherever_its_arms_lead() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control", "weight": 0}, {"name": "b", "model": "pro"}]});
    let mut policy = compared(&upstream, &spec);
    for key in policy.keys.values_mut() {
        Arc::make_mut(key).allowed_models = Some(vec!["route".parse().unwrap()]);
    }
    let gateway = Gateway::start(config(None), policy);
    ask(&gateway, by("ann")).await;
    assert_eq!(upstream.received()[0].json()["model"], "pro-2025");
}

#[tokio::test]
async fn budgets_reserve_what_the_arm_may_cost() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "dear", "model": "dear"}]});
    let mut policy = compared(&upstream, &spec);
    let dear =
        Model { name: "dear".parse().unwrap(), upstream_model: "dear-1".into(), ..model(&policy, "pro") };
    policy.models.insert(dear.name.clone(), Arc::new(dear));
    let price = |model: &str, input: &str| ModelPrice {
        provider: "sim".into(),
        model: model.into(),
        aliases: Vec::new(),
        prefixes: Vec::new(),
        valid_from: None,
        charge: Charge::Tokens(
            serde_json::from_value(object!([{"rates": {"input": input, "output": input}}])).unwrap(),
        ),
        source: String::new(),
    };
    let prices = vec![price("gpt-4o-mini", "1"), price("dear-1", "1000")];
    policy.prices = Arc::new(PriceBook::new("test-2", prices).unwrap());
    let budget: Budget = serde_json::from_value(
        object!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "0.01", "window": "total"}),
    )
    .unwrap();
    let reach = budget.reach();
    policy.budgets.insert(None, reach, Ok(named("b", 1, budget)));
    let gateway = Gateway::start(config(None), policy);
    let mut refused = 0;
    for n in 0..12 {
        let answer = gateway.post("/v1/chat/completions", by(&format!("user-{n}"))).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused += 1;
        } else {
            assert_eq!((answer.status, variant(&answer)), (StatusCode::OK, "control"));
        }
    }
    assert!((1..12).contains(&refused), "{refused}");
    assert!(upstream.received().iter().all(|request| request.json()["model"] == "gpt-4o-mini"));
}

fn model(policy: &Snapshot, name: &str) -> Model {
    policy.models[&name.parse().unwrap()].as_ref().clone()
}

#[tokio::test]
async fn arms_do_not_answer_for_each_other_from_the_cache() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "b"}]});
    let policy = compared(&upstream, &spec);
    let cache: Cache = serde_json::from_value(object!({"exact": true, "ttl_seconds": 60})).unwrap();
    let route = RoutePolicy { cache: Some(named("keep", 1, cache)), ..policy_of(&policy) };
    let gateway = Gateway::start(config(None), with_route(policy, route));
    // One miss for each arm, hits for all others: who asks is no part of the question.
    let mut missed = Vec::new();
    for n in 0..20 {
        let answer = ask(&gateway, by(&format!("user-{n}"))).await;
        if answer.header("x-control-tower-cache") == "miss" {
            missed.push(variant(&answer).to_owned());
        }
    }
    missed.sort();
    assert_eq!(missed, ["b", "control"]);
}

#[tokio::test]
async fn the_trace_says_which_arm_and_what_it_was_dealt_to() {
    let collector = Collector::start().await;
    let upstream = upstream().await;
    let policy = compared(&upstream, &object!({"arms": [{"name": "control"}, {"name": "b"}]}));
    let gateway = Gateway::start(config(Some(&collector)), policy);
    let answer = ask(&gateway, by("ann")).await;
    let anonymous = by("ann").replace(r#""user":"ann","#, "");
    ask(&gateway, anonymous).await;
    ask(&gateway, by("ann").replace("route", "pro")).await;
    let calls = collector.calls(3).await;
    let of = |route: &str, unit: &str| {
        let found = calls.iter().find(|call| {
            call.get("gen_ai.request.model") == route && call.get("control_tower.experiment.unit") == unit
        });
        found.unwrap_or_else(|| panic!("{route} {unit}: {calls:?}"))
    };
    let ann = of("route", "user");
    assert_eq!(ann.get("control_tower.experiment.name"), "test");
    assert_eq!(ann.get("control_tower.experiment.variant"), variant(&answer));
    assert_eq!(ann.get("control_tower.experiment.owner"), "shared");
    of("route", "request");
    let other = of("pro", "");
    assert_eq!(other.get("control_tower.experiment.name"), "");
}

#[tokio::test]
async fn guardrails_of_the_route_hold_in_every_arm() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "b", "model": "pro", "parameters": {"temperature": 0}}]});
    let policy = compared(&upstream, &spec);
    let rules: Guardrail = serde_json::from_value(object!({"input": [
        {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}}, "action": {"mask": {"with": "[card]"}}},
        {"name": "words", "check": {"topics": {"deny": ["forbidden fruit"]}}, "action": "block"},
    ]}))
    .unwrap();
    let route = RoutePolicy { guardrails: vec![named("house", 1, rules)], ..policy_of(&policy) };
    let gateway = Gateway::start(config(None), with_route(policy, route));
    for (arm, user) in users(&gateway, 2).await {
        let answer = ask(&gateway, by(&user).replace("Hello", "4111111111111111")).await;
        assert_eq!(variant(&answer), arm);
        let sent = upstream.received();
        let sent = sent.last().unwrap().json();
        assert_eq!(sent["messages"][0]["content"], "[card]", "{arm}");
        let before = upstream.received().len();
        let answer = ask(&gateway, by(&user).replace("Hello", "Sell me forbidden fruit")).await;
        assert_eq!(answer.json()["choices"][0]["finish_reason"], "content_filter", "{arm}");
        assert_eq!((variant(&answer), upstream.received().len()), (arm.as_str(), before));
    }
}

#[tokio::test]
async fn parameters_that_make_no_request_close_their_arm_and_blame_the_policy() {
    let upstream = upstream().await;
    let spec = object!({"arms": [{"name": "control"}, {"name": "b", "parameters": {"temperature": "hot"}}]});
    let gateway = Gateway::start(config(None), compared(&upstream, &spec));
    let mut closed = 0;
    for n in 0..12 {
        let answer = gateway.post("/v1/chat/completions", by(&format!("user-{n}"))).await;
        if answer.status == StatusCode::OK {
            continue;
        }
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status.as_u16(), &error["code"]), (503, &"policy_unreadable".into()));
        assert!(error["message"].as_str().unwrap().contains("arm b: temperature"), "{error}");
        closed += 1;
    }
    assert!((1..12).contains(&closed), "{closed}");
}

#[tokio::test]
async fn a_paused_experiment_gives_everybody_the_control_at_the_next_look_at_the_policy() {
    let now = Timestamp::from_unix_seconds(1_767_225_600);
    let collector = Collector::start().await;
    let upstream = upstream().await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/control.db", dir.path().display());
    let control = Control::open(&url).await.unwrap();
    control.tenants().create(NewTenant::new("acme".parse().unwrap()), now).await.unwrap();
    let key = control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), now).await.unwrap();
    let provider = NewProvider::new("sim".parse().unwrap(), format!("http://{}/v1", upstream.addr));
    control.providers().create(provider, now).await.unwrap();
    for name in ["small", "large"] {
        let model: NewModel = serde_json::from_value(object!({"name": name, "provider": "sim"})).unwrap();
        control.models().create(model, now).await.unwrap();
    }
    let name = "test".parse().unwrap();
    let spec = |status: &str| object!({"arms": [{"name": "control"}, {"name": "b", "model": "large"}], "status": status});
    let put = async |status: &str| {
        control.documents().put(Kind::Experiment, None, &name, &spec(status), None, now).await.unwrap();
    };
    put("running").await;
    let policy = RouteSpec { experiment: Some(name.clone()), ..RouteSpec::default() };
    let route =
        NewRoute { spec: Some(policy), ..NewRoute::new("route".parse().unwrap(), "small".parse().unwrap()) };
    control.routes().create(route, now).await.unwrap();

    let stop = CancellationToken::new();
    let poll = Duration::from_millis(50);
    let snapshots = Snapshots::open(&url, poll, stop.clone()).await.unwrap();
    snapshots.loaded().await;
    let gateway = Gateway::under(config(Some(&collector)), snapshots.clone());
    let models = async || {
        let mut models = BTreeSet::new();
        for n in 0..12 {
            let mut request = gateway.request("/v1/chat/completions", by(&format!("user-{n}")));
            let bearer = HeaderValue::from_str(&format!("Bearer {}", key.secret)).unwrap();
            request.headers_mut().insert("authorization", bearer);
            let answer = gateway.call(request).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let sent = upstream.received().last().unwrap().json()["model"].as_str().unwrap().to_owned();
            models.insert((sent, variant(&answer).to_owned()));
        }
        models
    };
    let both = [("large".to_owned(), "b".to_owned()), ("small".to_owned(), "control".to_owned())];
    assert_eq!(models().await, both.clone().into());
    let becomes = async |status: &str| {
        let before = snapshots.status().version;
        put(status).await;
        for _ in 0..400 {
            if snapshots.status().version > before {
                return;
            }
            tokio::time::sleep(poll / 5).await;
        }
        panic!("the policy does not become {status}");
    };
    becomes("paused").await;
    assert_eq!(models().await, [("small".to_owned(), String::new())].into());
    becomes("running").await;
    assert_eq!(models().await, both.into());
    // Nobody took part while it was paused.
    let calls = collector.calls(36).await;
    let named = calls.iter().filter(|call| call.get("control_tower.experiment.name") == "test");
    assert_eq!(named.count(), 24);
    stop.cancel();
}
