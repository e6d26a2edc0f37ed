//! Production calls, judged as they come: planned into chunks, claimed by workers, written exactly once.
//!
//! - [`planner`]: under a lease, looks for calls without a verdict, and writes down which of them are judged together.
//! - [`worker`]: takes a chunk, judges its calls, writes all verdicts as one batch, and strikes the chunk off.
//! - [`events`]: a verdict as the event in which it is written.
//!
//! Why each call is judged once in effect, whoever dies when: a chunk's calls and judges are fixed when it is planned, and no call is in
//! two chunks, since a plan is written only by who holds the planner's lease, which leaves out the calls of all open chunks and
//! those that have verdicts. The chunk's id names the batch, so that of several workers that write it, one after the crash of
//! another or both because a clock was wrong, ClickHouse takes the first and recognises the others. And a chunk is struck off only after
//! its batch was acknowledged.
//!
//! A verdict of `error` is one on the call. What fails for another reason, because a gateway is down or a budget is used up, gives none:
//! the judge is paused, in the control database, so that nobody asks it, and its calls are found again.

mod asking;
pub(crate) mod events;
mod planner;
mod worker;

#[cfg(test)]
mod tests;

pub use planner::Planner;
pub use worker::Worker;

use crate::config::Config;
use crate::judges::Registry;
use control::{ControlError, Judging, SnapshotHandle};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry as MetricsRegistry;
use runtime::Clock;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use warehouse::{EventRow, InsertError, Warehouse};

/// How often a batch is sent before it is given up, or left to the next who takes its chunk.
const SENDS: u32 = 5;
/// Days that a verdict is kept whose tenant nobody knows any more.
const UNKNOWN_DAYS: u16 = 30;

/// What planner and workers share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// How.
    pub config: Arc<Config>,
    /// By whom.
    pub registry: Registry,
    /// Which set of judges, at which versions, this process has.
    pub generation: String,
    /// Calls and verdicts.
    pub warehouse: Warehouse,
    /// Streams, chunks, leases.
    pub judging: Judging,
    /// Tenants and keys.
    pub snapshots: SnapshotHandle,
    /// Time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: OnlineMetrics,
    /// This process, among all evaluators.
    pub process: String,
    /// Costs that are being written.
    pub spending: TaskTracker,
}

impl Shared {
    /// Ids of the keys with which judges ask or asked models, whichever evaluator's: their calls are never judged. Our own is noted, so that
    /// whoever sums up what calls cost knows it too.
    pub async fn judge_keys(&self) -> Result<Vec<String>, ControlError> {
        let mut keys = self.judging.keys().await?;
        if let Some(secret) = &self.config.gateway_key {
            let own =
                self.snapshots.load().keys.get(&control::secrets::hash(secret)).map(|key| key.id.clone());
            if let Some(own) = own.filter(|own| !keys.contains(own)) {
                self.judging.note_key(&own, self.clock.now()).await?;
                keys.push(own);
            }
        }
        Ok(keys.iter().map(ToString::to_string).collect())
    }

    /// Days that this tenant keeps its telemetry.
    pub fn retention_days(&self, tenant: &str) -> u16 {
        let snapshot = self.snapshots.load();
        let key = snapshot.keys.values().find(|key| key.tenant.id.as_str() == tenant);
        key.map_or(UNKNOWN_DAYS, |key| key.tenant.retention_days)
    }

    /// Writes down what was paid for verdicts that are not kept, in the background; `token` names these rows.
    pub fn spend(&self, costs: Vec<EventRow>, token: String) {
        if costs.is_empty() {
            return;
        }
        let shared = self.clone();
        self.spending.spawn(async move {
            if let Err(error) = shared.insert(&costs, &token).await {
                let rows = costs.len();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    rows,
                    "what judges were paid was not written down; budgets know of it, reports do not"
                );
                shared.metrics.failed("cost");
            }
        });
    }

    /// Inserts the events, several times if need be.
    async fn insert(&self, rows: &[EventRow], token: &str) -> Result<(), InsertError> {
        let mut sends = 0;
        loop {
            match self.warehouse.insert_events(rows, token).await {
                Err(InsertError::Retryable { after, .. }) if sends < SENDS => {
                    sends += 1;
                    tokio::time::sleep(after).await;
                }
                sent => return sent,
            }
        }
    }
}

/// A short name for a set of judges at their versions.
pub fn generation(registry: &Registry) -> String {
    let mut versions = registry.versions();
    versions.sort();
    let digest = Sha256::digest(versions.join("\n").as_bytes());
    hex::encode(&digest[..8])
}

/// What the online evaluation counts.
#[derive(Debug, Clone, Default)]
pub struct OnlineMetrics {
    planned: Counter,
    judged: Counter,
    gone: Counter,
    verdicts: Family<[(&'static str, String); 2], Counter>,
    left_out: Family<[(&'static str, String); 1], Counter>,
    failures: Family<[(&'static str, &'static str); 1], Counter>,
    open_chunks: Gauge,
    lag_seconds: Gauge,
}

impl OnlineMetrics {
    /// Registered.
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        let metrics = Self::default();
        registry.register("evaluator_planned_calls", "Calls put into chunks", metrics.planned.clone());
        registry.register(
            "evaluator_judged_calls",
            "Calls whose verdicts were written",
            metrics.judged.clone(),
        );
        registry.register(
            "evaluator_gone_calls",
            "Calls that were planned and could not be read any more",
            metrics.gone.clone(),
        );
        registry.register("evaluator_verdicts", "Verdicts by judge and label", metrics.verdicts.clone());
        registry.register(
            "evaluator_left_out",
            "Verdicts that were put off, since whom a judge asks was away or its budget used up",
            metrics.left_out.clone(),
        );
        registry.register(
            "evaluator_failures",
            "Rounds that failed, by what was done",
            metrics.failures.clone(),
        );
        registry.register(
            "evaluator_open_chunks",
            "Chunks planned and not finished",
            metrics.open_chunks.clone(),
        );
        registry.register(
            "evaluator_lag_seconds",
            "How far planning is behind the present",
            metrics.lag_seconds.clone(),
        );
        metrics
    }

    fn failed(&self, what: &'static str) {
        self.failures.get_or_create(&[("what", what)]).inc();
    }
}
