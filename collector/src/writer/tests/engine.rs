//! Against the real engine: `spans` and every table that follows from it, after crashes of the writer and of the engine.

use super::*;
use crate::row::{Key, Row};
use contracts::reads::{TenantScope, TimeRange};
use std::collections::HashSet;
use std::ops::RangeInclusive;
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

    async fn existing_within(
        &self,
        keys: &[Key],
        times: RangeInclusive<i64>,
    ) -> Result<HashSet<Key>, WarehouseError> {
        self.warehouse.existing_within(keys, times).await
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

#[tokio::test(flavor = "multi_thread")]
async fn a_span_that_was_moved_in_time_is_recognised_when_it_comes_again() {
    let engine = Engine::start().await;
    let warehouse = Warehouse::connect(engine.client_config("control_tower"));
    let clock = Clock::system();
    let now = clock.now();
    // What the collector makes of a span of 1970 that comes at `now`, and of the same that comes a little later.
    let moved = |span: u64, later_ns: i64| {
        let was = ("control_tower.original_start_time_unix_nano".to_owned(), "5".to_owned());
        let mut row = recent([span], now).remove(0);
        row.start_time += later_ns;
        row.span_attributes.push(was);
        row
    };
    let event = |id: &str, later_ns: i64| {
        Row::from(warehouse::EventRow {
            tenant_id: "acme".into(),
            event_id: id.into(),
            time: now.unix_nanos() + later_ns,
            attributes: moved(0, 0).span_attributes,
            retention_days: 30,
            ..warehouse::EventRow::default()
        })
    };
    for (later, fresh) in [(0, 1), (3_000_000_000, 2)] {
        // Another collector each time, with nothing in memory.
        let dir = tempfile::tempdir().unwrap();
        let work = Work::start(dir.path(), warehouse.clone(), &clock);
        work.append(&[moved(0, later), moved(fresh, later)]).await;
        let events = [event("e0", later), event(&format!("e{fresh}"), later)];
        let records: Vec<Vec<u8>> =
            events.iter().map(|row| record::encode(row, Sender::Tenant).unwrap()).collect();
        work.spool.append_durable(&records.iter().map(Vec::as_slice).collect::<Vec<_>>()).await.unwrap();
        let metrics = work.finish().await;
        let known = u64::from(later > 0);
        for signal in ["traces", "logs"] {
            assert_eq!(metrics.deduplicated("clickhouse", signal).get(), known, "{signal} {later}");
        }
    }
    assert_once(&warehouse, now, 3).await;
}
