//! The database server goes away and comes back: the snapshot stays in force all the while.

use crate::support::postgres::Postgres;
use crate::support::{NOW, Store};
use control::records::NewApiKey;
use control::{Snapshots, secrets};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_leaves_the_last_snapshot_and_is_found_again() {
    let server = Arc::new(Postgres::start().await);
    let store = Store::postgres(server.clone(), "outage").await;
    store.tenant("acme").await;
    let key = store.control.keys().create(NewApiKey::new("acme".parse().unwrap(), ""), NOW).await.unwrap();
    let shutdown = CancellationToken::new();
    let handle = Snapshots::start(store.control.clone(), Duration::from_millis(50), shutdown.clone());
    tokio::time::timeout(Duration::from_secs(20), handle.loaded()).await.unwrap();

    server.stop();
    wait_for(|| handle.status().failures >= 1).await;
    assert!(handle.load().keys.contains_key(&secrets::hash(&key.secret)));
    assert!(handle.status().loaded);
    assert!(store.control.version().await.is_err(), "the server is gone");

    server.resume().await;
    wait_for(|| handle.status().consecutive_failures == 0).await;
    store.control.keys().revoke(&key.key.id, NOW).await.unwrap();
    wait_for(|| handle.load().keys[&secrets::hash(&key.secret)].revoked_at.is_some()).await;
    shutdown.cancel();
}

async fn wait_for(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_mins(1), "it did not come true in 60 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
