//! Batches under crashes, refusals and resends: against a store in memory that does what ClickHouse may do, and against
//! the real engine.

mod crashes;
mod engine;
mod fake;

use super::{Options, Store, Trust, Writer};
use crate::metrics::Metrics;
use crate::record::{self, Sender};
use contracts::Timestamp;
use prometheus_client::registry::Registry;
use runtime::Clock;
use spool::{FullPolicy, Spool};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warehouse::SpanRow;

const NOW_S: i64 = 1_790_000_000;

/// A span that ended a moment ago.
fn row(span: u64) -> SpanRow {
    SpanRow {
        tenant_id: "acme".into(),
        trace_id: format!("{:032x}", span / 3 + 1),
        span_id: format!("{:016x}", span + 1),
        start_time: NOW_S * 1_000_000_000 - 1_000_000,
        duration_ns: 1_000,
        record: "call".into(),
        name: "chat".into(),
        kind: "server".into(),
        status: "ok".into(),
        request_model: "m".into(),
        input_tokens: span,
        cost_total: i128::from(span),
        retention_days: 30,
        ..SpanRow::default()
    }
}

/// A writer at work on the spool in a directory, and the handle that fills the spool.
struct Work {
    spool: spool::Writer,
    metrics: Metrics,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Work {
    fn start(dir: &Path, store: impl Store, clock: &Clock) -> Self {
        Self::start_as(dir, store, clock, false)
    }

    fn start_as(dir: &Path, store: impl Store, clock: &Clock, several_collectors: bool) -> Self {
        let options = spool::Options {
            dir: dir.join("queue"),
            max_bytes: 64 * 1024 * 1024,
            segment_bytes: 1024 * 1024,
            fsync_interval: Duration::from_millis(1),
            full: FullPolicy::Refuse,
        };
        let (spool, reader) = open(&options);
        let metrics = Metrics::new(&mut Registry::default());
        let options = Options {
            rows: 64,
            bytes: 1024 * 1024,
            linger: Duration::from_millis(5),
            dir: dir.to_owned(),
            dedup_ids: 100,
            trust: Trust {
                clock_skew: Duration::from_mins(10),
                service_clock_skew: Duration::from_secs(10),
                several_collectors,
            },
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
            in_doubt: Duration::from_millis(20),
            rounds: 30,
        };
        let writer = Writer::new(store, reader, options, metrics.clone(), clock.clone()).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(writer.run(stop.clone()));
        Self { spool, metrics, task, stop }
    }

    async fn append(&self, rows: &[SpanRow]) {
        self.append_as(rows, Sender::Tenant).await;
    }

    async fn append_as(&self, rows: &[SpanRow], sender: Sender) {
        let records: Vec<Vec<u8>> =
            rows.iter().map(|row| record::encode(&row.clone().into(), sender).unwrap()).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        self.spool.append_durable(&records).await.unwrap();
    }

    /// Ends without any care.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Works the spool empty and ends.
    async fn finish(self) -> Metrics {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_mins(1), self.task)
            .await
            .expect("the spool is worked empty")
            .unwrap();
        self.metrics
    }
}

/// A read of the writer that crashed may still run on another thread and hold the directory.
fn open(options: &spool::Options) -> (spool::Writer, spool::Reader) {
    for _ in 0..1_000 {
        match Spool::open(options.clone()) {
            Err(spool::OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    panic!("the directory of the spool stays locked");
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(NOW_S))
}
