//! Two runs over the same rows: paired differences with bootstrap intervals, whole and by slice.

use super::summary::by_row;
use super::{RunError, RunResult, table};
use crate::stats::bootstrap::Bootstrap;
use crate::stats::{self, Interval};
use serde::Serialize;
use std::collections::BTreeSet;

/// How one figure changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Judge, or `cost_usd`, `latency_ms`, `error_rate`.
    pub metric: String,
    /// Name of the slice; empty for all rows.
    pub slice: String,
    /// Its value.
    pub value: String,
    /// Rows that both runs have a figure for.
    pub pairs: u64,
    /// Mean over these rows before.
    pub before: f64,
    /// Mean over these rows after.
    pub after: f64,
    /// Mean paired difference with its `BCa` interval at 95%.
    pub difference: Interval,
}

impl Change {
    /// Whether the interval leaves out zero.
    pub fn is_clear(&self) -> bool {
        !self.difference.contains(0.0)
    }
}

/// Every figure that both runs have, over all rows and over each value of each slice. Rows are paired by id, repetitions averaged.
pub fn compare(
    before: &[RunResult],
    after: &[RunResult],
    slices: &[String],
) -> Result<Vec<Change>, RunError> {
    let mut metrics: Vec<String> = table::judges(before);
    metrics.retain(|judge| table::judges(after).contains(judge));
    metrics.extend(["cost_usd", "latency_ms", "error_rate"].map(str::to_owned));
    let whole = (String::new(), String::new(), before.iter().map(|r| r.row_id.as_str()).collect());
    let mut parts: Vec<(String, String, BTreeSet<&str>)> = vec![whole];
    for slice in slices {
        for (value, places) in table::groups(before, slice)? {
            parts.push((
                slice.clone(),
                value,
                places.iter().map(|place| before[*place].row_id.as_str()).collect(),
            ));
        }
    }
    let mut changes = Vec::new();
    for metric in &metrics {
        let (old, new) = (by_row(before, |r| figure(r, metric)), by_row(after, |r| figure(r, metric)));
        for (slice, value, rows) in &parts {
            let pairs = rows.iter().filter_map(|row| Some((*old.get(row)?, *new.get(row)?)));
            let (was, is): (Vec<f64>, Vec<f64>) = pairs.unzip();
            let Some(difference) = Bootstrap::default().paired(&was, &is) else { continue };
            changes.push(Change {
                metric: metric.clone(),
                slice: slice.clone(),
                value: value.clone(),
                pairs: was.len() as u64,
                before: stats::mean(&was).unwrap_or(0.0),
                after: stats::mean(&is).unwrap_or(0.0),
                difference,
            });
        }
    }
    Ok(changes)
}

fn figure(result: &RunResult, metric: &str) -> Option<f64> {
    match metric {
        "cost_usd" => Some(result.cost().to_f64_for_display()),
        "error_rate" => Some(f64::from(u8::from(!result.error.is_empty()))),
        "latency_ms" => result.error.is_empty().then(|| stats::float(result.latency_ms)),
        judge => result.score(judge),
    }
}
