//! Confidence sequences: intervals that hold at every moment at once, so that an experiment may be watched and stopped at will.
//!
//! A 95% interval of the usual kind, looked at after every call, excludes the truth sooner or later far more often than 5% of the
//! time. A confidence sequence excludes it *ever* with at most that probability.
//!
//! - [`Sequence`]: asymptotic, for means, differences of two arms and ratios, of any metric with a finite variance, from counts,
//!   means and variances alone. Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
//!   asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2; two arms through the variance of the
//!   augmented inverse-propensity score of its section 3.
//! - [`Bounded`]: exact from the first value on, for values known to lie in 0..=1, in the order in which they came. Waudby-Smith and
//!   Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), theorem 2 (predictable plug-in
//!   empirical Bernstein).

use super::{Interval, Moments, float};

/// A two-sided asymptotic confidence sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequence {
    /// Probability that it never excludes the truth, such as 0.95.
    pub level: f64,
    /// The number of values at which it is to be tightest. It holds at every other number too, a little wider. Must be chosen
    /// before the data are seen.
    pub tightest_at: u64,
    /// Below this many values in an arm it says nothing: the theorem is about growing samples.
    pub burn_in: u64,
    /// What is known of the values beforehand.
    pub scale: Scale,
}

/// What is known of values before they are seen. The theorem puts a sample's own variance in place of the true one, which is far too small as
/// long as the rare value has not come: after 50 successes without a failure it is zero, and so would be the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Nothing. While all values of an arm are the same, there is no interval.
    #[default]
    Any,
    /// Shares, grades of 0 to 1, small counts: the variance is taken with two 0s and two 1s more than were seen, as Agresti and Coull do
    /// (The American Statistician 52, 1998).
    Unit,
}

impl Scale {
    fn variance(self, sample: &Moments) -> Option<f64> {
        let variance = match self {
            Self::Any => sample.variance(),
            Self::Unit => {
                let mut seen = *sample;
                for value in [0.0, 1.0, 0.0, 1.0] {
                    seen.push(value);
                }
                seen.variance()
            }
        };
        variance.filter(|variance| *variance > 0.0)
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self { level: 0.95, tightest_at: 10_000, burn_in: 50, scale: Scale::Any }
    }
}

impl Sequence {
    /// Of a mean. `None` before the burn-in, and while values that may be anything are all the same.
    pub fn mean(&self, sample: &Moments) -> Option<Interval> {
        if sample.count < self.burn_in.max(2) {
            return None;
        }
        let half = self.half_width(sample.count, self.scale.variance(sample)?.sqrt());
        Some(Interval::around(sample.mean, half))
    }

    /// Of the difference `treatment − control` of two arms that share one stream of units. `None` before the burn-in of either, and while
    /// values of either that may be anything are all the same.
    pub fn difference(&self, control: &Moments, treatment: &Moments) -> Option<Interval> {
        if control.count.min(treatment.count) < self.burn_in.max(2) {
            return None;
        }
        let both = control.count + treatment.count;
        // Per unit of the whole stream: Var = t · (s₀²/n₀ + s₁²/n₁).
        let deviation = self.standard_error(control, treatment)? * float(both).sqrt();
        Some(Interval::around(treatment.mean - control.mean, self.half_width(both, deviation)))
    }

    /// Of the difference of two arms, at this moment alone.
    pub fn standard_error(&self, control: &Moments, treatment: &Moments) -> Option<f64> {
        let of = |arm: &Moments| Some(self.scale.variance(arm)? / float(arm.count));
        Some((of(control)? + of(treatment)?).sqrt())
    }

    /// Half the width after `count` values of standard deviation `deviation`.
    pub fn half_width(&self, count: u64, deviation: f64) -> f64 {
        let alpha = (1.0 - self.level).clamp(1e-12, 1.0);
        let (t, rho) = (float(count), self.rho_squared(alpha));
        let spent = t * rho + 1.0;
        deviation * (2.0 * spent / (t * t * rho) * (spent.sqrt() / alpha).ln()).sqrt()
    }

    /// The mixture's parameter ρ² that is nearly best at `tightest_at` (appendix B.2 of the paper).
    fn rho_squared(&self, alpha: f64) -> f64 {
        let spent = -2.0 * alpha.ln();
        (spent + spent.max(1.0).ln() + 1.0) / float(self.tightest_at.max(1))
    }
}

/// A running confidence sequence for the mean of values in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounded {
    alpha: f64,
    count: u64,
    sum: f64,
    squares: f64,
    bets: f64,
    weighted: f64,
    penalty: f64,
}

impl Bounded {
    /// Before any value, with the probability `level` of never excluding the truth.
    pub fn new(level: f64) -> Self {
        let alpha = (1.0 - level).clamp(1e-12, 1.0);
        Self { alpha, count: 0, sum: 0.0, squares: 0.0, bets: 0.0, weighted: 0.0, penalty: 0.0 }
    }

    /// Takes the next value; one outside 0..=1 is pulled to the nearer end.
    pub fn push(&mut self, value: f64) {
        let value = value.clamp(0.0, 1.0);
        let seen = float(self.count);
        // Everything that the bet uses was known before the value: that is what makes the result hold at every moment.
        let guess = (0.5 + self.sum) / (seen + 1.0);
        let variance = (0.25 + self.squares) / (seen + 1.0);
        let turn = seen + 1.0;
        let bet = (2.0 * (2.0 / self.alpha).ln() / (variance * turn * (1.0 + turn).ln())).sqrt().min(0.5);
        let psi = (-(1.0 - bet).ln() - bet) / 4.0;
        self.bets += bet;
        self.weighted += bet * value;
        self.penalty += 4.0 * (value - guess).powi(2) * psi;
        self.count += 1;
        self.sum += value;
        let centre = (0.5 + self.sum) / (float(self.count) + 1.0);
        self.squares += (value - centre).powi(2);
    }

    /// The interval now; 0..=1 before any value.
    pub fn interval(&self) -> Interval {
        if self.count == 0 {
            return Interval { estimate: 0.5, low: 0.0, high: 1.0 };
        }
        let estimate = self.weighted / self.bets;
        let half = ((2.0 / self.alpha).ln() + self.penalty) / self.bets;
        Interval { estimate, low: (estimate - half).max(0.0), high: (estimate + half).min(1.0) }
    }
}
