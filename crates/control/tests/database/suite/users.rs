//! Users, their sessions, and admin keys.

use crate::support::{NOW, Store};
use contracts::Timestamp;
use control::records::{NewUser, Patch, Role, UserChange};
use sqlx::Row;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const IN_AN_HOUR: Timestamp = Timestamp::from_unix_seconds(1_767_225_600 + 3600);

fn ann() -> NewUser {
    NewUser {
        username: "Ann@Example.org".into(),
        password: "correct horse".into(),
        role: Role::Viewer,
        tenants: Some(vec!["b".parse().unwrap(), "a".parse().unwrap()]),
    }
}

async fn with_tenants(store: &Store) {
    store.tenant("a").await;
    store.tenant("b").await;
}

pub async fn sign_in_with_the_right_password_only(store: Store) {
    with_tenants(&store).await;
    let users = store.control.users();
    let created = users.create(ann(), NOW).await.unwrap();
    assert_eq!(created.username, "ann@example.org");
    assert_eq!(created.tenants, Some(vec!["a".parse().unwrap(), "b".parse().unwrap()]));
    assert_eq!(users.get(&created.id).await.unwrap().unwrap(), created);
    assert_eq!(users.find_by_username("ANN@example.org").await.unwrap().unwrap(), created);
    assert_eq!(users.list().await.unwrap(), std::slice::from_ref(&created));

    assert_eq!(users.verify("ann@EXAMPLE.org", "correct horse").await.unwrap(), Some(created.clone()));
    assert_eq!(users.verify("ann@example.org", "Correct horse").await.unwrap(), None);
    assert_eq!(users.verify("bob@example.org", "correct horse").await.unwrap(), None);
    assert_eq!(users.verify("ann@example.org", &"x".repeat(5000)).await.unwrap(), None);

    let mut raw = store.raw().await;
    let row = sqlx::query("SELECT password_hash FROM users").fetch_one(&mut raw).await.unwrap();
    assert!(row.get::<String, _>(0).starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));

    let change =
        UserChange { role: Some(Role::Admin), tenants: Patch::Clear, password: Some("new password".into()) };
    let changed = users.update(&created.id, change).await.unwrap();
    assert_eq!((changed.role, &changed.tenants), (Role::Admin, &None));
    assert_eq!(users.verify("ann@example.org", "correct horse").await.unwrap(), None);
    assert_eq!(users.verify("ann@example.org", "new password").await.unwrap(), Some(changed));
    users.delete(&created.id).await.unwrap();
    assert_eq!(users.verify("ann@example.org", "new password").await.unwrap(), None);
    assert!(users.delete(&created.id).await.unwrap_err().to_string().starts_with("user \"usr_"));
}

pub async fn are_validated(store: Store) {
    with_tenants(&store).await;
    let users = store.control.users();
    let refused = [
        (
            NewUser { username: "ann smith".into(), ..ann() },
            "username: \"ann smith\" is not valid, expected 1 to 128",
        ),
        (
            NewUser { password: "short".into(), ..ann() },
            "password: \"(hidden)\" is not valid, expected 8 to 1024 bytes",
        ),
        (NewUser { tenants: Some(vec!["c".parse().unwrap()]), ..ann() }, "tenant \"c\" does not exist"),
    ];
    for (user, expected) in refused {
        let error = users.create(user, NOW).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    users.create(ann(), NOW).await.unwrap();
    let error = users.create(ann(), NOW).await.unwrap_err().to_string();
    assert_eq!(error, "user \"ann@example.org\" already exists");
    let error = store.control.tenants().delete(&"a".parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"a\" is in use by 1 user: remove these first");
}

pub async fn sessions_end(store: Store) {
    with_tenants(&store).await;
    let (users, sessions) = (store.control.users(), store.control.sessions());
    let user = users.create(ann(), NOW).await.unwrap();
    let before = store.control.version().await.unwrap();
    let open = sessions.create(&user.id, HOUR, NOW).await.unwrap();
    assert_eq!(open.expires_at, IN_AN_HOUR);
    let found = sessions.find(&open.token, NOW).await.unwrap().unwrap();
    assert_eq!((found.user, found.created_at, found.expires_at), (user.clone(), NOW, IN_AN_HOUR));
    assert!(sessions.find("ct-session-0", NOW).await.unwrap().is_none());

    // By time …
    assert!(sessions.find(&open.token, IN_AN_HOUR).await.unwrap().is_none());
    assert_eq!(sessions.delete_expired(NOW).await.unwrap(), 0);
    assert_eq!(sessions.delete_expired(IN_AN_HOUR).await.unwrap(), 1);
    // … by signing out …
    let open = sessions.create(&user.id, HOUR, NOW).await.unwrap();
    sessions.delete(&open.token).await.unwrap();
    assert!(sessions.find(&open.token, NOW).await.unwrap().is_none());
    assert_eq!(store.control.version().await.unwrap(), before, "sessions are no change of policy");
    // … by a new password …
    let open = sessions.create(&user.id, HOUR, NOW).await.unwrap();
    let change = UserChange { password: Some("new password".into()), ..UserChange::default() };
    users.update(&user.id, change).await.unwrap();
    assert!(sessions.find(&open.token, NOW).await.unwrap().is_none());
    // … and with the user.
    let open = sessions.create(&user.id, HOUR, NOW).await.unwrap();
    users.delete(&user.id).await.unwrap();
    assert!(sessions.find(&open.token, NOW).await.unwrap().is_none());
    let error = sessions.create(&user.id, HOUR, NOW).await.unwrap_err().to_string();
    assert!(error.ends_with("does not exist"), "{error}");
}

pub async fn admin_keys_are_found_by_their_secret_alone(store: Store) {
    let keys = store.control.admin_keys();
    let created = keys.create("first", NOW).await.unwrap();
    assert!(created.secret.starts_with("ct-admin-") && created.secret.starts_with(&created.key.prefix));
    assert_eq!(keys.find_by_secret(&created.secret).await.unwrap(), Some(created.key.clone()));
    assert_eq!(keys.find_by_secret(&created.key.prefix).await.unwrap(), None);
    assert_eq!(keys.list().await.unwrap(), std::slice::from_ref(&created.key));
    keys.delete(&created.key.id).await.unwrap();
    assert_eq!(keys.find_by_secret(&created.secret).await.unwrap(), None);
}
