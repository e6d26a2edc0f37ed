//! An answer in numbers: the risks of its claims, gathered.

use super::evidence::float;

/// Names of an answer's features, in the order of [`gather`]. More of any speaks against the answer.
pub(crate) const NAMES: [&str; 5] = ["risk_most", "risk_second", "risk_mean", "risk_any", "risk_share"];

/// Gathers the probabilities that an answer's claims are unsupported: the greatest, the second, the mean, that of any one
/// if they were independent, and the share of those above one half.
pub(crate) fn gather(risks: &[f64]) -> [f64; NAMES.len()] {
    let mut risks = risks.to_vec();
    risks.sort_unstable_by(|a, b| b.total_cmp(a));
    let at = |n: usize| risks.get(n).copied().unwrap_or(0.0);
    let count = float(risks.len().max(1));
    let above = risks.iter().filter(|risk| **risk > 0.5).count();
    let none = risks.iter().map(|risk| 1.0 - risk).product::<f64>();
    [at(0), at(1), risks.iter().sum::<f64>() / count, 1.0 - none, float(above) / count]
}
