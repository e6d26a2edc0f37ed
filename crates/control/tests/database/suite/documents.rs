//! Policy documents, and what they refer to.

use crate::support::{NOW, Store, new_model, spec};
use contracts::policy::{InvalidPolicy, Kind, PromptRef, RouteSpec};
use contracts::{ModelName, PolicyName, TenantId, Timestamp};
use control::records::{ApiKeyChange, NewApiKey, NewRoute, Patch, RouteChange, TenantChange};
use control::{Compilers, ControlError};
use serde_json::{Value, json};

fn name(text: &str) -> PolicyName {
    text.parse().unwrap()
}

fn model(text: &str) -> ModelName {
    text.parse().unwrap()
}

/// Writes a document, whatever is there.
async fn put(
    store: &Store,
    kind: Kind,
    tenant: Option<&TenantId>,
    id: &str,
    spec: Value,
) -> Result<u64, ControlError> {
    let written = store.control.documents().put(kind, tenant, &name(id), &spec, None, NOW).await;
    written.map(|document| document.revision)
}

async fn refusal(store: &Store, kind: Kind, id: &str, spec: Value) -> String {
    put(store, kind, None, id, spec).await.unwrap_err().to_string()
}

pub async fn live_from_creation_to_deletion(store: Store) {
    let documents = store.control.documents();
    store.model("p", "m").await;
    store.model("p", "pool").await;
    for kind in Kind::DOCUMENTS {
        let id = name(kind.as_str());
        let (spec, other) = (spec(kind, 1), spec(kind, 2));
        let created = documents.put(kind, None, &id, &spec, None, NOW).await.unwrap();
        assert_eq!((created.kind, &created.name, &created.spec), (kind, &id, &spec));
        assert_eq!((created.tenant.as_ref(), created.created_at, created.updated_at), (None, NOW, NOW));
        assert_eq!(documents.get(kind, None, &id).await.unwrap().unwrap(), created);
        assert_eq!(documents.list(kind, None).await.unwrap(), std::slice::from_ref(&created));

        let later = Timestamp::from_unix_seconds(NOW.unix_seconds() + 1);
        let changed = documents.put(kind, None, &id, &other, None, later).await.unwrap();
        assert!(changed.revision > created.revision && changed.spec == other);
        assert_eq!((changed.created_at, changed.updated_at), (NOW, later));
        let same = documents.put(kind, None, &id, &changed.spec, None, NOW).await.unwrap();
        assert_eq!(same, changed, "it said so already");

        documents.delete(kind, None, &id, None).await.unwrap();
        assert_eq!(documents.get(kind, None, &id).await.unwrap(), None);
        let gone = documents.delete(kind, None, &id, None).await.unwrap_err().to_string();
        assert_eq!(gone, format!("{kind} \"{kind}\" does not exist"));
        let again = documents.put(kind, None, &id, &spec, None, NOW).await.unwrap();
        assert!(again.revision > changed.revision, "no revision is ever used twice");
    }
}

pub async fn are_validated(store: Store) {
    let error = refusal(&store, Kind::Budget, "b", json!({"limit": "1", "colour": "red"})).await;
    assert!(
        error.starts_with("budget \"b\": colour: \"red\" is not valid, expected")
            && error.contains("`colour`"),
        "{error}"
    );
    let error = refusal(&store, Kind::Cache, "c", json!({"max_bytes": "many"})).await;
    assert_eq!(error, "cache \"c\": max_bytes: \"many\" is not valid, expected u64");
    let error = refusal(&store, Kind::Cache, "c", json!({"ttl_seconds": 0})).await;
    assert_eq!(error, "cache \"c\": ttl_seconds: 0 is not valid, expected from 1 to 2592000");
    let error = refusal(&store, Kind::Plan, "p", json!("text")).await;
    assert!(error.starts_with("plan \"p\": spec: "), "{error}");
    let error = refusal(&store, Kind::Plan, "p", json!({"priority": "x".repeat(300_000)})).await;
    assert!(error.contains("expected at most 262144 bytes of JSON"), "{error}");
    for kind in Kind::DOCUMENTS {
        assert!(store.control.documents().list(kind, None).await.unwrap().is_empty());
    }
}

pub async fn change_only_what_the_caller_has_seen(store: Store) {
    let documents = store.control.documents();
    let (gold, spec) = (name("gold"), |n| spec(Kind::Plan, n));
    let put = async |n, expected| documents.put(Kind::Plan, None, &gold, &spec(n), expected, NOW).await;
    let error = put(1, Some(7)).await.unwrap_err().to_string();
    assert_eq!(error, "plan \"gold\" is at revision 0, not 7 (0: it does not exist): read it again");
    let first = put(1, Some(0)).await.unwrap().revision;
    let error = put(2, Some(0)).await.unwrap_err();
    assert!(matches!(error, ControlError::Stale { expected: 0, found, .. } if found == first), "{error}");
    let second = put(2, Some(first)).await.unwrap().revision;
    put(3, Some(first)).await.unwrap_err();
    let error = documents.delete(Kind::Plan, None, &gold, Some(first)).await.unwrap_err();
    assert!(matches!(error, ControlError::Stale { .. }), "{error}");
    assert_eq!(documents.get(Kind::Plan, None, &gold).await.unwrap().unwrap().spec, spec(2));
    documents.delete(Kind::Plan, None, &gold, Some(second)).await.unwrap();
}

pub async fn need_what_they_refer_to(store: Store) {
    store.model("p", "gpt").await;
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    let tiers = json!({"tiers": [{"model": "gpt"}, {"model": "none"}]});
    let error = refusal(&store, Kind::Cascade, "cheap", tiers).await;
    assert_eq!(error, "cascade \"cheap\" refers to model \"none\", which does not exist");
    let error = refusal(&store, Kind::Pool, "none", json!({})).await;
    assert_eq!(error, "pool \"none\" refers to model \"none\", which does not exist");
    for (scope, expected) in [
        (json!({"kind": "tenant", "tenant": "nobody"}), "tenant \"nobody\""),
        (json!({"kind": "key", "key": "key_0"}), "key \"key_0\""),
        (json!({"kind": "route", "tenant": "acme", "route": "bot"}), "route \"bot\""),
        (json!({"kind": "tag", "tenant": "nobody", "tag": "team-a"}), "tenant \"nobody\""),
    ] {
        let error = refusal(&store, Kind::Budget, "b", json!({"scope": scope, "limit": "1"})).await;
        assert!(error.contains(&format!("refers to {expected}, which does not exist")), "{error}");
    }
    // Nobody keeps a list of organisations and tags.
    put(&store, Kind::Budget, None, "free", spec(Kind::Budget, 1)).await.unwrap();
    let free = json!({"scope": {"kind": "tag", "tenant": "acme", "tag": "team-a"}, "limit": "1"});
    put(&store, Kind::Budget, None, "free-tag", free).await.unwrap();
    let deployment = json!({"id": "d", "provider": "nowhere", "upstream_model": "gpt"});
    let error = refusal(&store, Kind::Pool, "gpt", json!({"deployments": [deployment]})).await;
    assert_eq!(error, "pool \"gpt\" refers to provider \"nowhere\", which does not exist");
    let error = refusal(&store, Kind::Pool, "gpt", json!({"fallbacks": ["none"]})).await;
    assert_eq!(error, "pool \"gpt\" refers to model \"none\", which does not exist");

    let plan = TenantChange { plan: Patch::Set(name("gold")), ..TenantChange::default() };
    let error = store.control.tenants().update(&acme, plan.clone(), NOW).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"acme\" refers to plan \"gold\", which does not exist");
    let new = NewApiKey { plan: Some(name("gold")), ..NewApiKey::new(acme.clone(), "") };
    let error = store.control.keys().create(new, NOW).await.unwrap_err().to_string();
    assert!(error.ends_with("refers to plan \"gold\", which does not exist"), "{error}");
    let spec = RouteSpec { cache: Some(name("c")), ..RouteSpec::default() };
    let new = NewRoute { spec: Some(spec), ..NewRoute::new(model("bot"), model("gpt")) };
    let error = store.control.routes().create(new, NOW).await.unwrap_err().to_string();
    assert_eq!(error, "route \"bot\" refers to cache \"c\", which does not exist");
    assert_eq!(store.control.routes().list().await.unwrap(), [], "nothing is half written");

    put(&store, Kind::Plan, Some(&acme), "gold", json!({})).await.unwrap();
    store.control.tenants().update(&acme, plan, NOW).await.unwrap();
}

pub async fn stay_while_they_are_referred_to(store: Store) {
    let control = &store.control;
    store.model("p", "gpt").await;
    control.models().create(new_model("big", "p"), NOW).await.unwrap();
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    put(&store, Kind::Plan, None, "gold", json!({})).await.unwrap();
    let plan = TenantChange { plan: Patch::Set(name("gold")), ..TenantChange::default() };
    control.tenants().update(&acme, plan, NOW).await.unwrap();
    let new = NewApiKey { plan: Some(name("gold")), ..NewApiKey::new(acme.clone(), "") };
    let key = control.keys().create(new, NOW).await.unwrap().key;
    let delete = async |kind, id: &str| {
        control.documents().delete(kind, None, &name(id), None).await.map_err(|error| error.to_string())
    };
    let expected =
        format!("plan \"gold\" is in use by key \"{}\" of acme, tenant \"acme\": remove these first", key.id);
    assert_eq!(delete(Kind::Plan, "gold").await, Err(expected));

    // From now on the tenant means its own.
    put(&store, Kind::Plan, Some(&acme), "gold", spec(Kind::Plan, 1)).await.unwrap();
    delete(Kind::Plan, "gold").await.unwrap();
    let error = control.documents().delete(Kind::Plan, Some(&acme), &name("gold"), None).await.unwrap_err();
    assert!(matches!(error, ControlError::InUse { kind: "plan", .. }), "{error}");
    let plan = TenantChange { plan: Patch::Clear, ..TenantChange::default() };
    control.tenants().update(&acme, plan, NOW).await.unwrap();
    let change = ApiKeyChange { plan: Patch::Clear, ..ApiKeyChange::default() };
    control.keys().update(&key.id, change, NOW).await.unwrap();
    control.documents().delete(Kind::Plan, Some(&acme), &name("gold"), None).await.unwrap();

    put(&store, Kind::Guardrail, None, "g", json!({})).await.unwrap();
    let named = |names: &[&str]| ApiKeyChange {
        guardrails: Patch::Set(names.iter().map(|of| name(of)).collect()),
        ..ApiKeyChange::default()
    };
    control.keys().update(&key.id, named(&["g"]), NOW).await.unwrap();
    let expected = format!("guardrail \"g\" is in use by key \"{}\" of acme: remove these first", key.id);
    assert_eq!(delete(Kind::Guardrail, "g").await, Err(expected));
    for (names, wrong) in [(&["g", "g"][..], "each guardrail once"), (&["nope"], "nope")] {
        let error = control.keys().update(&key.id, named(names), NOW).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
    let change = ApiKeyChange { guardrails: Patch::Clear, ..ApiKeyChange::default() };
    assert_eq!(control.keys().update(&key.id, change, NOW).await.unwrap().guardrails, None);
    delete(Kind::Guardrail, "g").await.unwrap();

    put(&store, Kind::Cascade, None, "cheap", json!({"tiers": [{"model": "big"}]})).await.unwrap();
    let spec = RouteSpec { cascade: Some(name("cheap")), ..RouteSpec::default() };
    let new = NewRoute { spec: Some(spec), ..NewRoute::new(model("bot"), model("gpt")) };
    control.routes().create(new, NOW).await.unwrap();
    let route = json!({"kind": "route", "tenant": "acme", "route": "bot"});
    put(&store, Kind::Budget, None, "b", json!({"limit": "1", "scope": route})).await.unwrap();
    let scope = json!({"kind": "key", "key": key.id});
    put(&store, Kind::Budget, None, "k", json!({"limit": "1", "scope": scope})).await.unwrap();
    put(&store, Kind::Pool, None, "gpt", json!({})).await.unwrap();
    let error = control.models().delete(&model("big")).await.unwrap_err().to_string();
    assert_eq!(error, "model \"big\" is in use by cascade \"cheap\": remove these first");
    let expected = "cascade \"cheap\" is in use by route \"bot\": remove these first";
    assert_eq!(delete(Kind::Cascade, "cheap").await, Err(expected.into()));
    let error = control.routes().delete(None, &model("bot")).await.unwrap_err().to_string();
    assert_eq!(error, "route \"bot\" is in use by budget \"b\": remove these first");
    let error = control.keys().delete(&key.id).await.unwrap_err().to_string();
    assert!(error.ends_with("is in use by budget \"k\": remove these first"), "{error}");

    for (kind, id) in [(Kind::Budget, "b"), (Kind::Budget, "k")] {
        delete(kind, id).await.unwrap();
    }
    control.keys().delete(&key.id).await.unwrap();
    let change = RouteChange { spec: Patch::Clear, ..RouteChange::default() };
    assert_eq!(control.routes().update(None, &model("bot"), change).await.unwrap().spec, None);
    delete(Kind::Cascade, "cheap").await.unwrap();
    control.models().delete(&model("big")).await.unwrap();
    control.routes().delete(None, &model("bot")).await.unwrap();
    let error = control.models().delete(&model("gpt")).await.unwrap_err().to_string();
    assert_eq!(error, "model \"gpt\" is in use by pool \"gpt\": remove these first");
    delete(Kind::Pool, "gpt").await.unwrap();
    control.models().delete(&model("gpt")).await.unwrap();
    put(&store, Kind::Cache, Some(&acme), "c", json!({})).await.unwrap();
    let error = control.tenants().delete(&acme).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"acme\" is in use by 1 policy document: remove these first");
}

pub async fn are_shared_or_of_one_tenant(store: Store) {
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    let documents = store.control.documents();
    put(&store, Kind::Cache, None, "c", spec(Kind::Cache, 1)).await.unwrap();
    put(&store, Kind::Cache, Some(&acme), "c", spec(Kind::Cache, 2)).await.unwrap();
    let of = async |tenant| documents.get(Kind::Cache, tenant, &name("c")).await.unwrap().unwrap().spec;
    assert_eq!(of(None).await, spec(Kind::Cache, 1));
    assert_eq!(of(Some(&acme)).await, spec(Kind::Cache, 2));
    assert_eq!(documents.list(Kind::Cache, None).await.unwrap().len(), 2);
    assert_eq!(documents.list(Kind::Cache, Some(&acme)).await.unwrap().len(), 1);
    let nobody: TenantId = "nobody".parse().unwrap();
    let error = put(&store, Kind::Cache, Some(&nobody), "c", json!({})).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"nobody\" does not exist");
    store.model("p", "m").await;
    let error = put(&store, Kind::Pool, Some(&acme), "m", json!({})).await.unwrap_err().to_string();
    assert_eq!(error, "tenant: \"acme\" is not valid, expected none: a pool is shared by all");
    // What only the tenant has is nothing to a shared route.
    put(&store, Kind::Guardrail, Some(&acme), "g", spec(Kind::Guardrail, 1)).await.unwrap();
    let spec = RouteSpec { guardrails: vec![name("g")], ..RouteSpec::default() };
    let new = NewRoute { spec: Some(spec), ..NewRoute::new(model("bot"), model("m")) };
    store.control.routes().create(new.clone(), NOW).await.unwrap_err();
    store.control.routes().create(NewRoute { tenant: Some(acme), ..new }, NOW).await.unwrap();
    let prompt = PromptRef { name: name("p"), version: None, label: None };
    let spec = RouteSpec { prompt: Some(prompt), ..RouteSpec::default() };
    let change = RouteChange { spec: Patch::Set(spec), ..RouteChange::default() };
    let acme = "acme".parse().unwrap();
    let error = store.control.routes().update(Some(&acme), &model("bot"), change).await.unwrap_err();
    let expected = "route \"bot\" refers to prompt \"p, label production\", which does not exist";
    assert_eq!(error.to_string(), expected);
}

pub async fn are_written_by_many_at_once(store: Store) {
    let second = control::Control::open(&store.url).await.unwrap();
    let first = put(&store, Kind::Plan, None, "gold", spec(Kind::Plan, 100)).await.unwrap();
    let writers: Vec<_> = (1..=10_u64)
        .map(|n| {
            let control = if n % 2 == 0 { store.control.clone() } else { second.clone() };
            tokio::spawn(async move {
                let spec = spec(Kind::Plan, n);
                control.documents().put(Kind::Plan, None, &name("gold"), &spec, Some(first), NOW).await
            })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => written += 1,
            Err(ControlError::Stale { .. }) => {}
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    assert_eq!(written, 1, "of many who saw the same, one writes");
}

pub async fn are_written_only_if_they_compile(store: Store) {
    let compilers = Compilers {
        prompt: |prompt| {
            let compiles = !prompt.messages[0].content.contains("{{");
            compiles
                .then_some(())
                .ok_or_else(|| InvalidPolicy::new("messages[0].content", "{{", "a template"))
        },
        guardrail: |_| Err(InvalidPolicy::new("input[0].check", "(", "a pattern")),
        ..Compilers::NONE
    };
    let strict = store.control.compiling(compilers);
    let before = store.control.version().await.unwrap();
    let template = json!({"messages": [{"role": "system", "content": "{{"}]});
    let created = strict.prompts().create(None, &name("p"), template.clone(), NOW).await;
    assert_eq!(
        created.unwrap_err().to_string(),
        "prompt \"p\": messages[0].content: \"{{\" is not valid, expected a template"
    );
    let written =
        strict.documents().put(Kind::Guardrail, None, &name("g"), &spec(Kind::Guardrail, 1), None, NOW).await;
    assert_eq!(
        written.unwrap_err().to_string(),
        "guardrail \"g\": input[0].check: \"(\" is not valid, expected a pattern"
    );
    assert_eq!(store.control.version().await.unwrap(), before, "nothing was written");
    strict.prompts().create(None, &name("p"), spec(Kind::Prompt, 1), NOW).await.unwrap();
    strict.documents().put(Kind::Plan, None, &name("g"), &spec(Kind::Plan, 1), None, NOW).await.unwrap();
    // What was written before there were compilers can still be read, and deleted.
    store.control.prompts().create(None, &name("p"), template, NOW).await.unwrap();
    strict.prompts().delete_version(None, &name("p"), 2, NOW).await.unwrap();
}
