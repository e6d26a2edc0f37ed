//! Against the real engine: `spans` and every table that follows from it, after crashes of the writer and of the engine.

use super::*;
use crate::row::{Key, Row};
use contracts::reads::{TenantScope, TimeRange};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use warehouse::testing::Engine;
use warehouse::{InsertError, Warehouse, WarehouseError};

const DAY_MS: i64 = 86_400_000;

/// The warehouse, but the answer to one insert never arrives.
#[derive(Debug, Clone)]
struct Unanswered {
    warehouse: Warehouse,
    next: Arc<AtomicBool>,
    landed: Arc<Notify>,
}

impl Unanswered {
    fn new(warehouse: &Warehouse) -> Self {
        Self { warehouse: warehouse.clone(), next: Arc::new(AtomicBool::new(true)), landed: Arc::default() }
    }
}

impl Store for Unanswered {
    async fn prepare(&self) -> Result<(), WarehouseError> {
        Store::prepare(&self.warehouse).await
    }

    async fn insert(&self, rows: &[Row], token: &str) -> Result<(), InsertError> {
        self.warehouse.insert(rows, token).await?;
        if self.next.swap(false, Ordering::SeqCst) {
            self.landed.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn existing(&self, keys: &[Key]) -> Result<HashSet<Key>, WarehouseError> {
        self.warehouse.existing(keys).await
    }
}

/// Spans of now, for retention would delete older ones: calls and attempts in turn, a picodollar times its number each.
fn recent(spans: impl IntoIterator<Item = u64>, now: Timestamp) -> Vec<SpanRow> {
    let recent = |span| {
        let record = if span % 2 == 0 { "call" } else { "attempt" };
        SpanRow { start_time: now.unix_nanos() - 1_000_000, record: record.into(), ..row(span) }
    };
    spans.into_iter().map(recent).collect()
}

async fn assert_once(warehouse: &Warehouse, now: Timestamp, spans: u64) {
    let day = now.unix_millis() / DAY_MS * DAY_MS;
    let range = TimeRange { from_ms: day - DAY_MS, to_ms: day + DAY_MS };
    let scope = TenantScope::one("acme".parse().unwrap());
    let found = warehouse.consistency(&scope, range).await.unwrap();
    assert_eq!(found.faults, Vec::<String>::new());
    assert_eq!((found.spans, found.calls, found.attempts), (spans, spans.div_ceil(2), spans / 2));
    let cost: i128 = (0..spans).filter(|span| span % 2 == 0).map(i128::from).sum();
    assert_eq!(found.cost.picos(), cost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_insert_and_commit_leaves_every_table_exact() {
    let engine = Engine::start().await;
    let warehouse = Warehouse::connect(engine.client_config("control_tower"));
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let now = clock.now();

    let store = Unanswered::new(&warehouse);
    let work = Work::start(dir.path(), store.clone(), &clock);
    work.append(&recent(0..40, now)).await;
    tokio::time::timeout(Duration::from_secs(30), store.landed.notified()).await.expect("the insert lands");
    // The sender does not know either, and sends again, with more.
    work.append(&recent(20..60, now)).await;
    work.crash().await;

    // The second life is cut the same way, in another batch.
    let store = Unanswered::new(&warehouse);
    let work = Work::start(dir.path(), store.clone(), &clock);
    tokio::time::timeout(Duration::from_secs(30), store.landed.notified())
        .await
        .expect("the insert lands again");
    work.append(&recent(0..100, now)).await;
    work.crash().await;

    Work::start(dir.path(), warehouse.clone(), &clock).finish().await;
    assert_once(&warehouse, now, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_under_load_loses_and_doubles_nothing() {
    let mut engine = Engine::start().await;
    let warehouse = Warehouse::connect(engine.client_config("control_tower"));
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let now = clock.now();
    let mut next = 0_u64;
    for round in 0..4_u64 {
        let work = Work::start(dir.path(), warehouse.clone(), &clock);
        for _ in 0..10 {
            // Each request repeats the end of the one before.
            work.append(&recent(next.saturating_sub(10)..next + 50, now)).await;
            next += 50;
            tokio::time::sleep(Duration::from_millis(10 + 7 * round)).await;
        }
        engine.kill();
        if round % 2 == 0 {
            work.crash().await;
            engine.restart().await;
        } else {
            engine.restart().await;
            work.finish().await;
        }
    }
    Work::start(dir.path(), warehouse.clone(), &clock).finish().await;
    assert_once(&warehouse, now, next).await;
}
