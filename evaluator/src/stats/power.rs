//! Minimum detectable effect: the smallest true difference that an experiment of this size would show with a given probability.

use super::sequence::Sequence;
use super::{Moments, float, normal_quantile};

/// The effect that one look, at significance `1 − level`, finds with probability `power`:
/// `(z₁₋α⸝₂ + z_power) · √(s₀²/n₀ + s₁²/n₁)`. `None` with fewer than two values in an arm.
pub fn fixed(control: &Moments, treatment: &Moments, level: f64, power: f64) -> Option<f64> {
    let z = normal_quantile(1.0 - (1.0 - level) / 2.0) + normal_quantile(power);
    Some(z * standard_error(control, treatment)?)
}

/// The effect whose confidence sequence excludes zero, at this size, with probability `power`: its half-width plus `z_power` standard
/// errors. Larger than [`fixed`]: the price of peeking. `None` where there is no interval.
pub fn always_valid(control: &Moments, treatment: &Moments, sequence: &Sequence, power: f64) -> Option<f64> {
    let interval = sequence.difference(control, treatment)?;
    let half = (interval.high - interval.low) / 2.0;
    Some(half + normal_quantile(power) * sequence.standard_error(control, treatment)?)
}

/// Units per arm, of two equal arms with this variance, at which one look finds `effect`. `None` for an effect of zero.
pub fn units_per_arm(variance: f64, effect: f64, level: f64, power: f64) -> Option<f64> {
    let z = normal_quantile(1.0 - (1.0 - level) / 2.0) + normal_quantile(power);
    (effect != 0.0).then(|| (2.0 * variance * (z / effect).powi(2)).ceil())
}

fn standard_error(control: &Moments, treatment: &Moments) -> Option<f64> {
    Some((control.variance()? / float(control.count) + treatment.variance()? / float(treatment.count)).sqrt())
}
