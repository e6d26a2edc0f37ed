//! The version: it changes if and only if something did.

use crate::support::{NOW, Store, new_model, new_provider, price, spec};
use contracts::TenantId;
use contracts::policy::Kind;
use control::records::{
    ApiKeyChange, AuditFilter, ModelChange, NewApiKey, NewRoute, NewTenant, NewUser, ProviderChange, Role,
    TenantChange, UserChange,
};
use std::collections::BTreeSet;

/// Asserts that the change bumps the version by one and is noted in the audit log.
macro_rules! bumps {
    ($store:expr, $change:expr) => {{
        let before = $store.control.version().await.unwrap();
        let noted = last_noted(&$store).await;
        let outcome = $change.await.unwrap();
        let after = $store.control.version().await.unwrap();
        assert_eq!(after, before + 1, "{}", stringify!($change));
        assert_eq!(last_noted(&$store).await, noted + 1, "{}", stringify!($change));
        outcome
    }};
}

/// The id of the last change in the audit log; 0 when there is none.
async fn last_noted(store: &Store) -> u64 {
    let page = store.control.audit().list(&AuditFilter { limit: Some(1), ..AuditFilter::default() }).await;
    page.unwrap().data.first().map_or(0, |entry| entry.id)
}

pub async fn grow_with_every_change_and_with_nothing_else(store: Store) {
    let control = &store.control;
    assert_eq!(control.version().await.unwrap(), 1);
    let acme: TenantId = "acme".parse().unwrap();
    bumps!(store, control.tenants().create(NewTenant::new(acme.clone()), NOW));
    bumps!(store, control.tenants().update(&acme, TenantChange::default(), NOW));
    bumps!(store, control.providers().create(new_provider("p"), NOW));
    bumps!(store, control.providers().update(&"p".parse().unwrap(), ProviderChange::default()));
    bumps!(store, control.models().create(new_model("m", "p"), NOW));
    bumps!(store, control.models().update(&"m".parse().unwrap(), ModelChange::default()));
    let route = NewRoute::new("r".parse().unwrap(), "m".parse().unwrap());
    bumps!(store, control.routes().create(route, NOW));
    bumps!(
        store,
        control.routes().update(
            None,
            &"r".parse().unwrap(),
            contracts::ModelName::try_from(String::from("m")).unwrap()
        )
    );
    let key = bumps!(store, control.keys().create(NewApiKey::new(acme.clone(), ""), NOW)).key;
    bumps!(store, control.keys().update(&key.id, ApiKeyChange::default(), NOW));
    bumps!(store, control.keys().revoke(&key.id, NOW));
    bumps!(store, control.prices().put(vec![price("p", "m", None, "1")]));
    let user =
        NewUser { username: "ann".into(), password: "12345678".into(), role: Role::Admin, tenants: None };
    let user = bumps!(store, control.users().create(user, NOW));
    bumps!(store, control.users().update(&user.id, UserChange::default()));
    let admin = bumps!(store, control.admin_keys().create("", NOW));
    bumps!(store, control.settings().set("a", "b"));
    let (plan, written) = ("gold".parse().unwrap(), spec(Kind::Plan, 1));
    bumps!(store, control.documents().put(Kind::Plan, None, &plan, &written, None, NOW));
    let hello = "hello".parse().unwrap();
    bumps!(store, control.prompts().create(None, &hello, spec(Kind::Prompt, 1), NOW));
    bumps!(store, control.prompts().set_label(None, &hello, "production", 1));

    let before = control.version().await.unwrap();
    let noted = last_noted(&store).await;
    control.documents().put(Kind::Plan, None, &plan, &written, None, NOW).await.unwrap();
    control.prompts().set_label(None, &hello, "production", 1).await.unwrap();
    control.load().await.unwrap();
    control.keys().find_by_secret("x").await.unwrap();
    control.keys().revoke(&key.id, NOW).await.unwrap();
    control.settings().get_or_set("a", "c").await.unwrap();
    control.prices().put(vec![price("p", "m", None, "1")]).await.unwrap();
    assert_eq!(control.version().await.unwrap(), before, "reads and changes that change nothing");
    assert_eq!(last_noted(&store).await, noted, "reads and changes that change nothing");

    bumps!(store, control.prompts().delete_label(None, &hello, "production"));
    bumps!(store, control.prompts().delete_version(None, &hello, 1, NOW));
    bumps!(store, control.documents().delete(Kind::Plan, None, &plan, None));
    bumps!(store, control.settings().delete("a"));
    bumps!(store, control.admin_keys().delete(&admin.key.id));
    bumps!(store, control.users().delete(&user.id));
    bumps!(store, control.prices().replace(Vec::new()));
    bumps!(store, control.keys().delete(&key.id));
    bumps!(store, control.routes().delete(None, &"r".parse().unwrap()));
    bumps!(store, control.models().delete(&"m".parse().unwrap()));
    bumps!(store, control.providers().delete(&"p".parse().unwrap()));
    bumps!(store, control.tenants().delete(&acme));
}

pub async fn do_not_grow_when_a_change_fails(store: Store) {
    let control = &store.control;
    store.tenant("acme").await;
    store.model("p", "m").await;
    let before = control.version().await.unwrap();
    control.tenants().create(NewTenant::new("acme".parse().unwrap()), NOW).await.unwrap_err();
    control.models().create(new_model("m2", "nowhere"), NOW).await.unwrap_err();
    control.providers().delete(&"p".parse().unwrap()).await.unwrap_err();
    control.keys().delete(&"none".parse().unwrap()).await.unwrap_err();
    assert_eq!(control.version().await.unwrap(), before);

    // What another connection sees changes in one step: row and version together.
    let mut raw = store.raw().await;
    let read =
        "SELECT (SELECT version FROM control_version) AS version, (SELECT count(*) FROM tenants) AS tenants";
    let watcher = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        loop {
            let row = sqlx::query(read).fetch_one(&mut raw).await.unwrap();
            let pair = (sqlx::Row::get::<i64, _>(&row, 0), sqlx::Row::get::<i64, _>(&row, 1));
            seen.insert(pair);
            if pair.1 == 21 {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    });
    for n in 0..20 {
        store.tenant(&format!("t{n}")).await;
    }
    let start = i64::try_from(before).unwrap();
    for (version, tenants) in watcher.await.unwrap() {
        assert_eq!(version - start, tenants - 1, "a row without its version, or a version without its row");
    }
}

pub async fn concurrent_writers_all_count(store: Store) {
    let before = store.control.version().await.unwrap();
    // Two processes of several tasks each, as far as the database can tell.
    let second = control::Control::open(&store.url).await.unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let control = if n % 2 == 0 { store.control.clone() } else { second.clone() };
            tokio::spawn(async move {
                let id: TenantId = format!("t{}", n / 2).parse().unwrap();
                control.tenants().create(NewTenant::new(id), NOW).await
            })
        })
        .collect();
    let (mut created, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(control::ControlError::Exists { .. }) => refused += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    assert_eq!((created, refused), (20, 20));
    assert_eq!(store.control.version().await.unwrap(), before + 20);
    assert_eq!(second.tenants().list().await.unwrap().len(), 20);
}
