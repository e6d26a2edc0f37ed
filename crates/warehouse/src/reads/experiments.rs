//! The arms of an experiment, each metric summed up.
//!
//! What is known of a trace must be in memory until its last call and its last outcome are counted, so an experiment with many calls is read in
//! parts: each trace is in one of them, and counts, means and sums of squares of the parts add up exactly to those of the whole.

use super::Bind;
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use clickhouse::Row;
use contracts::TenantId;
use contracts::reads::{TenantScope, TimeRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Calls of one part: with one trace each, and an outcome or a verdict on every other, it takes some 300 MiB of the 512 that a read may take.
const CALLS_OF_A_PART: u64 = 250_000;

/// Dollars per useful action.
const RATIO: &str = "usd_per_useful_action";

/// Whose experiment of a name is meant: a tenant may have one of its own beside one that all tenants share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExperimentOwner {
    /// Nobody has to tell them apart.
    #[default]
    Any,
    /// The tenants' own.
    Tenant,
    /// The shared one.
    Shared {
        /// Tenants with one of their own by that name. Calls of theirs that do not say whose experiment they took part in, because they are older
        /// than that is recorded, are taken for their own.
        apart_from: Vec<TenantId>,
    },
}

/// A metric of an arm of an experiment, over its units (traces).
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRow {
    /// The arm; empty for traces that saw several.
    pub variant: String,
    /// `cost_usd`, `error_rate`, `latency_ms`, `useful_actions`, `usd_per_useful_action`, `feedback`, `mixed`, or a judge.
    pub metric: String,
    /// How many units have it.
    pub units: u64,
    /// Its mean; of dollars per useful action, the ratio of the sums.
    pub mean: f64,
    /// Its sample variance; of the ratio, that of its linearisation.
    pub variance: f64,
}

/// The beginning of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct ExperimentStart {
    /// Calls that belong to it; without any, the rest says nothing.
    pub calls: u64,
    /// The first of them that is there, milliseconds since the epoch.
    pub start_ms: i64,
    /// Days after which they are deleted.
    pub days: u16,
    /// 2 where they belong to two experiments of that name: a tenant's own and a shared one.
    pub owners: u64,
}

/// What a part of all traces says of a metric of an arm.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
struct Part {
    variant: String,
    metric: String,
    units: u64,
    mean: f64,
    m2: f64,
    /// Of useful actions, beside the cost.
    actions_mean: f64,
    actions_m2: f64,
    actions_co: f64,
}

impl Part {
    /// Adds up what two parts say of one metric: Chan, Golub and `LeVeque`, "Updating formulae and a pairwise algorithm for computing sample
    /// variances", 1979.
    #[expect(clippy::cast_precision_loss, reason = "counts of traces")]
    fn add(&mut self, other: &Self) {
        let (mine, others) = (self.units as f64, other.units as f64);
        let all = mine + others;
        let (by, actions_by) = (other.mean - self.mean, other.actions_mean - self.actions_mean);
        let shared = mine * others / all;
        self.units += other.units;
        self.mean += by * others / all;
        self.m2 += other.m2 + by * by * shared;
        self.actions_mean += actions_by * others / all;
        self.actions_m2 += other.actions_m2 + actions_by * actions_by * shared;
        self.actions_co += other.actions_co + by * actions_by * shared;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of traces")]
    fn sampled(&self, squares: f64) -> f64 {
        if self.units > 1 { squares / (self.units - 1) as f64 } else { 0.0 }
    }

    /// Dollars per useful action; none without one.
    fn ratio(&self) -> Option<ExperimentRow> {
        if self.metric != "cost_usd" || self.actions_mean <= 0.0 {
            return None;
        }
        let mean = self.mean / self.actions_mean;
        let squares = self.m2 + mean * mean * self.actions_m2 - 2.0 * mean * self.actions_co;
        let variance = self.sampled(squares).max(0.0) / (self.actions_mean * self.actions_mean);
        Some(ExperimentRow { metric: RATIO.to_owned(), mean, variance, ..self.row() })
    }

    fn row(&self) -> ExperimentRow {
        ExperimentRow {
            variant: self.variant.clone(),
            metric: self.metric.clone(),
            units: self.units,
            mean: self.mean,
            variance: self.sampled(self.m2),
        }
    }
}

/// The rows of all parts together.
fn rows(parts: Vec<Part>) -> Vec<ExperimentRow> {
    let mut metrics: BTreeMap<(String, String), Part> = BTreeMap::new();
    for part in parts {
        let key = (part.variant.clone(), part.metric.clone());
        metrics.entry(key).and_modify(|all| all.add(&part)).or_insert(part);
    }
    metrics.values().flat_map(|all| [Some(all.row()), all.ratio()]).flatten().collect()
}

impl Warehouse {
    /// When an experiment began.
    pub async fn experiment_start(
        &self,
        scope: &TenantScope,
        name: &str,
        owner: &ExperimentOwner,
    ) -> Result<ExperimentStart, WarehouseError> {
        let query = self.read(read::EXPERIMENT_START, Limits::NARROW).tenants(scope).param("name", name);
        let (owner, apart_from) = owner.parameters();
        let query = query.param("owner", owner).param("apart_from", apart_from);
        within(query.fetch_one()).await.map_err(failed("look for the start of an experiment"))
    }

    /// Each metric of each arm of an experiment.
    pub async fn experiment(
        &self,
        scope: &TenantScope,
        name: &str,
        owner: &ExperimentOwner,
        range: TimeRange,
    ) -> Result<Vec<ExperimentRow>, WarehouseError> {
        let range = super::check_range(range)?;
        let calls = self.experiment_start(scope, name, owner).await?.calls;
        let parts = u32::try_from(calls.div_ceil(CALLS_OF_A_PART)).unwrap_or(u32::MAX).max(1);
        let (owner, apart_from) = owner.parameters();
        let mut found: Vec<Part> = Vec::new();
        for part in 0..parts {
            let query = self.read(read::EXPERIMENT, Limits::NARROW).tenants(scope).range(range);
            let query = query.param("name", name).param("owner", owner).param("apart_from", &apart_from);
            let query = query.param("parts", parts).param("part", part);
            found.extend(
                within(query.fetch_all()).await.map_err(failed("compare the arms of an experiment"))?,
            );
        }
        Ok(rows(found))
    }
}

impl ExperimentOwner {
    /// As queries are told it.
    fn parameters(&self) -> (&'static str, Vec<String>) {
        match self {
            Self::Any => ("", Vec::new()),
            Self::Tenant => ("tenant", Vec::new()),
            Self::Shared { apart_from } => ("shared", apart_from.iter().map(ToString::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What units with these costs and useful actions say.
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    fn part(units: &[(f64, f64)]) -> Part {
        let n = units.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| units.iter().map(of).sum::<f64>() / n;
        let (cost, actions) = (mean(&|unit| unit.0), mean(&|unit| unit.1));
        Part {
            variant: "a".to_owned(),
            metric: "cost_usd".to_owned(),
            units: units.len() as u64,
            mean: cost,
            m2: mean(&|unit| (unit.0 - cost).powi(2)) * n,
            actions_mean: actions,
            actions_m2: mean(&|unit| (unit.1 - actions).powi(2)) * n,
            actions_co: mean(&|unit| (unit.0 - cost) * (unit.1 - actions)) * n,
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let units = [(1.5, 1.0), (0.5, 0.0), (9.0, 3.0), (2.0, 0.0), (4.0, 1.0), (0.25, 0.0), (7.0, 2.0)];
        let whole = rows(vec![part(&units)]);
        assert_eq!(whole.len(), 2);
        for parts in [vec![&units[..1], &units[1..]], vec![&units[..3], &units[3..5], &units[5..]]] {
            let added = rows(parts.into_iter().map(part).collect());
            for (added, whole) in added.iter().zip(&whole) {
                assert_eq!((&added.metric, added.units), (&whole.metric, whole.units));
                assert!((added.mean - whole.mean).abs() < 1e-12, "{added:?} {whole:?}");
                assert!((added.variance - whole.variance).abs() < 1e-9, "{added:?} {whole:?}");
            }
        }
    }

    #[test]
    fn without_a_useful_action_there_is_no_price_of_one() {
        let none = rows(vec![part(&[(1.0, 0.0), (2.0, 0.0)])]);
        assert_eq!(none.iter().map(|row| row.metric.as_str()).collect::<Vec<_>>(), ["cost_usd"]);
    }
}
