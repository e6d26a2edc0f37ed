//! Statistics for judging answers: pure functions over numbers, no I/O, no clock, randomness by seed.
//!
//! | question | module |
//! |---|---|
//! | How sure is this figure, this difference, this ratio? | [`bootstrap`] |
//! | May I look at a running experiment every minute? | [`sequence`] |
//! | Was the traffic split as planned? | [`allocation`] |
//! | Which effect could this experiment see at all? | [`power`] |
//! | Does a judge agree with people? | [`agreement`] |
//! | How well does a score separate, and at a threshold decide? | [`classify`] |
//! | Does a score of 0.8 mean 80%? | [`calibration`] |
//! | Do two rankings agree? | [`rank`] |
//!
//! Resampling is in `warehouse::stats`, since the console says with it how sure dollars per useful action are; this is where evaluators
//! find all of it. A figure that the data do not determine (the mean of nothing, an AUROC of one class) is `None`, never a made-up zero.

pub mod agreement;
pub mod allocation;
pub mod calibration;
pub mod classify;
pub mod power;
pub mod rank;
pub mod sequence;

pub use warehouse::stats::{Interval, bootstrap, mean, quantile};

pub(crate) use warehouse::stats::{float, index, normal_quantile};

use serde::{Deserialize, Serialize};

/// Count, mean and variance of a sample, gathered in one pass (Welford's algorithm) or taken from sums that a database made.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    /// How many values.
    pub count: u64,
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Moments {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let mut moments = Self::default();
        for &value in values {
            moments.push(value);
        }
        moments
    }

    /// From a count, a mean and a sample variance (divided by n − 1).
    pub fn from_variance(count: u64, mean: f64, variance: f64) -> Self {
        Self { count, mean, squares: variance.max(0.0) * float(count.saturating_sub(1)) }
    }

    /// Takes one more value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / float(self.count);
        self.squares += before * (value - self.mean);
    }

    /// Sample variance (divided by n − 1); none of fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count >= 2).then(|| self.squares / float(self.count - 1))
    }
}

#[cfg(test)]
mod tests;
