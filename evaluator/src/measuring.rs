//! Measures the arms of adaptive experiments and writes down what came of it, for gateways to shift the arms' shares by.
//!
//! The way back to the gateway is the control database: a row of state for each experiment, which gateways read with their policy. One evaluator
//! at a time measures, under a lease. What is measured is what `eval experiment` compares: a trace is one unit, and a metric is one of
//! the warehouse's or a judge. All of it is read anew each time, from the experiment's first call that is still there, so that outcomes that came
//! late count and nothing is counted twice.

use crate::online::Shared;
use anyhow::Context;
use contracts::policy::experiment::{Adaptive, ArmStats, Experiment, Measured, Outcome, Status};
use contracts::policy::{Named, Snapshot};
use contracts::reads::{TenantScope, TimeRange};
use contracts::{TenantId, Timestamp};
use runtime::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use warehouse::{ExperimentOwner, ExperimentRow};

/// The lease's name.
const LEASE: &str = "experiments";
/// A round that takes longer has lost its lease.
const ROUND: Duration = Duration::from_mins(5);

/// Measures until it is told to stop.
#[derive(Debug)]
pub(crate) struct Measuring {
    shared: Shared,
}

impl Measuring {
    /// One that has measured nothing.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Measures every so often until `shutdown`.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "experiments could not be measured: shares stay as they are; trying again"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(self.shared.config.measure_every) => {}
                () = shutdown.triggered() => return,
            }
        }
    }

    /// One round over all experiments that adapt; how many have something new. One that cannot be measured does not keep the others
    /// from it.
    pub(crate) async fn round(&self) -> anyhow::Result<usize> {
        let shared = &self.shared;
        let snapshot = shared.snapshots.load_full();
        let adapts = |experiment: &&Arc<Named<Experiment>>| {
            experiment.adaptive.is_some() && experiment.status == Status::Running
        };
        let experiments: Vec<_> =
            snapshot.experiments.iter().filter_map(|held| held.as_ref().ok()).filter(adapts).collect();
        if experiments.is_empty() {
            return Ok(0);
        }
        let now = shared.clock.now();
        let lease = shared.judging.acquire(LEASE, &shared.process, ROUND, now).await?;
        let Some(lease) = lease else { return Ok(0) };
        let (mut new, mut failed) = (0, Ok(()));
        for experiment in experiments {
            match self.measure(&snapshot, experiment, now).await {
                Ok(is_new) => new += usize::from(is_new),
                Err(error) => failed = Err(error.context(format!("experiment {}", experiment.name))),
            }
        }
        // Who crashes here leaves a lease that runs out.
        shared.judging.release(&lease).await?;
        failed.map(|()| new)
    }

    async fn measure(
        &self,
        snapshot: &Snapshot,
        experiment: &Named<Experiment>,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let warehouse = &self.shared.warehouse;
        let Some(adaptive) = &experiment.adaptive else { return Ok(false) };
        let Some((scope, owner)) = scope(snapshot, experiment) else { return Ok(false) };
        let name = experiment.name.as_str();
        let began =
            warehouse.experiment_start(&scope, name, &owner).await.context("look for its beginning")?;
        if began.calls == 0 {
            return Ok(false);
        }
        let range = TimeRange {
            from_ms: began.start_ms,
            to_ms: now.unix_millis().max(began.start_ms.saturating_add(1)),
        };
        let rows = warehouse.experiment(&scope, name, &owner, range).await.context("read its arms")?;
        let measured = Measured { metric: adaptive.metric.clone(), arms: arms(&rows, adaptive) };
        let measurements = self.shared.judging.measurements();
        Ok(measurements.put(experiment.tenant.as_ref(), &experiment.name, &measured, now).await?)
    }
}

/// Whose calls take part, in whose experiment of that name: the tenant's in its own, everybody's in a shared one.
fn scope(snapshot: &Snapshot, experiment: &Named<Experiment>) -> Option<(TenantScope, ExperimentOwner)> {
    if let Some(tenant) = &experiment.tenant {
        return Some((TenantScope::one(tenant.clone()), ExperimentOwner::Tenant));
    }
    let has_own = |tenant: &&TenantId| {
        let own = snapshot.experiments.get(Some(*tenant), &experiment.name);
        own.and_then(|held| held.as_ref().ok()).is_some_and(|own| own.tenant.is_some())
    };
    let tenants: BTreeSet<TenantId> = snapshot.keys.values().map(|key| key.tenant.id.clone()).collect();
    let apart_from = tenants.iter().filter(has_own).cloned().collect();
    Some((TenantScope::many(tenants.into_iter().collect())?, ExperimentOwner::Shared { apart_from }))
}

/// What was measured of each arm.
fn arms(rows: &[ExperimentRow], adaptive: &Adaptive) -> BTreeMap<String, ArmStats> {
    let of_metric = rows.iter().filter(|row| row.metric == adaptive.metric && !row.variant.is_empty());
    of_metric.map(|row| (row.variant.clone(), stats(row, adaptive.outcome))).collect()
}

/// A mean of shares is taken for as many successes: scores between 0 and 1 count in part.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rounded, and between none and all of them"
)]
fn stats(row: &ExperimentRow, outcome: Outcome) -> ArmStats {
    let n = row.units;
    match outcome {
        Outcome::Binary => {
            let successes = (row.mean.clamp(0.0, 1.0) * n as f64).round() as u64;
            ArmStats::Binary { successes: successes.min(n), failures: n.saturating_sub(successes) }
        }
        Outcome::Continuous => {
            let m2 = row.variance.max(0.0) * n.saturating_sub(1) as f64;
            ArmStats::Continuous { n, mean: rounded(row.mean), m2: rounded(m2) }
        }
    }
}

/// To nine significant digits. The warehouse adds floats up in any order, and the same data must be the same measurement.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests;
