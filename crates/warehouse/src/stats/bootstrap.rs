//! Bootstrap intervals: of any statistic, of a paired difference, of a ratio of sums.
//!
//! Percentile intervals are plain; `BCa` intervals (bias-corrected and accelerated: Efron 1987, "Better bootstrap confidence
//! intervals", JASA 82) also hold for skewed statistics such as dollars per useful action, and are what reports show. The
//! draws come from a seed, so that the same data give the same interval on every machine. Where too many draws do not determine the
//! statistic, the ends would be made up, and there is no interval.

use super::{Interval, float, index, normal_cdf, normal_quantile, quantile};

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many resamples; 2,000 give ends that are steady to about a hundredth of the interval's width.
    pub resamples: usize,
    /// The share of intervals that cover the truth, such as 0.95.
    pub level: f64,
    /// Where the draws start.
    pub seed: u64,
    /// The least share of draws that must determine the statistic; the others are left out.
    pub determined: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2_000, level: 0.95, seed: 0x5EED, determined: 0.0 }
    }
}

impl Bootstrap {
    /// Percentile interval of a statistic of `count` units. The statistic gets the drawn units' indices, and answers `None` for a
    /// draw that does not determine it (an AUROC of one class); such draws are left out. `None` where all units do not determine it.
    pub fn percentile(&self, count: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Option<Interval> {
        let (estimate, draws) = self.draws(count, &statistic)?;
        let tail = self.tail();
        Some(Interval { estimate, low: quantile(&draws, tail)?, high: quantile(&draws, 1.0 - tail)? })
    }

    /// `BCa` interval of a statistic of `count` units, otherwise as [`Self::percentile`]. The acceleration comes from the jackknife: over
    /// units one by one up to 200 of them, over 200 groups of units beyond, which keeps it linear in `count`.
    pub fn bca(&self, count: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Option<Interval> {
        let (estimate, draws) = self.draws(count, &statistic)?;
        // Draws that equal the estimate count half, without which a discrete statistic looks biased.
        let below = draws.iter().filter(|d| **d < estimate).count() as u64;
        let equal = draws.iter().filter(|d| **d <= estimate).count() as u64 - below;
        let share = (float(below) + float(equal) / 2.0) / float(draws.len() as u64);
        let bias = normal_quantile(share);
        let acceleration = acceleration(count, &statistic);
        if !bias.is_finite() {
            let (low, high) = (*draws.first()?, *draws.last()?);
            return Some(Interval { estimate, low, high });
        }
        let shifted = |z: f64| normal_cdf(bias + (bias + z) / (1.0 - acceleration * (bias + z)));
        let z = normal_quantile(self.tail());
        Some(Interval { estimate, low: quantile(&draws, shifted(z))?, high: quantile(&draws, shifted(-z))? })
    }

    /// `BCa` interval of the mean.
    pub fn mean(&self, values: &[f64]) -> Option<Interval> {
        self.bca(values.len(), |drawn| {
            (!drawn.is_empty())
                .then(|| drawn.iter().map(|i| values[*i]).sum::<f64>() / float(drawn.len() as u64))
        })
    }

    /// `BCa` interval of the mean difference `after − before` of pairs: units are drawn with both their values, so what the two have
    /// in common cancels. Pairs beyond the shorter side are left out.
    pub fn paired(&self, before: &[f64], after: &[f64]) -> Option<Interval> {
        let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
        self.mean(&differences)
    }

    /// `BCa` interval of a ratio of sums `Σ numerators / Σ denominators`, such as dollars over useful actions: units are drawn with
    /// both. `None` where the denominators add to nothing.
    pub fn ratio(&self, numerators: &[f64], denominators: &[f64]) -> Option<Interval> {
        let count = numerators.len().min(denominators.len());
        self.bca(count, |drawn| {
            let (over, under) =
                drawn.iter().fold((0.0, 0.0), |(n, d), i| (n + numerators[*i], d + denominators[*i]));
            (under > 0.0).then(|| over / under)
        })
    }

    fn tail(&self) -> f64 {
        (1.0 - self.level.clamp(0.0, 1.0)) / 2.0
    }

    /// The estimate and the sorted statistics of all draws.
    fn draws(&self, count: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, Vec<f64>)> {
        let all: Vec<usize> = (0..count).collect();
        let estimate = statistic(&all).filter(|v| v.is_finite())?;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut drawn = all;
        let mut statistics: Vec<f64> = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples {
            for slot in &mut drawn {
                *slot = random.usize(0..count);
            }
            statistics.extend(statistic(&drawn).filter(|v| v.is_finite()));
        }
        statistics.sort_by(f64::total_cmp);
        let enough = float(statistics.len() as u64) >= self.determined * float(self.resamples as u64);
        (enough && !statistics.is_empty()).then_some((estimate, statistics))
    }
}

/// Skewness of the jackknife values over six (Efron 1987, equation 7.3).
fn acceleration(count: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> f64 {
    let groups = count.min(200);
    let bound = |group: usize| index(float(group as u64) * float(count as u64) / float(groups as u64), count);
    let mut rest = Vec::with_capacity(count);
    let left_out: Vec<f64> = (0..groups)
        .filter_map(|group| {
            rest.clear();
            rest.extend((0..bound(group)).chain(bound(group + 1)..count));
            statistic(&rest).filter(|v| v.is_finite())
        })
        .collect();
    let Some(centre) = super::mean(&left_out) else { return 0.0 };
    let (squares, cubes) = left_out.iter().fold((0.0, 0.0), |(two, three), value| {
        let off: f64 = centre - value;
        (two + off * off, three + off * off * off)
    });
    if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
}
