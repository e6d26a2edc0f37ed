//! The role `store`: the embedded engine, and beside it how it fares.
//!
//! The engine takes the main thread until its standard input ends. A thread of its own asks it for its state and answers
//! `/healthz`, `/readyz` and `/metrics`, so that an engine that hangs is told from one that is gone.

use crate::config::StoreConfig;
use crate::probe::Probe;
use anyhow::Context;
use http::StatusCode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use runtime::{Health, HealthHandle, Metrics, ServeOptions, Shutdown};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use warehouse::{Vitals, Warehouse};

/// Pause between questions while the engine starts: `up` waits for it.
const STARTING: Duration = Duration::from_millis(50);
/// Pause between questions from then on.
const RUNNING: Duration = Duration::from_secs(1);
/// How long the engine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old the gauges may become.
const GAUGES: Duration = Duration::from_secs(5);

/// Runs the engine on this thread, which must be the main one, until standard input ends.
pub(crate) fn run(config: &StoreConfig) -> anyhow::Result<()> {
    let engine = config.engine(config.dir.parent());
    // Refused before anything is opened; the engine checks again.
    engine.validate()?;
    let asynchronous = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asynchronous = asynchronous.context("cannot start the asynchronous runtime")?;
    let listener = {
        let _within = asynchronous.enter();
        runtime::listen("store.health_listen", config.health_listen)?
    };
    let watch = Watch::new(config)?;
    let (health, metrics) = (watch.health.clone(), watch.metrics.clone());
    std::thread::Builder::new()
        .name("store-health".into())
        .spawn(move || {
            // Never stopped: it ends with the process, and answers until then.
            asynchronous.block_on(async {
                let router = runtime::health::router(health, metrics);
                let serve = runtime::serve(listener, router, Shutdown::manual(), ServeOptions::default());
                let ((), _drained) = tokio::join!(watch.keep(), serve);
            });
        })
        .context("cannot start a thread")?;
    Ok(warehouse::engine::run(&engine)?)
}

/// Asks the engine how it fares, and keeps the answers.
struct Watch {
    probe: Probe,
    ping_url: String,
    warehouse: Warehouse,
    health: Health,
    clickhouse: HealthHandle,
    metrics: Metrics,
    gauges: Gauges,
}

impl Watch {
    fn new(config: &StoreConfig) -> anyhow::Result<Self> {
        let (health, metrics) = (Health::new(), Metrics::new());
        Ok(Self {
            probe: Probe::new()?,
            ping_url: format!("http://127.0.0.1:{}/ping", config.http_port),
            warehouse: Warehouse::connect(config.warehouse()),
            clickhouse: health.component("clickhouse"),
            gauges: metrics.with_registry(Gauges::register),
            health,
            metrics,
        })
    }

    async fn keep(&self) {
        let mut gauged: Option<Instant> = None;
        loop {
            let up = self.ping().await;
            if up && gauged.is_none_or(|at| at.elapsed() >= GAUGES) {
                self.gauge().await;
                gauged = Some(Instant::now());
            }
            let started = gauged.is_some();
            tokio::time::sleep(if started { RUNNING } else { STARTING }).await;
        }
    }

    async fn ping(&self) -> bool {
        let silence = match self.probe.get(&self.ping_url, PATIENCE).await {
            Ok((StatusCode::OK, _)) => None,
            Ok((status, body)) => Some(format!("/ping: {status}: {}", String::from_utf8_lossy(&body).trim())),
            Err(silence) => Some(format!("/ping: {silence}")),
        };
        self.gauges.up.set(u64::from(silence.is_none()));
        match silence {
            None => {
                self.clickhouse.set_ready();
                true
            }
            Some(reason) => {
                self.clickhouse.set_unready(reason);
                false
            }
        }
    }

    async fn gauge(&self) {
        match tokio::time::timeout(GAUGES, self.warehouse.vitals()).await {
            Ok(Ok(vitals)) => self.gauges.set(vitals),
            Ok(Err(error)) => {
                self.gauges.failures.inc();
                tracing::warn!(error = %format!("{:#}", anyhow::Error::new(error)), "the gauges stay as they were");
            }
            Err(_elapsed) => {
                self.gauges.failures.inc();
                tracing::warn!(
                    patience_s = GAUGES.as_secs(),
                    "no answer in time: the gauges stay as they were"
                );
            }
        }
    }
}

type Whole = Gauge<u64, AtomicU64>;

/// The role's metrics.
#[derive(Default)]
struct Gauges {
    up: Whole,
    failures: prometheus_client::metrics::counter::Counter,
    memory: Whole,
    queries: Whole,
    merges: Whole,
    parts: Whole,
    rows: Whole,
    bytes_on_disk: Whole,
    disk_free: Whole,
    disk_total: Whole,
}

impl Gauges {
    fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        for (name, help, gauge) in [
            ("store_clickhouse_up", "Whether ClickHouse answers its ping, 1 or 0", &gauges.up),
            ("store_memory_bytes", "Memory that ClickHouse counts as its own", &gauges.memory),
            ("store_queries", "Queries that run", &gauges.queries),
            ("store_merges", "Merges that run", &gauges.merges),
            ("store_parts", "Active parts of our tables", &gauges.parts),
            ("store_rows", "Rows of all our tables", &gauges.rows),
            ("store_table_bytes", "What our tables take on disk", &gauges.bytes_on_disk),
            ("store_disk_free_bytes", "Free space of the disk", &gauges.disk_free),
            ("store_disk_total_bytes", "Size of the disk", &gauges.disk_total),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let failures = gauges.failures.clone();
        registry.register("store_gauge_failures", "Times that the gauges could not be read", failures);
        gauges
    }

    fn set(&self, vitals: Vitals) {
        for (gauge, value) in [
            (&self.memory, vitals.memory_bytes),
            (&self.queries, vitals.queries),
            (&self.merges, vitals.merges),
            (&self.parts, vitals.parts),
            (&self.rows, vitals.rows),
            (&self.bytes_on_disk, vitals.bytes_on_disk),
            (&self.disk_free, vitals.disk_free_bytes),
            (&self.disk_total, vitals.disk_total_bytes),
        ] {
            gauge.set(value);
        }
    }
}
