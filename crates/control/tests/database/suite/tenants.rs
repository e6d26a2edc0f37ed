//! Tenants.

use crate::support::{NOW, Store};
use contracts::TenantId;
use control::ControlError;
use control::records::{NewApiKey, NewTenant, TenantChange};

pub async fn live_from_creation_to_deletion(store: Store) {
    let tenants = store.control.tenants();
    let acme: TenantId = "acme".parse().unwrap();
    let new = NewTenant {
        name: Some("Acme Größe".into()),
        retention_days: 7,
        capture_content: false,
        ..NewTenant::new(acme.clone())
    };
    let created = tenants.create(new, NOW).await.unwrap();
    assert_eq!(tenants.get(&acme).await.unwrap().unwrap(), created);
    assert_eq!(
        (created.name.as_str(), created.retention_days, created.capture_content),
        ("Acme Größe", 7, false)
    );
    assert_eq!(created.created_at, NOW);

    let again = tenants.create(NewTenant::new(acme.clone()), NOW).await.unwrap_err();
    assert_eq!(again.to_string(), "tenant \"acme\" already exists");

    let change = TenantChange { retention_days: Some(90), disabled: Some(true), ..TenantChange::default() };
    let changed = tenants.update(&acme, change, NOW).await.unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.retention_days, changed.disabled_at),
        ("Acme Größe", 90, Some(NOW))
    );
    let change = TenantChange { disabled: Some(false), ..TenantChange::default() };
    assert_eq!(tenants.update(&acme, change, NOW).await.unwrap().disabled_at, None);

    tenants.create(NewTenant::new("aaa".parse().unwrap()), NOW).await.unwrap();
    let names: Vec<String> = tenants.list().await.unwrap().into_iter().map(|t| t.id.to_string()).collect();
    assert_eq!(names, ["aaa", "acme"]);

    tenants.delete(&acme).await.unwrap();
    assert_eq!(tenants.get(&acme).await.unwrap(), None);
    let gone = tenants.delete(&acme).await.unwrap_err();
    assert_eq!(gone.to_string(), "tenant \"acme\" does not exist");
    let gone = tenants.update(&acme, TenantChange::default(), NOW).await.unwrap_err();
    assert!(matches!(gone, ControlError::NotFound { kind: "tenant", .. }), "{gone}");
}

pub async fn are_validated(store: Store) {
    let tenants = store.control.tenants();
    let new = |days| NewTenant { retention_days: days, ..NewTenant::new("acme".parse().unwrap()) };
    for days in [0, 3651] {
        let error = tenants.create(new(days), NOW).await.unwrap_err().to_string();
        assert_eq!(error, format!("retention_days: \"{days}\" is not valid, expected 1 to 3650"));
    }
    tenants.create(new(3650), NOW).await.unwrap();
    let change = TenantChange { name: Some("a\nb".into()), ..TenantChange::default() };
    let error = tenants.update(&"acme".parse().unwrap(), change, NOW).await.unwrap_err().to_string();
    assert!(error.starts_with("name: \"a\\nb\" is not valid"), "{error}");
}

pub async fn in_use_stay(store: Store) {
    store.tenant("acme").await;
    let acme: TenantId = "acme".parse().unwrap();
    let keys = store.control.keys();
    let first = keys.create(NewApiKey::new(acme.clone(), "one"), NOW).await.unwrap();
    let second = keys.create(NewApiKey::new(acme.clone(), "two"), NOW).await.unwrap();
    let error = store.control.tenants().delete(&acme).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"acme\" is in use by 2 keys: remove these first");
    keys.delete(&first.key.id).await.unwrap();
    keys.delete(&second.key.id).await.unwrap();
    store.control.tenants().delete(&acme).await.unwrap();
}
