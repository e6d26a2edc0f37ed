//! Calibration: whether, of the answers scored 0.8, eight in ten are what the score says.

use super::{float, index};
use serde::Serialize;

/// One bin of a reliability curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Its lower end, included.
    pub low: f64,
    /// Its upper end, excluded except in the last bin.
    pub high: f64,
    /// How many scores fell into it.
    pub count: u64,
    /// Their mean.
    pub predicted: f64,
    /// The share of them that was positive.
    pub observed: f64,
}

/// The reliability curve over `bins` bins of equal width in 0..=1; empty bins are left out.
pub fn reliability(probabilities: &[f64], positive: &[bool], bins: usize) -> Vec<Bin> {
    let bins = bins.max(1);
    let width = 1.0 / float(bins as u64);
    let mut sums = vec![(0_u64, 0.0, 0_u64); bins];
    for (probability, positive) in probabilities.iter().zip(positive) {
        let slot = &mut sums[index(probability * float(bins as u64), bins - 1)];
        slot.0 += 1;
        slot.1 += probability;
        slot.2 += u64::from(*positive);
    }
    let filled = sums.iter().enumerate().filter(|(_, sum)| sum.0 > 0);
    filled
        .map(|(bin, (count, sum, positives))| Bin {
            low: float(bin as u64) * width,
            high: float(bin as u64 + 1) * width,
            count: *count,
            predicted: sum / float(*count),
            observed: float(*positives) / float(*count),
        })
        .collect()
}

/// Expected calibration error: the mean distance between predicted and observed over bins of equal width, weighted by their counts
/// (Guo et al., "On calibration of modern neural networks", ICML 2017, equation 5). `None` of nothing.
pub fn expected_error(probabilities: &[f64], positive: &[bool], bins: usize) -> Option<f64> {
    let curve = reliability(probabilities, positive, bins);
    let total: u64 = curve.iter().map(|bin| bin.count).sum();
    (total > 0).then(|| {
        curve.iter().map(|bin| float(bin.count) * (bin.predicted - bin.observed).abs()).sum::<f64>()
            / float(total)
    })
}

/// Brier score: the mean squared distance between probability and outcome. `None` of nothing.
pub fn brier(probabilities: &[f64], positive: &[bool]) -> Option<f64> {
    let squares: Vec<f64> =
        probabilities.iter().zip(positive).map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2)).collect();
    super::mean(&squares)
}
