//! How well a score separates two classes, and how well it decides at a threshold. A higher score means more likely positive.

use super::{float, rank};
use serde::Serialize;

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counted half. `None` with one class only or a
/// score that is not a number.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    if scores.len() != positive.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let positives = float(positive.iter().filter(|p| **p).count() as u64);
    let negatives = float(positive.len() as u64) - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let ranks: f64 = rank::ranks(scores).iter().zip(positive).filter(|(_, p)| **p).map(|(r, _)| r).sum();
    Some((ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Outcomes of a decision at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Confusion {
    /// Positive and called so.
    pub true_positives: u64,
    /// Negative but called positive.
    pub false_positives: u64,
    /// Negative and called so.
    pub true_negatives: u64,
    /// Positive but called negative.
    pub false_negatives: u64,
}

impl Confusion {
    /// Of scores at or above `threshold`, which are called positive.
    pub fn at(threshold: f64, scores: &[f64], positive: &[bool]) -> Self {
        let mut outcomes = Self::default();
        for (score, positive) in scores.iter().zip(positive) {
            let slot = match (*score >= threshold, *positive) {
                (true, true) => &mut outcomes.true_positives,
                (true, false) => &mut outcomes.false_positives,
                (false, true) => &mut outcomes.false_negatives,
                (false, false) => &mut outcomes.true_negatives,
            };
            *slot += 1;
        }
        outcomes
    }

    /// Of what is called positive, the share that is.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Of what is positive, the share called so.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Of what is negative, the share called so.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Mean of recall and specificity: 0.5 by chance however uneven the classes. `None` with one class only.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(f64::midpoint(self.recall()?, self.specificity()?))
    }

    /// Harmonic mean of precision and recall. `None` where nothing is positive and nothing is called so.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }
}

/// The threshold with the highest F1 on these data, and that F1; for choosing on one set what is then measured on another. `None`
/// without a positive.
pub fn best_f1(scores: &[f64], positive: &[bool]) -> Option<(f64, f64)> {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = order.iter().filter(|(_, p)| *p).count() as u64;
    let (mut called, mut right) = (0, 0);
    let mut best: Option<(f64, f64)> = None;
    for (place, (score, positive)) in order.iter().enumerate() {
        called += 1;
        right += u64::from(*positive);
        if order.get(place + 1).is_some_and(|next| next.0.total_cmp(score).is_eq()) {
            continue;
        }
        let f1 = share(2 * right, called + positives)?;
        if positives > 0 && best.is_none_or(|(_, top)| f1 > top) {
            best = Some((*score, f1));
        }
    }
    best
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}
