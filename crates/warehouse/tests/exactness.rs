//! Every acknowledged span is stored once, in every table, whatever dies.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be had must end it")]

mod common;

use common::{T0_MS, attempt, call, scope};
use contracts::Usd;
use contracts::reads::TimeRange;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use warehouse::testing::Engine;
use warehouse::{Consistency, SpanKey, SpanRow, Warehouse};

const WRITERS: u64 = 3;
const ROUNDS: usize = 6;
const CALLS_PER_BATCH: u64 = 50;

fn range() -> TimeRange {
    const DAY_MS: i64 = 24 * 3_600_000;
    let from_ms = T0_MS - T0_MS % DAY_MS - DAY_MS;
    TimeRange { from_ms, to_ms: from_ms + 32 * DAY_MS }
}

/// Batch `number`: calls over several days and minutes, each with its attempt, and a tool execution.
fn batch(number: u64) -> Vec<SpanRow> {
    let calls = (0..CALLS_PER_BATCH).map(|n| {
        let id = number * CALLS_PER_BATCH + n;
        call("acme", id, i64::try_from(id % 97).unwrap() * 1_234_567)
    });
    let mut spans: Vec<SpanRow> = calls.flat_map(|call| [attempt(&call), call]).collect();
    spans.push(SpanRow {
        record: String::new(),
        operation: "execute_tool".to_owned(),
        span_id: format!("f{number:015x}"),
        ..spans[0].clone()
    });
    spans
}

async fn consistency(warehouse: &Warehouse) -> Consistency {
    warehouse.consistency(&scope("acme"), range()).await.unwrap()
}

fn expected(batches: u64) -> Consistency {
    let calls = batches * CALLS_PER_BATCH;
    Consistency {
        spans: 2 * calls + batches,
        calls,
        attempts: calls,
        cost: Usd::from_picos(3_000_000_000).times(calls),
        faults: Vec::new(),
    }
}

#[tokio::test]
async fn a_batch_sent_again_counts_once() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    for _ in 0..3 {
        for number in 0..4 {
            warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await.unwrap();
        }
    }
    assert_eq!(consistency(&warehouse).await, expected(4));
    let stored = batch(2);
    let mut keys: Vec<SpanKey> = stored.iter().map(SpanKey::from).collect();
    keys.push(SpanKey { tenant_id: "globex".to_owned(), ..keys[0].clone() });
    keys.push(SpanKey { span_id: "e".repeat(16), ..keys[0].clone() });
    keys.push(SpanKey { start_time: keys[0].start_time + 1, ..keys[0].clone() });
    let found = warehouse.existing_spans(&keys).await.unwrap();
    assert_eq!(found, stored.iter().map(SpanKey::from).collect());
    assert!(warehouse.existing_spans(&[]).await.unwrap().is_empty());
}

/// Sends batch after batch until told to stop. A batch that is not acknowledged stays the next to be sent.
async fn write(warehouse: Warehouse, writer: u64, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let round = next.load(Ordering::Relaxed);
        let number = round * WRITERS + writer;
        match warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await {
            Ok(()) => next.store(round + 1, Ordering::Relaxed),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_engine_neither_loses_nor_doubles_a_row() {
    let mut engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let stop = Arc::new(AtomicBool::new(false));
    let nexts: Vec<Arc<AtomicU64>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let writers: Vec<_> = (0..WRITERS)
        .zip(&nexts)
        .map(|(writer, next)| tokio::spawn(write(warehouse.clone(), writer, next.clone(), stop.clone())))
        .collect();
    let acknowledged = || nexts.iter().map(|next| next.load(Ordering::Relaxed)).sum::<u64>();
    for round in 0..ROUNDS {
        let before = acknowledged();
        // Each round dies at another point of the writers' work, but never before they did any.
        while acknowledged() < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(37 * round as u64 + 5)).await;
        engine.kill();
        engine.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // Each writer's last batch may be stored without its acknowledgement: it is sent again, as a spool would.
    for (writer, next) in (0..WRITERS).zip(&nexts) {
        let number = next.load(Ordering::Relaxed) * WRITERS + writer;
        warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await.unwrap();
        next.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(consistency(&warehouse).await, expected(acknowledged()));
}

/// A kill between the note of a part and its name leaves the note alone: here by taking the part away.
#[tokio::test]
async fn a_part_that_was_noted_but_not_stored_is_stored_by_the_resend() {
    let mut engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    warehouse.insert_spans(&batch(0), "batch-0").await.unwrap();
    engine.kill();
    let tables = std::fs::read_dir(engine.config().path.join("store")).unwrap();
    let tables = tables.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let parts = tables.flat_map(|table| std::fs::read_dir(table.unwrap().path()).unwrap());
    // Every table's parts of a day or a month.
    let lost = |name: &str| name.starts_with("202611");
    let lost: Vec<_> = parts
        .map(|part| part.unwrap().path())
        .filter(|part| part.file_name().unwrap().to_str().is_some_and(lost))
        .collect();
    assert!(lost.len() > 5, "{lost:?}");
    for part in lost {
        std::fs::remove_dir_all(part).unwrap();
    }
    engine.restart().await;
    assert_eq!(consistency(&warehouse).await, expected(0));
    warehouse.insert_spans(&batch(0), "batch-0").await.unwrap();
    assert_eq!(consistency(&warehouse).await, expected(1));
}

/// A kill in the middle of a record leaves a piece of it, behind which the engine writes on.
#[tokio::test]
async fn a_batch_is_known_although_a_record_before_it_was_cut_short() {
    let mut engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    engine.kill();
    engine.restart().await;
    warehouse.insert_spans(&batch(0), "batch-0").await.unwrap();
    engine.kill();
    let tables = std::fs::read_dir(engine.config().path.join("store")).unwrap();
    let tables = tables.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let logs: Vec<_> = tables
        .map(|table| table.unwrap().path().join("deduplication_logs/deduplication_log_1.txt"))
        .filter(|log| log.exists())
        .collect();
    assert!(logs.len() > 5, "{logs:?}");
    for log in logs {
        let whole = std::fs::read(&log).unwrap();
        std::fs::write(&log, [whole.as_slice(), b"1\t20261"].concat()).unwrap();
    }
    engine.restart().await;
    for number in [1, 2] {
        warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await.unwrap();
    }
    engine.kill();
    engine.restart().await;
    for number in 0..3 {
        warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await.unwrap();
    }
    assert_eq!(consistency(&warehouse).await, expected(3));
}

/// Whoever sends a batch again may do so while the first insert of it is still at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_sent_again_at_once_counts_once() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    for number in 0..6 {
        let copies: Vec<_> = (0..3)
            .map(|copy| {
                let warehouse = warehouse.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(copy * number * 4)).await;
                    warehouse.insert_spans(&batch(number), &format!("batch-{number}")).await.unwrap();
                })
            })
            .collect();
        for copy in copies {
            copy.await.unwrap();
        }
    }
    assert_eq!(consistency(&warehouse).await, expected(6));
}

/// The engine names a view's blocks by the view as it holds it: altered, it must be the same after a restart.
#[tokio::test]
async fn a_batch_of_the_engine_that_migrated_is_known_after_its_restart() {
    // A new database, as whoever comes first makes it; one of an earlier version; and one that somebody brought up to date before.
    for (before, is_current) in [(0, true), (13, false), (13, true)] {
        a_batch_is_known_after_a_restart(before, is_current).await;
    }
}

async fn a_batch_is_known_after_a_restart(before: u32, is_current: bool) {
    let mut engine = Engine::start().await;
    let warehouse = Warehouse::connect(engine.client_config("control_tower"));
    if before > 0 {
        warehouse.migrate_to_for_tests(before).await.unwrap();
    }
    if is_current {
        warehouse.migrate().await.unwrap();
    }
    if before > 0 {
        warehouse.migrate_alone().await.unwrap();
    }
    warehouse.insert_spans(&batch(0), "batch-0").await.unwrap();
    engine.kill();
    engine.restart().await;
    warehouse.insert_spans(&batch(0), "batch-0").await.unwrap();
    assert_eq!(consistency(&warehouse).await, expected(1));
}
