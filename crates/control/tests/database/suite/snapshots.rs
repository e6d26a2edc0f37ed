//! Snapshots: what the gateway will hold.

use crate::support::{NOW, Store, new_provider, price};
use contracts::{TenantId, Timestamp};
use control::records::{NewApiKey, NewProvider, NewRoute, NewTenant, TenantChange};
use control::secrets;

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
