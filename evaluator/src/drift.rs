//! Watches whether judges and the people who check them part, and says so where operators look: in metrics, and once in the log.
//!
//! Every evaluator watches, so that the metrics of none are stale; a queue is read again only when somebody labelled something. Versions of
//! judges that this evaluator does not have are left out: nobody is judged by them any more.

use crate::judges::agreement::{self, Agreement};
use crate::online::Shared;
use control::ControlError;
use control::records::LabelledQueue;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use runtime::Shutdown;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Between two looks.
const POLL: Duration = Duration::from_mins(1);

/// Tenant, queue, judge, version.
type Labels = [(&'static str, String); 4];
/// A judge and its alarm, where it has one.
type Standing = (Labels, Option<String>);

/// How judges stand to people.
#[derive(Debug, Clone, Default)]
pub(crate) struct DriftMetrics {
    kappa: Family<Labels, Gauge<f64, AtomicU64>>,
    drift: Family<Labels, Gauge>,
}

impl DriftMetrics {
    /// Registered.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "evaluator_judge_agreement",
            "Cohen's kappa of a judge and the people who labelled the same calls in the last 90 days",
            metrics.kappa.clone(),
        );
        registry.register(
            "evaluator_judge_drift",
            "1 while a judge and people part, 0 while they do not",
            metrics.drift.clone(),
        );
        metrics
    }
}

/// The watch.
#[derive(Debug)]
pub(crate) struct Drift {
    shared: Shared,
    metrics: DriftMetrics,
    /// What was seen of each queue, and which of its judges have an alarm.
    seen: BTreeMap<(String, String), (LabelledQueue, Vec<Standing>)>,
}

impl Drift {
    /// A watch that has seen nothing.
    pub(crate) fn new(shared: Shared, metrics: DriftMetrics) -> Self {
        Self { shared, metrics, seen: BTreeMap::new() }
    }

    /// Watches until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whether judges and people agree could not be read; trying again"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.triggered() => return,
            }
        }
    }

    /// One look at all queues.
    pub(crate) async fn round(&mut self) -> Result<(), ControlError> {
        // An evaluator that only answers requests has a key to note, too.
        self.shared.judge_keys().await?;
        let annotations = self.shared.judging.annotations();
        let since = agreement::since(self.shared.clock.now());
        let queues = annotations.labelled_queues(since).await?;
        let mut gone = std::mem::take(&mut self.seen);
        for queue in queues {
            let key = (queue.tenant.to_string(), queue.queue.clone());
            let before = gone.remove(&key);
            let now = match before {
                Some((seen, judges)) if seen == queue => judges,
                before => {
                    let said = annotations.said(&queue.tenant, &queue.queue, since).await?;
                    let judges = before.map(|(_, judges)| judges).unwrap_or_default();
                    self.compare(&key, &agreement::of(&said), &judges)
                }
            };
            self.seen.insert(key, (queue, now));
        }
        // Labels that are too old to count leave no figure behind.
        for labels in gone.into_values().flat_map(|(_, judges)| judges).map(|(labels, _)| labels) {
            self.forget(&labels);
        }
        Ok(())
    }

    /// Shows how the judges of a queue stand, and tells what changed since `before`.
    fn compare(
        &self,
        (tenant, queue): &(String, String),
        found: &[Agreement],
        before: &[Standing],
    ) -> Vec<Standing> {
        let current = self.shared.registry.versions();
        let is_current = |one: &&Agreement| current.contains(&format!("{}@{}", one.judge, one.version));
        let mut now = Vec::new();
        for one in found.iter().filter(is_current) {
            let labels: Labels = [
                ("tenant", tenant.clone()),
                ("queue", queue.clone()),
                ("judge", one.judge.clone()),
                ("version", one.version.clone()),
            ];
            let had_alarm = before.iter().any(|(other, alarm)| *other == labels && alarm.is_some());
            match &one.alarm {
                Some(reason) if !had_alarm => tracing::warn!(
                    event.name = "evaluator.judge_drift",
                    tenant.id = tenant,
                    annotation.queue = queue,
                    judge.name = one.judge,
                    judge.version = one.version,
                    reason,
                    "a judge and the people who check it part: do not rely on it before you know why"
                ),
                None if had_alarm => tracing::info!(
                    event.name = "evaluator.judge_drift_over",
                    tenant.id = tenant,
                    annotation.queue = queue,
                    judge.name = one.judge,
                    judge.version = one.version,
                    "a judge and the people who check it agree again"
                ),
                _ => {}
            }
            match one.kappa {
                Some(kappa) => {
                    self.metrics.kappa.get_or_create(&labels).set(kappa.estimate);
                }
                None => {
                    self.metrics.kappa.remove(&labels);
                }
            }
            self.metrics.drift.get_or_create(&labels).set(i64::from(one.alarm.is_some()));
            now.push((labels, one.alarm.clone()));
        }
        for (labels, _) in before.iter().filter(|(labels, _)| !now.iter().any(|(other, _)| other == labels)) {
            self.forget(labels);
        }
        now
    }

    fn forget(&self, labels: &Labels) {
        self.metrics.kappa.remove(labels);
        self.metrics.drift.remove(labels);
    }
}

#[cfg(test)]
mod tests;
