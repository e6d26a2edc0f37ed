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
//! A figure that the data do not determine (the mean of nothing, an AUROC of one class) is `None`, never a made-up zero.

pub mod agreement;
pub mod allocation;
pub mod bootstrap;
pub mod calibration;
pub mod classify;
pub mod power;
pub mod rank;
pub mod sequence;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// An estimate and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The point estimate.
    pub estimate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies within, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// An interval of `half_width` to both sides of `estimate`.
    pub fn around(estimate: f64, half_width: f64) -> Self {
        Self { estimate, low: estimate - half_width, high: estimate + half_width }
    }
}

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

/// The mean; none of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / float(values.len() as u64))
}

/// The quantile `at` of sorted values, linear between order statistics (Hyndman and Fan 1996, type 7).
pub fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = at.clamp(0.0, 1.0) * float(last as u64);
    let below = index(place.floor(), last);
    let above = index(place.ceil(), last);
    let (low, high) = (*sorted.get(below)?, *sorted.get(above)?);
    Some(low + (high - low) * (place - place.floor()))
}

/// Standard normal distribution function.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Standard normal quantile; the ends give infinities.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p.clamp(0.0, 1.0))
}

/// A count as a float. Exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "no sample has 2^53 values")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A non-negative whole float as an index of at most `last`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=last first")]
pub(crate) fn index(place: f64, last: usize) -> usize {
    (place.max(0.0) as usize).min(last)
}

#[cfg(test)]
mod tests;
