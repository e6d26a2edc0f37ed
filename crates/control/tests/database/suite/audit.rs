//! The audit log.

use crate::support::{NOW, Store, new_provider, price, spec};
use contracts::TenantId;
use contracts::policy::Kind;
use control::Actor;
use control::records::{
    AuditEntry, AuditFilter, NewApiKey, NewProvider, NewUser, Role, TenantChange, UserChange,
};

async fn all(store: &Store) -> Vec<AuditEntry> {
    let filter = AuditFilter { limit: Some(1000), ..AuditFilter::default() };
    store.control.audit().list(&filter).await.unwrap().data
}

pub async fn tells_who_changed_what(store: Store) {
    let acme: TenantId = "acme".parse().unwrap();
    store.tenant("acme").await;
    let key = store.control.admin_keys().create("ops", NOW).await.unwrap().key;
    let by_key = store.control.as_actor(Actor::admin_key(&key));
    let change = TenantChange { retention_days: Some(7), ..TenantChange::default() };
    by_key.tenants().update(&acme, change, NOW).await.unwrap();
    let gold = "gold".parse().unwrap();
    let cli = store.control.as_actor(Actor::cli());
    cli.documents().put(Kind::Plan, Some(&acme), &gold, &spec(Kind::Plan, 1), None, NOW).await.unwrap();
    cli.documents().delete(Kind::Plan, Some(&acme), &gold, None).await.unwrap();
    // What is refused is not noted.
    cli.documents().delete(Kind::Plan, Some(&acme), &gold, None).await.unwrap_err();
    cli.prices().put(vec![price("p", "a", None, "1"), price("p", "b", None, "1")]).await.unwrap();
    cli.prices().put(vec![price("p", "a", None, "2"), price("p", "b", None, "1")]).await.unwrap();

    let entries = all(&store).await;
    let told: Vec<(&str, &str, &str, &str)> = entries
        .iter()
        .rev()
        .map(|e| (e.actor.as_str(), e.action.as_str(), e.kind.as_str(), e.name.as_str()))
        .collect();
    let expected = [
        ("system", "create", "tenant", "acme"),
        ("system", "create", "admin key", key.id.as_str()),
        (key.id.as_str(), "update", "tenant", "acme"),
        ("cli", "create", "plan", "gold"),
        ("cli", "delete", "plan", "gold"),
        ("cli", "update", "price", "2 models"),
        ("cli", "update", "price", "p/a"),
    ];
    assert_eq!(told, expected);
    let ids: Vec<u64> = entries.iter().rev().map(|entry| entry.id).collect();
    assert_eq!(ids, (1..=7).collect::<Vec<u64>>(), "without a gap");
    let updated = &entries[4];
    assert_eq!(updated.before.as_ref().unwrap()["retention_days"], 30);
    assert_eq!(updated.after.as_ref().unwrap()["retention_days"], 7);
    assert_eq!((updated.tenant.as_deref(), &entries[3].before), (Some("acme"), &None));
    assert_eq!((&entries[2].after, entries[2].tenant.as_deref()), (&None, Some("acme")));
    assert_eq!(entries[0].before.as_ref().unwrap().as_array().unwrap().len(), 1);
    assert!(entries.iter().all(|entry| entry.at.unix_seconds() > NOW.unix_seconds() - 86_400 * 365));
    assert!(entries.windows(2).all(|pair| pair[0].at >= pair[1].at));
}

pub async fn never_holds_a_secret(store: Store) {
    let control = &store.control;
    store.tenant("acme").await;
    let key = control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap();
    control.keys().revoke(&key.key.id, NOW).await.unwrap();
    let admin = control.admin_keys().create("", NOW).await.unwrap();
    let provider =
        NewProvider { secret: Some("literal:sk-verysecret".parse().unwrap()), ..new_provider("p") };
    control.providers().create(provider, NOW).await.unwrap();
    let user = NewUser {
        username: "ann".into(),
        password: "correct horse".into(),
        role: Role::Admin,
        tenants: None,
    };
    let user = control.users().create(user, NOW).await.unwrap();
    let change = UserChange { password: Some("battery staple".into()), ..UserChange::default() };
    control.users().update(&user.id, change).await.unwrap();
    control.settings().set("service", "ct-service-1").await.unwrap();
    control.settings().get_or_set("other", "ct-service-2").await.unwrap();
    let entries = all(&store).await;
    assert_eq!(entries.len(), 9);
    let text = serde_json::to_string(&entries).unwrap();
    for secret in [
        key.secret.as_str(),
        &admin.secret,
        &hex::encode(control::secrets::hash(&key.secret)),
        "sk-verysecret",
        "correct horse",
        "battery staple",
        "argon2",
        "ct-service-1",
        "ct-service-2",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"set password") && actions.contains(&"revoke"), "{actions:?}");
}

pub async fn is_read_page_by_page(store: Store) {
    for n in 0..5 {
        store.tenant(&format!("t{n}")).await;
    }
    let audit = store.control.audit();
    let page = async |filter: AuditFilter| {
        let page = audit.list(&filter).await.unwrap();
        let names: Vec<String> = page.data.iter().map(|entry| entry.name.clone()).collect();
        (names.join(" "), page.next)
    };
    let filter = AuditFilter { limit: Some(2), ..AuditFilter::default() };
    assert_eq!(page(filter.clone()).await, ("t4 t3".into(), Some(4)));
    let second = AuditFilter { cursor: Some(4), ..filter.clone() };
    assert_eq!(page(second).await, ("t2 t1".into(), Some(2)));
    let last = AuditFilter { cursor: Some(2), ..filter };
    assert_eq!(page(last).await, ("t0".into(), None));
    let only = AuditFilter { tenant: Some("t3".parse().unwrap()), ..AuditFilter::default() };
    assert_eq!(page(only).await, ("t3".into(), None));
    let none = [
        AuditFilter { actor: Some("cli".into()), ..AuditFilter::default() },
        AuditFilter { action: Some("delete".into()), ..AuditFilter::default() },
        AuditFilter { kind: Some("plan".into()), ..AuditFilter::default() },
        AuditFilter { name: Some("t9".into()), ..AuditFilter::default() },
        AuditFilter { until: Some(contracts::Timestamp::from_unix_seconds(1)), ..AuditFilter::default() },
    ];
    for filter in none {
        assert_eq!(page(filter).await, (String::new(), None));
    }
    let since =
        AuditFilter { since: Some(contracts::Timestamp::from_unix_seconds(1)), ..AuditFilter::default() };
    assert_eq!(page(since).await.0, "t4 t3 t2 t1 t0");
    for limit in [0, 1001] {
        let filter = AuditFilter { limit: Some(limit), ..AuditFilter::default() };
        let error = audit.list(&filter).await.unwrap_err().to_string();
        assert_eq!(error, format!("limit: \"{limit}\" is not valid, expected 1 to 1000"));
    }
}

pub async fn only_grows(store: Store) {
    store.tenant("acme").await;
    let mut raw = store.raw().await;
    for statement in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
        let error = sqlx::query(statement).execute(&mut raw).await.unwrap_err().to_string();
        assert!(error.contains("the audit log only grows"), "{statement}: {error}");
    }
    if store.url.starts_with("postgres") {
        let error = sqlx::query("TRUNCATE audit").execute(&mut raw).await.unwrap_err().to_string();
        assert!(error.contains("the audit log only grows"), "{error}");
    }
    assert_eq!(all(&store).await.len(), 1);
}
