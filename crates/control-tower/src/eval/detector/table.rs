//! Scored answers, summed up by data set and slice.

use evaluator::stats::Interval;
use evaluator::stats::bootstrap::Bootstrap;
use evaluator::stats::calibration::expected_error;
use evaluator::stats::classify::{Confusion, auroc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bins of the expected calibration error.
const BINS: usize = 10;
/// Answers at least this likely to be unsupported count as such.
const THRESHOLD: f64 = 0.5;

/// An answer with what was said of it.
#[derive(Debug)]
pub(super) struct Scored {
    pub(super) dataset: String,
    pub(super) task: Option<String>,
    pub(super) model: Option<String>,
    pub(super) positive: bool,
    pub(super) probability: f64,
    pub(super) lexical: f64,
    pub(super) distance: Option<f64>,
    pub(super) marked: Option<Overlap>,
}

/// Characters marked unsupported by people and by the detector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    both: usize,
    people: usize,
    detector: usize,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(super) struct Slice {
    dataset: String,
    /// `all`, or a task's or a model's name.
    #[serde(rename = "slice")]
    value: String,
    /// What the slice is a value of: `all`, `task` or `model`.
    by: &'static str,
    n: usize,
    positives: usize,
    auroc: Option<f64>,
    f1: Option<f64>,
    balanced_accuracy: Option<f64>,
    ece: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_f1: Option<f64>,
    lexical_auroc: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_auroc: Option<f64>,
    /// Mean probability of being unsupported: what models are ranked by.
    mean_probability: f64,
    /// Ends of the 95% bootstrap intervals.
    intervals: Intervals,
}

#[derive(Debug, Serialize)]
struct Intervals {
    auroc: Option<[f64; 2]>,
    f1: Option<[f64; 2]>,
    balanced_accuracy: Option<[f64; 2]>,
    ece: Option<[f64; 2]>,
}

/// Every data set as a whole, then by task and by model where rows name them.
pub(super) fn slices(rows: &[Scored], resamples: usize) -> Vec<Slice> {
    type Groups<'a> = BTreeMap<(&'a str, &'static str, &'a str), Vec<&'a Scored>>;
    let mut groups = Groups::new();
    for row in rows {
        groups.entry((&row.dataset, "all", "all")).or_default().push(row);
        if let Some(task) = &row.task {
            groups.entry((&row.dataset, "task", task)).or_default().push(row);
        }
        if let Some(model) = &row.model {
            groups.entry((&row.dataset, "model", model)).or_default().push(row);
        }
    }
    let order = |by: &str| ["all", "task", "model"].iter().position(|known| *known == by);
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((dataset, by, slice), _)| (*dataset, order(by), *slice));
    groups
        .into_iter()
        .map(|((dataset, by, slice), rows)| summary(dataset, by, slice, &rows, resamples))
        .collect()
}

/// A figure of scores and of what is true of them.
type Statistic<'a> = dyn Fn(&[f64], &[bool]) -> Option<f64> + 'a;

fn summary(dataset: &str, by: &'static str, slice: &str, rows: &[&Scored], resamples: usize) -> Slice {
    let positive: Vec<bool> = rows.iter().map(|row| row.positive).collect();
    let scores: Vec<f64> = rows.iter().map(|row| row.probability).collect();
    let lexical: Vec<f64> = rows.iter().map(|row| row.lexical).collect();
    let distances: Option<Vec<f64>> = rows.iter().map(|row| row.distance).collect();
    let confusion = Confusion::at(THRESHOLD, &scores, &positive);
    let ends = |statistic: &Statistic<'_>| {
        let bootstrap = Bootstrap { resamples, ..Bootstrap::default() };
        let interval = bootstrap.percentile(rows.len(), |drawn| {
            let scores: Vec<f64> = drawn.iter().map(|at| scores[*at]).collect();
            let positive: Vec<bool> = drawn.iter().map(|at| positive[*at]).collect();
            statistic(&scores, &positive)
        });
        interval.map(|Interval { low, high, .. }| [low, high])
    };
    let marked: Vec<Overlap> = rows.iter().filter_map(|row| row.marked).collect();
    Slice {
        dataset: dataset.to_owned(),
        value: slice.to_owned(),
        by,
        n: rows.len(),
        positives: positive.iter().filter(|positive| **positive).count(),
        auroc: auroc(&scores, &positive),
        f1: confusion.f1(),
        balanced_accuracy: confusion.balanced_accuracy(),
        ece: expected_error(&scores, &positive, BINS),
        span_f1: span_f1(&marked),
        lexical_auroc: auroc(&lexical, &positive),
        embedding_auroc: distances.and_then(|distances| auroc(&distances, &positive)),
        mean_probability: scores.iter().sum::<f64>() / ratio(rows.len().max(1), 1),
        intervals: Intervals {
            auroc: ends(&auroc),
            f1: ends(&|scores, positive| Confusion::at(THRESHOLD, scores, positive).f1()),
            balanced_accuracy: ends(&|scores, positive| {
                Confusion::at(THRESHOLD, scores, positive).balanced_accuracy()
            }),
            ece: ends(&|scores, positive| expected_error(scores, positive, BINS)),
        },
    }
}

/// The table for people.
pub(super) fn lines(slices: &[Slice]) -> Vec<String> {
    let width = slices.iter().map(|s| s.dataset.len() + s.value.len() + 1).max().unwrap_or(0).max(8);
    let mut out = vec![format!(
        "{:width$} {:>6} {:>6} {:>20} {:>6} {:>8} {:>6} {:>8} {:>8} {:>7}",
        "dataset", "n", "pos", "auroc [95%]", "f1", "balanced", "ece", "lexical", "embedder", "span_f1"
    )];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    for slice in slices {
        let ends =
            slice.intervals.auroc.map(|[low, high]| format!(" [{low:.3} {high:.3}]")).unwrap_or_default();
        out.push(format!(
            "{:width$} {:>6} {:>6} {:>20} {:>6} {:>8} {:>6} {:>8} {:>8} {:>7}",
            format!("{} {}", slice.dataset, slice.value),
            slice.n,
            slice.positives,
            number(slice.auroc) + &ends,
            number(slice.f1),
            number(slice.balanced_accuracy),
            number(slice.ece),
            number(slice.lexical_auroc),
            number(slice.embedding_auroc),
            number(slice.span_f1)
        ));
    }
    out
}

/// F1 over characters, of all answers together; absent where people marked nothing at all.
fn span_f1(marked: &[Overlap]) -> Option<f64> {
    let sum = |part: fn(&Overlap) -> usize| marked.iter().map(part).sum::<usize>();
    let people = sum(|m| m.people);
    (people > 0).then(|| ratio(2 * sum(|m| m.both), people + sum(|m| m.detector)))
}

/// Compares people's spans, in characters, with the detector's, in bytes.
pub(super) fn overlap(answer: &str, people: &[Range<usize>], detector: &[Range<usize>]) -> Overlap {
    let mut out = Overlap::default();
    for (character, (byte, _)) in answer.char_indices().enumerate() {
        let by_people = people.iter().any(|range| range.contains(&character));
        let by_detector = detector.iter().any(|range| range.contains(&byte));
        out.people += usize::from(by_people);
        out.detector += usize::from(by_detector);
        out.both += usize::from(by_people && by_detector);
    }
    out
}

/// A ratio of counts.
#[expect(clippy::cast_precision_loss, reason = "counts of rows and characters are far below 2^52")]
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(task: Option<&str>, positive: bool, probability: f64) -> Scored {
        Scored {
            dataset: "d".to_owned(),
            task: task.map(str::to_owned),
            model: None,
            positive,
            probability,
            lexical: probability,
            distance: None,
            marked: None,
        }
    }

    #[test]
    fn a_data_set_is_summed_up_as_a_whole_and_by_task() {
        let rows = [
            scored(Some("QA"), true, 0.9),
            scored(Some("QA"), false, 0.1),
            scored(Some("Summary"), true, 0.2),
            scored(None, false, 0.4),
        ];
        let slices = slices(&rows, 10);
        let named: Vec<_> = slices.iter().map(|s| (s.value.as_str(), s.n, s.positives)).collect();
        assert_eq!(named, [("all", 4, 2), ("QA", 2, 1), ("Summary", 1, 1)]);
        // Of the four pairs of a positive and a negative, three are in order.
        assert_eq!(slices[0].auroc, Some(0.75));
        assert_eq!(slices[2].auroc, None, "one class has no AUROC");
    }

    #[test]
    fn spans_are_counted_in_characters() {
        let found = overlap("äb cd", std::slice::from_ref(&(1..4)), std::slice::from_ref(&(0..3)));
        assert_eq!(found, Overlap { both: 1, people: 3, detector: 2 });
        assert_eq!(span_f1(&[found]), Some(0.4));
    }
}
