//! A run in a few figures, each with its interval.

use super::{RunError, RunResult, table};
use crate::stats::bootstrap::Bootstrap;
use crate::stats::{self, Interval};
use serde::Serialize;
use std::collections::BTreeMap;

/// Figures of a run or a slice of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Results.
    pub results: u64,
    /// Share of them without an answer.
    pub errors: f64,
    /// Mean cost of a result, US dollars, for display.
    pub mean_cost: f64,
    /// Median latency, milliseconds.
    pub latency_p50_ms: f64,
    /// 95th percentile of the latency, milliseconds.
    pub latency_p95_ms: f64,
    /// By judge.
    pub judges: BTreeMap<String, Judged>,
}

/// The scores of one judge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Mean score by row (the mean of its repetitions) with a `BCa` interval at 95%; none when no row was scored.
    pub mean: Option<Interval>,
    /// Rows with a score.
    pub rows: u64,
    /// Answers that the judge could not judge.
    pub failed: u64,
}

/// Sums a run up.
pub fn summarise(results: &[RunResult]) -> Summary {
    let errors = results.iter().filter(|r| !r.error.is_empty()).count() as u64;
    let costs: Vec<f64> = results.iter().map(|r| r.cost().to_f64_for_display()).collect();
    let mut latencies: Vec<f64> =
        results.iter().filter(|r| r.error.is_empty()).map(|r| stats::float(r.latency_ms)).collect();
    latencies.sort_by(f64::total_cmp);
    let judged = |judge: String| {
        let values: Vec<f64> = by_row(results, |r| r.score(&judge)).into_values().collect();
        let failed =
            results.iter().flat_map(|r| &r.scores).filter(|s| s.judge == judge && s.label == "error");
        let figures = Judged {
            mean: Bootstrap::default().mean(&values),
            rows: values.len() as u64,
            failed: failed.count() as u64,
        };
        (judge, figures)
    };
    Summary {
        results: results.len() as u64,
        errors: if results.is_empty() {
            0.0
        } else {
            stats::float(errors) / stats::float(results.len() as u64)
        },
        mean_cost: stats::mean(&costs).unwrap_or(0.0),
        latency_p50_ms: stats::quantile(&latencies, 0.5).unwrap_or(0.0),
        latency_p95_ms: stats::quantile(&latencies, 0.95).unwrap_or(0.0),
        judges: table::judges(results).into_iter().map(judged).collect(),
    }
}

/// A summary for each value of a slice.
pub fn by_slice(results: &[RunResult], slice: &str) -> Result<Vec<(String, Summary)>, RunError> {
    let groups = table::groups(results, slice)?;
    let summary = |places: &[usize]| {
        let part: Vec<RunResult> = places.iter().map(|place| results[*place].clone()).collect();
        summarise(&part)
    };
    Ok(groups.into_iter().map(|(value, places)| (value, summary(&places))).collect())
}

/// The mean of a figure over each row's repetitions: repetitions of a row are not independent, rows are.
pub(super) fn by_row(results: &[RunResult], of: impl Fn(&RunResult) -> Option<f64>) -> BTreeMap<&str, f64> {
    let mut rows: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for result in results {
        if let Some(value) = of(result) {
            rows.entry(&result.row_id).or_default().push(value);
        }
    }
    rows.into_iter().filter_map(|(row, values)| Some((row, stats::mean(&values)?))).collect()
}
