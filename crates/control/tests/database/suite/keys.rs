//! API keys.

use crate::support::{NOW, Store};
use contracts::{TenantId, Timestamp};
use control::records::{ApiKeyChange, NewApiKey, Patch};
use control::secrets;
use sqlx::Row;

const LATER: Timestamp = Timestamp::from_unix_nanos(NOW.unix_nanos() + 1_000_000_000);

pub async fn live_from_creation_to_deletion(store: Store) {
    store.tenant("acme").await;
    store.tenant("other").await;
    let keys = store.control.keys();
    let acme: TenantId = "acme".parse().unwrap();
    let new = NewApiKey {
        allowed_models: Some(vec!["gpt-4o-mini".parse().unwrap(), "support/bot".parse().unwrap()]),
        expires_at: Some(LATER),
        ..NewApiKey::new(acme.clone(), "ci")
    };
    let created = keys.create(new.clone(), NOW).await.unwrap();
    let key = created.key.clone();
    assert_eq!(keys.get(&key.id).await.unwrap().unwrap(), key);
    assert_eq!((key.tenant.as_str(), key.name.as_str()), ("acme", "ci"));
    assert_eq!(
        (&key.allowed_models, key.expires_at, key.revoked_at),
        (&new.allowed_models, Some(LATER), None)
    );
    assert!(key.is_active(NOW) && !key.is_active(LATER));

    let other = keys.create(NewApiKey::new("other".parse().unwrap(), ""), LATER).await.unwrap();
    assert_eq!(keys.list(None).await.unwrap(), [key.clone(), other.key.clone()]);
    assert_eq!(keys.list(Some(&acme)).await.unwrap(), std::slice::from_ref(&key));

    let change =
        ApiKeyChange { name: Some("cd".into()), allowed_models: Patch::Clear, ..ApiKeyChange::default() };
    let changed = keys.update(&key.id, change, NOW).await.unwrap();
    assert_eq!(
        (changed.name.as_str(), &changed.allowed_models, changed.expires_at),
        ("cd", &None, Some(LATER))
    );
    assert_eq!(keys.get(&key.id).await.unwrap().unwrap(), changed);

    let revoked = keys.revoke(&key.id, NOW).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(NOW));
    assert!(!revoked.is_active(NOW));
    // The first time counts.
    assert_eq!(keys.revoke(&key.id, LATER).await.unwrap().revoked_at, Some(NOW));

    keys.delete(&key.id).await.unwrap();
    assert_eq!(keys.get(&key.id).await.unwrap(), None);
    let gone = keys.revoke(&key.id, NOW).await.unwrap_err().to_string();
    assert_eq!(gone, format!("key \"{}\" does not exist", key.id));
}

pub async fn are_found_by_their_secret_alone(store: Store) {
    store.tenant("acme").await;
    let keys = store.control.keys();
    let created = keys.create(NewApiKey::new("acme".parse().unwrap(), "ci"), NOW).await.unwrap();
    let digits = created.secret.strip_prefix("ct-").unwrap();
    assert_eq!(digits.len(), 64, "256 bits");
    assert!(created.secret.starts_with(&created.key.prefix) && created.key.prefix.len() == 11);

    assert_eq!(keys.find_by_secret(&created.secret).await.unwrap(), Some(created.key.clone()));
    assert_eq!(keys.find_by_secret(&created.key.prefix).await.unwrap(), None);
    let stored_hash = hex::encode(secrets::hash(&created.secret));
    assert_eq!(keys.find_by_secret(&stored_hash).await.unwrap(), None, "a leaked hash is no key");

    // What the database holds of it is the hash.
    let mut raw = store.raw().await;
    let row = sqlx::query("SELECT * FROM api_keys").fetch_one(&mut raw).await.unwrap();
    assert_eq!(row.get::<String, _>("hash"), stored_hash);
    for column in ["id", "name", "prefix", "tenant_id"] {
        assert!(!row.get::<String, _>(column).contains(digits), "{column} holds the secret");
    }

    // Revoked ones are found too, so that the answer can say "revoked".
    keys.revoke(&created.key.id, NOW).await.unwrap();
    assert_eq!(keys.find_by_secret(&created.secret).await.unwrap().unwrap().revoked_at, Some(NOW));
}

pub async fn are_validated(store: Store) {
    store.tenant("acme").await;
    let keys = store.control.keys();
    let new = || NewApiKey::new("acme".parse().unwrap(), "ci");
    let refused = [
        (NewApiKey { expires_at: Some(NOW), ..new() }, "expires_at: \"2026-01-01T00:00:00Z\" is not valid"),
        (NewApiKey { allowed_models: Some(Vec::new()), ..new() }, "allowed_models: \"[]\" is not valid"),
        (NewApiKey { name: "x".repeat(201), ..new() }, "name: \"xxx"),
        (NewApiKey { tenant: "nobody".parse().unwrap(), ..new() }, "tenant \"nobody\" does not exist"),
    ];
    for (key, expected) in refused {
        let error = keys.create(key, NOW).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(keys.list(None).await.unwrap().is_empty());
}
