//! How sure a figure is: pure functions over numbers, randomness by seed. The report of outcomes and the evaluator both stand on them.
//!
//! A figure that the data do not determine (the mean of nothing) is `None`, never a made-up zero.

pub mod bootstrap;

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
pub fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Standard normal quantile; the ends give infinities.
pub fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p.clamp(0.0, 1.0))
}

/// A count as a float. Exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "no sample has 2^53 values")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// A non-negative whole float as an index of at most `last`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=last first")]
pub fn index(place: f64, last: usize) -> usize {
    (place.max(0.0) as usize).min(last)
}
