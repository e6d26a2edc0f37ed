//! Sample-ratio mismatch: whether the arms got the traffic that they were meant to get.
//!
//! An experiment whose split is off (a redirect that loses one arm's calls, a cache that answers for one) measures that fault, not
//! its treatment. [`chi_square`] is the usual test, for one look. [`sequential`] may be asked after every call: Lindon and Malek,
//! "Anytime-valid inference for multinomial count data", `NeurIPS` 2022.

use super::float;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::gamma::ln_gamma;

/// The prior's weight in units: how many calls' worth of trust in the planned split the sequential test starts from.
const CONCENTRATION: f64 = 100.0;

/// p-value of Pearson's chi-square test that `counts` came with probabilities in proportion to `weights`. `None` for fewer than two
/// arms, unequal lengths, a weight that is not positive, or no units.
pub fn chi_square(counts: &[u64], weights: &[f64]) -> Option<f64> {
    let shares = shares(counts, weights)?;
    let total = float(counts.iter().sum());
    let statistic: f64 = counts
        .iter()
        .zip(&shares)
        .map(|(n, share)| (float(*n) - total * share).powi(2) / (total * share))
        .sum();
    let freedom = ChiSquared::new(float(counts.len() as u64 - 1)).ok()?;
    Some(freedom.sf(statistic))
}

/// p-value of the same hypothesis that holds under peeking: the chance that it ever falls below α while the split is as planned is at
/// most α. It is the inverse of a Bayes factor with a Dirichlet prior about the plan. `None` as for [`chi_square`].
pub fn sequential(counts: &[u64], weights: &[f64]) -> Option<f64> {
    let shares = shares(counts, weights)?;
    let total = float(counts.iter().sum());
    let arms: f64 = counts
        .iter()
        .zip(&shares)
        .map(|(n, share)| {
            let prior = CONCENTRATION * share;
            ln_gamma(prior + float(*n)) - ln_gamma(prior) - float(*n) * share.ln()
        })
        .sum();
    let log_factor = ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + total) + arms;
    Some((-log_factor).exp().min(1.0))
}

fn shares(counts: &[u64], weights: &[f64]) -> Option<Vec<f64>> {
    let whole: f64 = weights.iter().sum();
    let sound = counts.len() >= 2
        && counts.len() == weights.len()
        && weights.iter().all(|w| *w > 0.0 && w.is_finite())
        && counts.iter().any(|n| *n > 0);
    sound.then(|| weights.iter().map(|w| w / whole).collect())
}
