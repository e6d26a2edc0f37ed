//! A run in a few figures, each with its interval.

use super::{RunError, RunResult, table};
use crate::judges::NOT_APPLICABLE;
use crate::stats::bootstrap::Bootstrap;
use crate::stats::{self, Interval};
use serde::Serialize;
use std::collections::BTreeMap;

/// Figures of a run or a slice of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Results.
    pub results: u64,
    /// Share of them without an answer; none without results.
    pub errors: Option<f64>,
    /// Mean cost of a result, US dollars, for display; none without results.
    pub mean_cost: Option<f64>,
    /// Median latency of the answers, milliseconds; none without an answer.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile of the latency of the answers, milliseconds; none without an answer.
    pub latency_p95_ms: Option<f64>,
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
    /// Rows that ought to have one: all but those about which the judge has nothing to say.
    pub wanted: u64,
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
            mean: mean(&values),
            rows: values.len() as u64,
            wanted: wanted(results, &judge),
            failed: failed.count() as u64,
        };
        (judge, figures)
    };
    Summary {
        results: results.len() as u64,
        errors: (!results.is_empty()).then(|| stats::float(errors) / stats::float(results.len() as u64)),
        mean_cost: stats::mean(&costs),
        latency_p50_ms: stats::quantile(&latencies, 0.5),
        latency_p95_ms: stats::quantile(&latencies, 0.95),
        judges: table::judges(results).into_iter().map(judged).collect(),
    }
}

impl Judged {
    /// Share of the rows that have a score, of those that ought to; none where there are no such rows.
    pub fn scored(&self) -> Option<f64> {
        (self.wanted > 0).then(|| stats::float(self.rows) / stats::float(self.wanted))
    }
}

/// The mean with its interval. Drawn again from scores that are all the same come only the same, be there one or a hundred: then the interval
/// is the exact one of Clopper and Pearson, as if the least probable other score were the furthest one from 0 to 1.
fn mean(values: &[f64]) -> Option<Interval> {
    let interval = Bootstrap::default().mean(values)?;
    let score = interval.estimate;
    let is_one = values.iter().all(|value| (value - score).abs() < 1e-12);
    if !is_one || !(0.0..=1.0).contains(&score) {
        return Some(interval);
    }
    let sure = 0.025_f64.powf(1.0 / stats::float(values.len() as u64));
    Some(Interval { estimate: score, low: score * sure, high: score + (1.0 - score) * (1.0 - sure) })
}

/// Rows of which not every answer is beside the judge's point.
fn wanted(results: &[RunResult], judge: &str) -> u64 {
    let mut rows: BTreeMap<&str, bool> = BTreeMap::new();
    for result in results {
        let said = result.scores.iter().find(|score| score.judge == judge);
        let applies = said.is_none_or(|score| score.score.is_some() || score.label != NOT_APPLICABLE);
        *rows.entry(&result.row_id).or_default() |= applies;
    }
    rows.into_values().filter(|applies| *applies).count() as u64
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
