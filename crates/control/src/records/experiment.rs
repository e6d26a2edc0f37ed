//! What experiments deal at this moment, and what that follows from.

use super::time_text;
use contracts::policy::experiment::{ArmStats, Experiment, Measured, Status};
use contracts::{PolicyName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an experiment deals to whom it has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentShares {
    /// Whose it is; absent when shared by all tenants.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Its name.
    #[schema(value_type = String, example = "tone")]
    pub name: PolicyName,
    /// `running`, or `paused`: the control has everybody.
    #[schema(value_type = String, example = "running")]
    pub status: Status,
    /// The metric that its shares follow; absent when they are fixed.
    pub metric: Option<String>,
    /// When what was measured of that metric last changed; absent while there is nothing.
    #[serde(with = "time_text::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub measured_at: Option<Timestamp>,
    /// Whether shares follow what was measured; the weights hold as written when not.
    pub is_adapted: bool,
    /// The arms, as they were written. The first is the control.
    pub arms: Vec<ArmShare>,
}

/// An arm of an experiment, and what it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmShare {
    /// Its name.
    #[schema(example = "control")]
    pub name: String,
    /// Its weight, as written.
    pub weight: f64,
    /// How often the metric was measured of it.
    pub observations: u64,
    /// The metric's mean; of one that is yes or no the part that is yes. Absent without observations.
    pub mean: Option<f64>,
    /// The part of new units that it gets, 0 to 1.
    pub share: f64,
}

impl ExperimentShares {
    /// What `experiment` deals by `weights`, which follow from what was measured; by those that it was written with where there are none.
    pub(crate) fn new(
        tenant: Option<TenantId>,
        name: PolicyName,
        experiment: Experiment,
        measured: Option<(Measured, Timestamp)>,
        weights: Option<Vec<f64>>,
    ) -> Self {
        let metric = experiment.adaptive.map(|adaptive| adaptive.metric);
        // Of another metric, it is of the experiment as it was before.
        let (measured, measured_at) =
            measured.filter(|(measured, _)| Some(&measured.metric) == metric.as_ref()).unzip();
        let is_adapted = weights.is_some();
        let weights = weights.unwrap_or_else(|| experiment.arms.iter().map(|arm| arm.weight).collect());
        let sum: f64 = weights.iter().sum();
        let share = |(n, weight): (usize, f64)| match (experiment.status, n) {
            (Status::Running, _) => weight / sum,
            (Status::Paused, 0) => 1.0,
            (Status::Paused, _) => 0.0,
        };
        let shares = weights.into_iter().enumerate().map(share);
        let arms = experiment.arms.into_iter().zip(shares).map(|(arm, share)| {
            let stats = measured.as_ref().and_then(|measured| measured.arms.get(&arm.name));
            let observations = stats.map_or(0, ArmStats::observations);
            let mean = stats.and_then(ArmStats::mean);
            ArmShare { name: arm.name, weight: arm.weight, observations, mean, share }
        });
        let arms = arms.collect();
        Self { tenant, name, status: experiment.status, metric, measured_at, is_adapted, arms }
    }
}
