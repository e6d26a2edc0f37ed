//! Snapshots: what the gateway will hold.

use crate::support::{NOW, Store, new_provider, price, spec};
use contracts::policy::{
    KeyHash, Kind, PromptRef, Protocol, ProviderSettings, Route, RouteSpec, Selector, Snapshot, Unreadable,
    read,
};
use contracts::{PolicyName, TenantId, Timestamp};
use control::records::{NewApiKey, NewProvider, NewRoute, NewTenant, ProviderChange, TenantChange};
use control::{Effect, secrets};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

pub async fn hold_what_the_gateway_needs(store: Store) {
    let control = &store.control;
    let acme: TenantId = "acme".parse().unwrap();
    let new = NewTenant { retention_days: 7, capture_content: false, ..NewTenant::new(acme.clone()) };
    control.tenants().create(new, NOW).await.unwrap();
    store.tenant("other").await;
    store.model("openai", "gpt").await;
    store.model("openai", "mini").await;
    let provider = NewProvider {
        secret: Some("literal:sk-1".parse().unwrap()),
        price_as: Some("openai".into()),
        ..new_provider("azure")
    };
    control.providers().create(provider, NOW).await.unwrap();
    store.model("azure", "azure/gpt").await;
    let route = |tenant: Option<&TenantId>, name: &str, model: &str| NewRoute {
        tenant: tenant.cloned(),
        ..NewRoute::new(name.parse().unwrap(), model.parse().unwrap())
    };
    control.routes().create(route(None, "bot", "gpt"), NOW).await.unwrap();
    control.routes().create(route(Some(&acme), "bot", "azure/gpt"), NOW).await.unwrap();
    let end = Timestamp::from_unix_nanos(NOW.unix_nanos() + 1);
    let new = NewApiKey {
        allowed_models: Some(vec!["bot".parse().unwrap()]),
        expires_at: Some(end),
        ..NewApiKey::new(acme.clone(), "")
    };
    let key = control.keys().create(new, NOW).await.unwrap();
    let revoked = control.keys().create(NewApiKey::new("other".parse().unwrap(), ""), NOW).await.unwrap();
    control.keys().revoke(&revoked.key.id, NOW).await.unwrap();
    control.prices().put(vec![price("openai", "gpt", None, "1")]).await.unwrap();

    let snapshot = control.snapshot().await.unwrap();
    assert_eq!(snapshot.version, control.version().await.unwrap());
    let policy = snapshot.keys.get(&secrets::hash(&key.secret)).unwrap();
    assert_eq!(policy.id, key.key.id);
    assert_eq!((policy.tenant.id.as_str(), policy.tenant.retention_days), ("acme", 7));
    assert!(!policy.tenant.capture_content);
    assert_eq!((policy.expires_at, policy.revoked_at), (Some(end), None));
    assert!(policy.allows(&"bot".parse().unwrap()) && !policy.allows(&"gpt".parse().unwrap()));
    let gone = snapshot.keys.get(&secrets::hash(&revoked.secret)).unwrap();
    assert_eq!((gone.revoked_at, &gone.allowed_models), (Some(NOW), &None));
    assert_eq!(snapshot.keys.len(), 2);

    let own = snapshot.resolve(&acme, "bot").unwrap();
    assert_eq!(own.model.name.as_str(), "azure/gpt");
    assert_eq!(own.model.provider.secret.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(own.model.provider.price_as, "openai");
    let shared = snapshot.resolve(&"other".parse().unwrap(), "bot").unwrap();
    assert_eq!(shared.model.name.as_str(), "gpt");
    assert_eq!(shared.model.provider.price_as, "openai");
    assert_eq!(shared.model.provider.secret, None);
    assert!(snapshot.resolve(&acme, "mini").unwrap().route.is_none());
    assert!(snapshot.resolve(&acme, "none").is_none());
    assert_eq!(snapshot.prices.entries().len(), 1);
}

pub async fn survive_an_unresolved_secret(store: Store) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    for (id, secret) in [
        ("by-env", "env:CONTROL_TOWER_TEST_THAT_NOBODY_SETS".to_owned()),
        ("by-file", format!("file:{}", file.display())),
        ("fine", "literal:sk-1".to_owned()),
    ] {
        let new = NewProvider { secret: Some(secret.parse().unwrap()), ..new_provider(id) };
        store.control.providers().create(new, NOW).await.unwrap();
        store.model(id, &format!("{id}-model")).await;
    }
    let loaded = store.control.load().await.unwrap();
    assert!(loaded.has_outside_secrets);
    let reasons: Vec<(&str, &str)> =
        loaded.problems.iter().map(|p| (p.name.as_str(), p.reason.as_str())).collect();
    assert_eq!(reasons[0], ("by-env", "environment variable CONTROL_TOWER_TEST_THAT_NOBODY_SETS is not set"));
    assert!(reasons[1].1.contains("cannot be read"), "{reasons:?}");
    assert_eq!(reasons.len(), 2);
    let model = |name: &str| loaded.snapshot.models.get(&name.parse().unwrap()).unwrap().clone();
    assert_eq!(model("by-env-model").provider.secret, None);
    assert_eq!(model("fine-model").provider.secret.as_ref().unwrap().expose(), "sk-1");

    std::fs::write(&file, "  sk-from-file\n").unwrap();
    let loaded = store.control.load().await.unwrap();
    assert_eq!(loaded.problems.len(), 1);
    let model = loaded.snapshot.models.get(&"by-file-model".parse().unwrap()).unwrap();
    assert_eq!(model.provider.secret.as_ref().unwrap().expose(), "sk-from-file");
}

pub async fn are_of_one_moment(store: Store) {
    store.tenant("acme").await;
    store.model("p", "m").await;
    let base = store.control.version().await.unwrap();
    let writer = store.control.clone();
    // Each change adds a key, so in one moment there are as many keys as versions since.
    let writing = tokio::spawn(async move {
        for _ in 0..50 {
            writer.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap();
        }
    });
    loop {
        let snapshot = store.control.snapshot().await.unwrap();
        assert_eq!(snapshot.version - base, snapshot.keys.len() as u64);
        if snapshot.keys.len() == 50 {
            break;
        }
    }
    writing.await.unwrap();
}

pub async fn show_keys_of_a_disabled_tenant_as_revoked(store: Store) {
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    let key = store.control.keys().create(NewApiKey::new(acme.clone(), ""), NOW).await.unwrap();
    let hash = secrets::hash(&key.secret);
    for disabled in [true, false] {
        let change = TenantChange { disabled: Some(disabled), ..TenantChange::default() };
        store.control.tenants().update(&acme, change, NOW).await.unwrap();
        let snapshot = store.control.snapshot().await.unwrap();
        assert_eq!(snapshot.keys.get(&hash).unwrap().revoked_at.is_some(), disabled);
    }
}

/// Writes a document, whatever is there.
async fn put(store: &Store, kind: Kind, tenant: Option<&TenantId>, name: &str, spec: Value) {
    let name = name.parse().unwrap();
    store.control.documents().put(kind, tenant, &name, &spec, None, NOW).await.unwrap();
}

/// A tenant with a key and a route, and policy of every kind on them; returns the key's hash.
async fn governed(store: &Store) -> KeyHash {
    let acme: TenantId = "acme".parse().unwrap();
    store.model("p", "m").await;
    put(store, Kind::Plan, None, "gold", spec(Kind::Plan, 1)).await;
    put(store, Kind::Cascade, None, "cheap", spec(Kind::Cascade, 1)).await;
    put(store, Kind::Cache, None, "c", json!({})).await;
    put(store, Kind::Guardrail, None, "g", spec(Kind::Guardrail, 1)).await;
    put(store, Kind::Experiment, None, "e", spec(Kind::Experiment, 1)).await;
    put(store, Kind::Pool, None, "m", json!({})).await;
    let new = NewTenant {
        plan: Some("gold".parse().unwrap()),
        organisation: Some("big".parse().unwrap()),
        ..NewTenant::new(acme.clone())
    };
    store.control.tenants().create(new, NOW).await.unwrap();
    put(store, Kind::Guardrail, Some(&acme), "g", spec(Kind::Guardrail, 2)).await;
    let hello = "hello".parse().unwrap();
    store.control.prompts().create(None, &hello, spec(Kind::Prompt, 1), NOW).await.unwrap();
    store.control.prompts().set_label(None, &hello, "production", 1).await.unwrap();
    let all: RouteSpec = serde_json::from_value(json!({
        "cascade": "cheap", "cache": "c", "guardrails": ["g"], "experiment": "e",
        "prompt": {"name": "hello"}, "tags": ["team-a"],
    }))
    .unwrap();
    let new = NewRoute::new("bot".parse().unwrap(), "m".parse().unwrap());
    let new = NewRoute { tenant: Some(acme.clone()), spec: Some(all), ..new };
    store.control.routes().create(new, NOW).await.unwrap();
    let new = NewApiKey {
        plan: Some("gold".parse().unwrap()),
        guardrails: Some(vec!["g".parse().unwrap()]),
        ..NewApiKey::new(acme, "")
    };
    let key = store.control.keys().create(new, NOW).await.unwrap();
    for (name, scope) in [
        ("big", json!({"kind": "organisation", "organisation": "big"})),
        ("acme", json!({"kind": "tenant", "tenant": "acme"})),
        ("key", json!({"kind": "key", "key": key.key.id})),
        ("bot", json!({"kind": "route", "route": "bot", "tenant": "acme"})),
        ("team", json!({"kind": "tag", "tenant": "acme", "tag": "team-a"})),
    ] {
        put(store, Kind::Budget, None, name, json!({"scope": scope, "limit": "1"})).await;
    }
    secrets::hash(&key.secret)
}

/// The names of the budgets that a call falls under.
fn budgets(snapshot: &Snapshot, hash: &KeyHash, route: Option<&Route>) -> Result<String, Arc<Unreadable>> {
    let key = &snapshot.keys[hash];
    let found: Result<Vec<&str>, Arc<Unreadable>> = snapshot
        .budgets
        .applying(key, route, &[])
        .map(|held| held.map(|budget| budget.name.as_str()).map_err(Clone::clone))
        .collect();
    Ok(found?.join(" "))
}

pub async fn resolve_policy(store: Store) {
    let hash = governed(&store).await;
    let loaded = store.control.load().await.unwrap();
    assert_eq!(loaded.problems, []);
    let snapshot = loaded.snapshot;
    let key = &snapshot.keys[&hash];
    let guardrail = key.guardrails[0].as_ref().unwrap();
    assert_eq!((guardrail.name.as_str(), guardrail.tenant.as_ref()), ("g", Some(&key.tenant.id)));
    let plan = key.plan.as_ref().unwrap().as_ref().unwrap();
    assert!(Arc::ptr_eq(plan, key.tenant.plan.as_ref().unwrap().as_ref().unwrap()));
    assert_eq!((plan.name.as_str(), &plan.spec), ("gold", &read(&spec(Kind::Plan, 1)).unwrap()));
    assert_eq!(key.tenant.organisation.as_ref().unwrap().as_str(), "big");
    let acme = "acme".parse().unwrap();
    let route = snapshot.resolve(&acme, "bot").unwrap().route.unwrap();
    let policy = route.policy.as_ref().unwrap();
    assert_eq!(policy.cascade.as_ref().unwrap().name.as_str(), "cheap");
    assert_eq!(policy.guardrails[0].tenant.as_ref(), Some(&acme), "its own wins over the shared one");
    assert_eq!(policy.prompt.as_ref().unwrap().revision, 1);
    assert!(policy.cache.is_some() && policy.experiment.is_some());
    assert_eq!(route.tags(), ["team-a"]);
    assert!(snapshot.pools[&"m".parse().unwrap()].is_ok());
    assert_eq!(budgets(&snapshot, &hash, None).unwrap(), "big acme key");
    assert_eq!(budgets(&snapshot, &hash, Some(&route)).unwrap(), "big acme team bot key");

    // A label that moves takes the route along.
    let hello = "hello".parse().unwrap();
    store.control.prompts().create(None, &hello, spec(Kind::Prompt, 2), NOW).await.unwrap();
    store.control.prompts().set_label(None, &hello, "production", 2).await.unwrap();
    let snapshot = store.control.snapshot().await.unwrap();
    let route = snapshot.resolve(&acme, "bot").unwrap().route.unwrap();
    let prompt = route.policy.as_ref().unwrap().prompt.as_ref().unwrap();
    assert_eq!(prompt.spec, read(&spec(Kind::Prompt, 2)).unwrap());

    let bedrock = NewProvider {
        protocol: Protocol::Bedrock,
        settings: ProviderSettings { region: Some("eu-central-1".into()), ..ProviderSettings::default() },
        ..new_provider("aws")
    };
    let created = store.control.providers().create(bedrock.clone(), NOW).await.unwrap();
    assert_eq!(
        (created.protocol.as_str(), &created.settings),
        ("bedrock", &Some(json!({"region": "eu-central-1"})))
    );
    store.model("aws", "claude").await;
    let snapshot = store.control.snapshot().await.unwrap();
    let speaks = snapshot.models[&"claude".parse().unwrap()].provider.speaks.clone().unwrap();
    assert_eq!((speaks.protocol, speaks.settings), (bedrock.protocol, bedrock.settings));
    assert_eq!(snapshot.providers.len(), 2);
    let change = ProviderChange { protocol: Some(Protocol::Azure), ..ProviderChange::default() };
    let error = store.control.providers().update(&created.id, change).await.unwrap_err().to_string();
    assert!(error.contains("settings.region: \"eu-central-1\" is not valid, expected nothing"), "{error}");
}

pub async fn keep_what_did_not_change(store: Store) {
    let hash = governed(&store).await;
    put(&store, Kind::Plan, None, "silver", spec(Kind::Plan, 1)).await;
    let first = store.control.snapshot().await.unwrap();
    put(&store, Kind::Plan, None, "silver", spec(Kind::Plan, 2)).await;
    // Another handle on the same database counts as the same.
    let second = store.control.as_actor(control::Actor::cli()).snapshot().await.unwrap();
    let plan = |snapshot: &Snapshot, name: &str| {
        snapshot.plans.get(None, &name.parse().unwrap()).unwrap().clone().unwrap()
    };
    assert!(Arc::ptr_eq(&plan(&first, "gold"), &plan(&second, "gold")));
    assert!(!Arc::ptr_eq(&plan(&first, "silver"), &plan(&second, "silver")));
    assert_eq!(plan(&second, "silver").spec, read(&spec(Kind::Plan, 2)).unwrap());
    let of_key = |snapshot: &Snapshot| {
        let key = &snapshot.keys[&hash];
        let budgets: Vec<_> = snapshot.budgets.applying(key, None, &[]).map(|b| b.unwrap().clone()).collect();
        (key.plan.clone().unwrap().unwrap(), budgets)
    };
    let ((old, old_budgets), (new, new_budgets)) = (of_key(&first), of_key(&second));
    assert!(Arc::ptr_eq(&old, &new));
    assert!(old_budgets.iter().zip(&new_budgets).all(|(old, new)| Arc::ptr_eq(old, new)));
    let prompt = |snapshot: &Snapshot| {
        let hello = "hello".parse().unwrap();
        snapshot.prompts.get(None, &hello, Selector::Label("production")).unwrap().clone().unwrap()
    };
    assert!(Arc::ptr_eq(&prompt(&first), &prompt(&second)));

    // Written back to what it was, it is another one all the same.
    put(&store, Kind::Plan, None, "gold", spec(Kind::Plan, 3)).await;
    put(&store, Kind::Plan, None, "gold", spec(Kind::Plan, 1)).await;
    let third = store.control.snapshot().await.unwrap();
    assert!(plan(&third, "gold").revision > plan(&first, "gold").revision);
}

pub async fn close_what_an_unreadable_policy_governs(store: Store) {
    let hash = governed(&store).await;
    let other = store.control.tenants().create(NewTenant::new("other".parse().unwrap()), NOW).await.unwrap();
    let free = store.control.keys().create(NewApiKey::new(other.id, ""), NOW).await.unwrap();
    let free = secrets::hash(&free.secret);
    let acme = "acme".parse().unwrap();
    let mut raw = store.raw().await;
    // As a newer version might write it.
    let mut write = async |kind: &str, spec: &str| {
        let sql = "UPDATE documents SET spec = $1, revision = revision + 1000 WHERE kind = $2 AND tenant_id IS NULL";
        sqlx::query(sql).bind(spec.to_owned()).bind(kind.to_owned()).execute(&mut raw).await.unwrap();
    };
    let problems = async || {
        let loaded = store.control.load().await.unwrap();
        let kinds: Vec<String> = loaded.problems.iter().map(|problem| problem.kind.clone()).collect();
        assert!(loaded.problems.iter().all(|problem| problem.effect == Effect::Closed));
        (loaded.snapshot, kinds.join(" "))
    };

    write("plan", "[]").await;
    let (snapshot, found) = problems().await;
    assert_eq!(found, "plan");
    assert!(snapshot.keys[&hash].plan.as_ref().unwrap().is_err());
    assert!(snapshot.keys[&hash].tenant.plan.as_ref().unwrap().is_err());
    assert!(snapshot.keys[&free].plan.is_none() && snapshot.resolve(&acme, "bot").is_some());
    write("plan", "{}").await;

    write("budget", r#"{"limit": "1", "scopes": []}"#).await;
    let (snapshot, found) = problems().await;
    assert_eq!(found, "budget budget budget budget budget");
    let error = budgets(&snapshot, &hash, None).unwrap_err();
    assert!(error.reason.contains("scopes"), "{error}");
    assert_eq!(budgets(&snapshot, &free, None).unwrap(), "", "each is where it was when it could be read");
    write("budget", r#"{"limit": "1", "scope": {"kind": "tenant", "tenant": "other"}}"#).await;
    let (snapshot, _) = problems().await;
    assert_eq!(budgets(&snapshot, &free, None).unwrap().split(' ').count(), 5, "now they are of another");
    assert_eq!(budgets(&snapshot, &hash, None).unwrap(), "");

    write("cascade", "not even JSON").await;
    write("pool", "7").await;
    let (snapshot, found) = problems().await;
    assert_eq!(found.split(' ').collect::<BTreeSet<_>>(), BTreeSet::from(["cascade", "pool", "route"]));
    let route = snapshot.resolve(&acme, "bot").unwrap().route.unwrap();
    let error = route.policy.as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("route \"bot\" cannot be applied: cascade \"cheap\" cannot be applied: "),
        "{error}"
    );
    assert!(snapshot.pools[&"m".parse().unwrap()].is_err());
    write("cascade", r#"{"tiers": [{"model": "m"}]}"#).await;
    write("pool", "{}").await;

    let mut raw = store.raw().await;
    sqlx::query("UPDATE routes SET spec = '{\"later\": 1}'").execute(&mut raw).await.unwrap();
    sqlx::query("UPDATE providers SET protocol = 'telepathy'").execute(&mut raw).await.unwrap();
    sqlx::query("INSERT INTO documents VALUES ('wish', NULL, 'w', '{}', 1, 1, 1)")
        .execute(&mut raw)
        .await
        .unwrap();
    let (snapshot, found) = problems().await;
    assert_eq!(found.split(' ').collect::<BTreeSet<_>>(), BTreeSet::from(["provider", "route", "wish"]));
    let resolved = snapshot.resolve(&acme, "bot").unwrap();
    assert!(resolved.route.unwrap().policy.is_err() && resolved.model.provider.speaks.is_err());
}

pub async fn hold_prompts_that_may_be_asked_for(store: Store) {
    let hello: PolicyName = "hello".parse().unwrap();
    let prompts = store.control.prompts();
    for n in 1..=25 {
        prompts.create(None, &hello, spec(Kind::Prompt, n), NOW).await.unwrap();
    }
    prompts.set_label(None, &hello, "old", 2).await.unwrap();
    store.model("p", "m").await;
    let prompt = PromptRef { name: hello.clone(), version: Some(3), label: None };
    let spec = RouteSpec { prompt: Some(prompt), ..RouteSpec::default() };
    let new = NewRoute::new("bot".parse().unwrap(), "m".parse().unwrap());
    store.control.routes().create(NewRoute { spec: Some(spec), ..new }, NOW).await.unwrap();
    let snapshot = store.control.snapshot().await.unwrap();
    let held: Vec<u64> =
        (1..=25).filter(|n| snapshot.prompts.get(None, &hello, Selector::Version(*n)).is_some()).collect();
    let expected: Vec<u64> = [2, 3].into_iter().chain(6..=25).collect();
    assert_eq!(held, expected, "labelled, meant by a route, and the latest twenty");
}
