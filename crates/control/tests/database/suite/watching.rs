//! The watcher: changes arrive in time, outages do not hurt.

use crate::support::{NOW, Store};
use control::Snapshots;
use control::records::NewApiKey;
use control::secrets;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const POLL: Duration = Duration::from_millis(500);

pub async fn a_change_is_live_within_two_seconds(store: Store) {
    store.tenant("acme").await;
    let shutdown = CancellationToken::new();
    let handle = Snapshots::start(store.control.clone(), POLL, shutdown.clone());
    tokio::time::timeout(Duration::from_secs(10), handle.loaded()).await.unwrap();
    assert!(handle.status().loaded);
    let built = handle.status().rebuilds;

    // The change comes from another process.
    let other = control::Control::open(&store.url).await.unwrap();
    let key = other.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap();
    let changed = Instant::now();
    while !handle.load().keys.contains_key(&secrets::hash(&key.secret)) {
        assert!(changed.elapsed() < Duration::from_secs(2), "a change took longer than 2 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other.keys().revoke(&key.key.id, NOW).await.unwrap();
    let changed = Instant::now();
    while handle.load().keys[&secrets::hash(&key.secret)].revoked_at.is_none() {
        assert!(changed.elapsed() < Duration::from_secs(2), "a revocation took longer than 2 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(handle.status().rebuilds, built + 2, "rebuilt on change only");
    shutdown.cancel();
}

pub async fn a_broken_database_leaves_the_last_snapshot(store: Store) {
    store.tenant("acme").await;
    let key = store.control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap();
    let shutdown = CancellationToken::new();
    let handle = Snapshots::start(store.control.clone(), Duration::from_millis(20), shutdown.clone());
    tokio::time::timeout(Duration::from_secs(10), handle.loaded()).await.unwrap();

    let mut raw = store.raw().await;
    sqlx::query("ALTER TABLE control_version RENAME TO lost").execute(&mut raw).await.unwrap();
    wait_for(|| handle.status().consecutive_failures >= 3).await;
    let status = handle.status();
    assert!(status.loaded && status.last_error.as_ref().unwrap().contains("read the version"), "{status:?}");
    assert!(status.age >= Duration::from_millis(40), "{status:?}");
    assert!(handle.load().keys.contains_key(&secrets::hash(&key.secret)), "the last snapshot stays in force");

    sqlx::query("ALTER TABLE lost RENAME TO control_version").execute(&mut raw).await.unwrap();
    wait_for(|| handle.status().consecutive_failures == 0).await;
    store.control.keys().revoke(&key.key.id, NOW).await.unwrap();
    wait_for(|| handle.load().keys[&secrets::hash(&key.secret)].revoked_at.is_some()).await;
    assert_eq!(handle.status().last_error, None);

    let mut registry = prometheus_client::registry::Registry::default();
    handle.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.unwrap_or_else(|| panic!("{name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("control_snapshot_poll_failures_total") >= 3.0);
    assert!(value("control_snapshot_age_seconds") < 10.0);
    assert!(value("control_snapshot_version") >= 4.0);
    assert!(value("control_snapshot_rebuilds_total") >= 2.0);
    assert!(value("control_snapshot_unresolved_secrets").abs() < f64::EPSILON);
    shutdown.cancel();
}

async fn wait_for(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "it did not come true in 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
