//! Prompts: versions and labels.

use crate::support::{NOW, Store, spec};
use contracts::policy::{Kind, PromptRef, RouteSpec, Selector};
use contracts::{PolicyName, TenantId};
use control::records::{AuditFilter, NewRoute, Patch, RouteChange};
use control::{Actor, ControlError};
use serde_json::json;
use std::collections::BTreeMap;

fn hello() -> PolicyName {
    "hello".parse().unwrap()
}

pub async fn live_from_creation_to_deletion(store: Store) {
    let control = store.control.as_actor(Actor::cli());
    let prompts = control.prompts();
    for version in 1..=3_u64 {
        let created = prompts.create(None, &hello(), spec(Kind::Prompt, version), NOW).await.unwrap();
        assert_eq!((created.version, created.created_at, created.created_by.as_str()), (version, NOW, "cli"));
    }
    let error = prompts.create(None, &hello(), json!("text"), NOW).await.unwrap_err().to_string();
    assert!(error.starts_with("prompt \"hello\": spec: "), "{error}");

    prompts.set_label(None, &hello(), "production", 1).await.unwrap();
    prompts.set_label(None, &hello(), "staging", 3).await.unwrap();
    let prompt = prompts.set_label(None, &hello(), "production", 2).await.unwrap();
    assert_eq!(prompt.versions, [1, 2, 3]);
    assert_eq!(prompt.labels, BTreeMap::from([("production".into(), 2), ("staging".into(), 3)]));
    assert_eq!(prompts.get(None, &hello()).await.unwrap().unwrap(), prompt);
    let found = prompts.version(None, &hello(), Selector::Label("production")).await.unwrap().unwrap();
    assert_eq!((found.version, found.spec), (2, spec(Kind::Prompt, 2)));
    assert_eq!(prompts.version(None, &hello(), Selector::Label("none")).await.unwrap(), None);

    let error = prompts.set_label(None, &hello(), "production", 9).await.unwrap_err().to_string();
    assert_eq!(error, "prompt \"hello@9\" does not exist");
    let error = prompts.set_label(None, &hello(), "Big Label", 1).await.unwrap_err().to_string();
    assert!(error.contains("label: \"Big Label\" is not valid, expected 1 to 64 characters"), "{error}");

    let error = prompts.delete_version(None, &hello(), 3, NOW).await.unwrap_err().to_string();
    assert_eq!(error, "prompt \"hello@3\" is in use by label \"staging\": remove these first");
    prompts.delete_label(None, &hello(), "staging").await.unwrap();
    prompts.delete_version(None, &hello(), 3, NOW).await.unwrap();
    let error = prompts.delete_version(None, &hello(), 3, NOW).await.unwrap_err();
    assert!(matches!(error, ControlError::NotFound { .. }), "{error}");
    let next = prompts.create(None, &hello(), spec(Kind::Prompt, 1), NOW).await.unwrap();
    assert_eq!(next.version, 4, "a number never means two things");

    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    assert_eq!(prompts.create(Some(&acme), &hello(), spec(Kind::Prompt, 1), NOW).await.unwrap().version, 5);
    assert_eq!(prompts.list(Some(&acme)).await.unwrap().len(), 1);
    assert_eq!(prompts.list(None).await.unwrap().len(), 2);
    let error = store.control.tenants().delete(&acme).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"acme\" is in use by 1 prompt: remove these first");
    prompts.delete_version(Some(&acme), &hello(), 5, NOW).await.unwrap();
    store.control.tenants().delete(&acme).await.unwrap();
}

pub async fn stay_while_they_are_referred_to(store: Store) {
    let prompts = store.control.prompts();
    store.model("p", "m").await;
    for n in 1..=2 {
        prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
    }
    prompts.set_label(None, &hello(), "live", 2).await.unwrap();
    let of_prompt = |version, label: Option<&str>| RouteSpec {
        prompt: Some(PromptRef { name: hello(), version, label: label.map(str::to_owned) }),
        ..RouteSpec::default()
    };
    let bot = "bot".parse().unwrap();
    let new = NewRoute::new("bot".parse().unwrap(), "m".parse().unwrap());
    let new = NewRoute { spec: Some(of_prompt(Some(1), None)), ..new };
    store.control.routes().create(new, NOW).await.unwrap();
    let error = prompts.delete_version(None, &hello(), 1, NOW).await.unwrap_err().to_string();
    assert_eq!(error, "prompt \"hello@1\" is in use by route \"bot\": remove these first");

    let change = RouteChange { spec: Patch::Set(of_prompt(None, Some("live"))), ..RouteChange::default() };
    store.control.routes().update(None, &bot, change).await.unwrap();
    prompts.delete_version(None, &hello(), 1, NOW).await.unwrap();
    let error = prompts.delete_label(None, &hello(), "live").await.unwrap_err().to_string();
    assert_eq!(error, "prompt \"hello\" is in use by route \"bot\": remove these first");
    let change = RouteChange { spec: Patch::Set(of_prompt(Some(1), None)), ..RouteChange::default() };
    let error = store.control.routes().update(None, &bot, change).await.unwrap_err().to_string();
    let expected = "route \"bot\" refers to prompt \"hello, version 1\", which does not exist";
    assert_eq!(error, expected);
    // A prompt's own references are checked too.
    let mut asking = spec(Kind::Prompt, 3);
    asking["defaults"] = json!({"model": "none"});
    let error = prompts.create(None, &hello(), asking, NOW).await.unwrap_err().to_string();
    assert_eq!(error, "prompt \"hello@3\" refers to model \"none\", which does not exist");
    assert!(store.control.documents().list(Kind::Prompt, None).await.unwrap().is_empty());
}

pub async fn are_labelled_as_they_are_made(store: Store) {
    let prompts = store.control.prompts();
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    let before = store.control.snapshot().await.unwrap().version;
    let error = prompts
        .create_labelled(Some(&acme), &hello(), spec(Kind::Prompt, 1), Some("Big Label"), NOW)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("label: \"Big Label\" is not valid"), "{error}");
    assert_eq!(prompts.get(Some(&acme), &hello()).await.unwrap(), None);
    assert_eq!(store.control.snapshot().await.unwrap().version, before);
    for version in 1..=2 {
        let spec = spec(Kind::Prompt, version);
        prompts.create_labelled(Some(&acme), &hello(), spec, Some("production"), NOW).await.unwrap();
        let prompt = prompts.get(Some(&acme), &hello()).await.unwrap().unwrap();
        assert_eq!(prompt.labels, BTreeMap::from([("production".into(), version)]));
    }
    let filter = AuditFilter { kind: Some("prompt".into()), ..AuditFilter::default() };
    let noted = store.control.audit().list(&filter).await.unwrap().data;
    let noted: Vec<(&str, &str)> =
        noted.iter().rev().map(|entry| (entry.action.as_str(), entry.name.as_str())).collect();
    assert_eq!(noted, [("create", "hello@1"), ("label", "hello"), ("create", "hello@2"), ("label", "hello")]);
}

pub async fn of_a_tenant_leave_it_what_is_shared_and_not_its_own(store: Store) {
    let prompts = store.control.prompts();
    store.model("p", "m").await;
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    for n in 1..=3 {
        prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
    }
    prompts.set_label(None, &hello(), "production", 2).await.unwrap();
    prompts.create(Some(&acme), &hello(), spec(Kind::Prompt, 1), NOW).await.unwrap();
    let routes = store.control.routes();
    let route = |name: &str, version, label: Option<&str>| {
        let prompt = Some(PromptRef { name: hello(), version, label: label.map(str::to_owned) });
        let new = NewRoute::new(name.parse().unwrap(), "m".parse().unwrap());
        let spec = Some(RouteSpec { prompt, ..RouteSpec::default() });
        NewRoute { tenant: Some(acme.clone()), spec, ..new }
    };
    // The tenant's routes stand on the shared prompt where its own has no such label or version.
    routes.create(route("by-label", None, Some("production")), NOW).await.unwrap();
    routes.create(route("by-version", Some(3), None), NOW).await.unwrap();
    routes.create(route("own", Some(4), None), NOW).await.unwrap();
    let error = routes.create(route("none", Some(5), None), NOW).await.unwrap_err().to_string();
    assert!(error.contains("\"hello, version 5\", which does not exist"), "{error}");
    let error = prompts.delete_label(None, &hello(), "production").await.unwrap_err().to_string();
    assert!(error.contains("in use by route \"by-label\" of acme"), "{error}");
    let error = prompts.delete_version(None, &hello(), 3, NOW).await.unwrap_err().to_string();
    assert!(error.contains("in use by route \"by-version\" of acme"), "{error}");
    prompts.delete_version(None, &hello(), 1, NOW).await.unwrap();
    let error = prompts.delete_version(Some(&acme), &hello(), 4, NOW).await.unwrap_err().to_string();
    assert!(error.contains("in use by route \"own\" of acme"), "{error}");
    // Its own label is its own from then on.
    prompts.set_label(Some(&acme), &hello(), "production", 4).await.unwrap();
    prompts.delete_label(None, &hello(), "production").await.unwrap();
}

pub async fn of_a_tenant_keep_their_numbers_out_of_force_too(store: Store) {
    let prompts = store.control.prompts();
    store.model("p", "m").await;
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    for n in 1..=3 {
        prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
    }
    prompts.create(Some(&acme), &hello(), spec(Kind::Prompt, 1), NOW).await.unwrap();
    for n in 4..=5 {
        prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
    }
    // A route of the tenant's stands on the shared fifth version; its own second one is the sixth.
    let prompt = Some(PromptRef { name: hello(), version: Some(5), label: None });
    let route = NewRoute::new("bot".parse().unwrap(), "m".parse().unwrap());
    let of_route = Some(RouteSpec { prompt, ..RouteSpec::default() });
    store
        .control
        .routes()
        .create(NewRoute { tenant: Some(acme.clone()), spec: of_route, ..route }, NOW)
        .await
        .unwrap();
    for n in 6..=27 {
        let created = prompts.create(Some(&acme), &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
        assert_eq!(created.version, n);
    }
    let error = prompts.delete_version(None, &hello(), 5, NOW).await.unwrap_err().to_string();
    assert!(error.contains("in use by route \"bot\" of acme"), "{error}");
    prompts.delete_version(Some(&acme), &hello(), 27, NOW).await.unwrap();
    for n in 6..=27 {
        prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await.unwrap();
    }

    let snapshot = store.control.snapshot().await.unwrap();
    assert!(snapshot.resolve(&acme, "bot").unwrap().route.unwrap().policy.is_ok());
    let owner = |version| {
        let held = snapshot.prompts.get(Some(&acme), &hello(), Selector::Version(version))?;
        held.as_ref().ok()?.tenant.clone()
    };
    let found = |version| snapshot.prompts.get(Some(&acme), &hello(), Selector::Version(version)).is_some();
    // Its own fourth and sixth are beyond the latest twenty, and its last was deleted: no shared text takes their places.
    for (version, is_there, whose) in
        [(4, false, None), (5, true, None), (6, false, None), (8, true, Some(&acme)), (27, false, None)]
    {
        assert_eq!((found(version), owner(version).as_ref()), (is_there, whose), "{version}");
    }
}

pub async fn are_numbered_once_by_many(store: Store) {
    let writers: Vec<_> = (1..=20)
        .map(|n| {
            let prompts = store.control.prompts();
            tokio::spawn(async move { prompts.create(None, &hello(), spec(Kind::Prompt, n), NOW).await })
        })
        .collect();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap().unwrap().version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<u64>>());
}
