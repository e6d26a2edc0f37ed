//! Shares that follow what was measured: Thompson sampling.
//!
//! An arm's share is the probability that it is the best, given what was seen, estimated by drawing from the posteriors. A binary
//! metric has a Beta posterior over a uniform prior. A continuous one has a Normal-Gamma posterior (Murphy, "Conjugate Bayesian
//! analysis of the Gaussian distribution", 2007, eq. 85–89), whose prior is one observation of the mean and variance of all arms
//! together, so that no unit of measure is favoured. Each arm keeps a floor, without which one that was unlucky early would never be
//! seen again.

use contracts::policy::experiment::{Adaptive, ArmStats, Goal};
use fastrand::Rng;

/// More draws than anybody needs: with as many a share is off by less than 0.002.
pub const MOST_DRAWS: u32 = 100_000;

/// Observations; none if they are not numbers.
fn observations(arm: &ArmStats) -> f64 {
    float(arm.observations())
}

/// Mean and M2, as if of numbers. Of 0 and 1 for a binary metric.
fn moments(arm: &ArmStats) -> (f64, f64) {
    match *arm {
        ArmStats::Binary { successes, failures } => {
            let n = float(successes.saturating_add(failures)).max(1.0);
            (float(successes) / n, float(successes) * float(failures) / n)
        }
        ArmStats::Continuous { mean, m2, .. } => (mean, m2),
    }
}

/// The shares of the arms, in their order; they sum to 1 and none is below `min_share`. Equal shares while an arm has fewer
/// observations than it needs. `draws` are at most [`MOST_DRAWS`]; 10,000 put a share within 0.01.
pub fn allocation(arms: &[ArmStats], adaptive: &Adaptive, draws: u32, rng: &mut Rng) -> Vec<f64> {
    let count = float(arms.len() as u64);
    let equal = vec![1.0 / count; arms.len()];
    let draws = draws.clamp(1, MOST_DRAWS);
    let is_warm = arms.iter().all(|arm| observations(arm) >= float(adaptive.min_observations.max(1)));
    let Some(posteriors) = posteriors(arms).filter(|_| is_warm) else { return equal };
    let mut wins = vec![0_u32; arms.len()];
    for _ in 0..draws {
        let mut best = (0, f64::NEG_INFINITY);
        for (n, posterior) in posteriors.iter().enumerate() {
            let value = posterior.draw(rng);
            let value = if adaptive.goal == Goal::Lower { -value } else { value };
            if value > best.1 {
                best = (n, value);
            }
        }
        wins[best.0] += 1;
    }
    let floor = adaptive.min_share.clamp(0.0, 1.0 / count);
    let share = |won: &u32| floor + (1.0 - floor * count) * f64::from(*won) / f64::from(draws);
    wins.iter().map(share).collect()
}

/// What is believed of an arm's mean.
enum Posterior {
    Beta { a: f64, b: f64 },
    NormalGamma { mean: f64, pseudo: f64, shape: f64, rate: f64 },
}

/// Nothing when all observations are the same, so that no arm can be better.
fn posteriors(arms: &[ArmStats]) -> Option<Vec<Posterior>> {
    let (mean, variance) = pooled(arms);
    if variance <= 0.0 || !variance.is_finite() {
        return None;
    }
    let posterior = |arm: &ArmStats| match *arm {
        ArmStats::Binary { successes, failures } => {
            Posterior::Beta { a: 1.0 + float(successes), b: 1.0 + float(failures) }
        }
        ArmStats::Continuous { mean: own, m2, .. } => {
            let n = observations(arm);
            let away = own - mean;
            Posterior::NormalGamma {
                mean: (mean + n * own) / (1.0 + n),
                pseudo: 1.0 + n,
                shape: 1.0 + n / 2.0,
                rate: variance + m2 / 2.0 + n * away * away / (2.0 * (1.0 + n)),
            }
        }
    };
    Some(arms.iter().map(posterior).collect())
}

/// Mean and variance of all observations together.
fn pooled(arms: &[ArmStats]) -> (f64, f64) {
    let n: f64 = arms.iter().map(observations).sum::<f64>().max(1.0);
    let seen = || arms.iter().filter(|arm| observations(arm) > 0.0);
    let mean = seen().map(|arm| observations(arm) * moments(arm).0).sum::<f64>() / n;
    let squares = |arm: &ArmStats| {
        let (own, m2) = moments(arm);
        m2 + observations(arm) * (own - mean) * (own - mean)
    };
    (mean, seen().map(squares).sum::<f64>() / n)
}

impl Posterior {
    fn draw(&self, rng: &mut Rng) -> f64 {
        match *self {
            Self::Beta { a, b } => {
                let (x, y) = (gamma(a, rng), gamma(b, rng));
                x / (x + y)
            }
            Self::NormalGamma { mean, pseudo, shape, rate } => {
                let precision = gamma(shape, rng) / rate;
                mean + normal(rng) / (pseudo * precision).sqrt()
            }
        }
    }
}

/// A draw from the standard normal distribution (Marsaglia's polar method).
fn normal(rng: &mut Rng) -> f64 {
    loop {
        let (x, y) = (rng.f64() * 2.0 - 1.0, rng.f64() * 2.0 - 1.0);
        let s = x * x + y * y;
        if s > 0.0 && s < 1.0 {
            return x * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

/// A draw from the Gamma distribution of rate 1 and a shape of 1 or more (Marsaglia and Tsang, "A simple method for generating
/// gamma variables", 2000).
fn gamma(shape: f64, rng: &mut Rng) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let cube = (1.0 + c * x).powi(3);
        let level = rng.f64();
        if cube > 0.0 && level > 0.0 && level.ln() < 0.5 * x * x + d - d * cube + d * cube.ln() {
            return d * cube;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts, of which the leading 53 bits are more than enough")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use proptest::prelude::{prop, prop_assert, proptest};
    use serde_json::json;

    fn adaptive(outcome: &str, goal: &str) -> Adaptive {
        let spec = json!({"metric": "m", "outcome": outcome, "goal": goal, "min_share": 0.05, "min_observations": 50});
        serde_json::from_value(spec).unwrap()
    }

    fn binary(successes: u64, failures: u64) -> ArmStats {
        ArmStats::Binary { successes, failures }
    }

    fn continuous(values: impl Iterator<Item = f64>) -> ArmStats {
        let (mut n, mut mean, mut m2) = (0, 0.0, 0.0);
        for value in values {
            n += 1;
            let away: f64 = value - mean;
            mean += away / float(n);
            m2 += away * (value - mean);
        }
        ArmStats::Continuous { n, mean, m2 }
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let mut rng = Rng::with_seed(1);
        let mut moments = |mut draw: Box<dyn FnMut(&mut Rng) -> f64>| {
            let draws: Vec<f64> = (0..100_000).map(|_| draw(&mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / 1e5;
            (mean, draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5)
        };
        let is_near = |(mean, variance): (f64, f64), (m, v): (f64, f64)| {
            assert!(
                (mean - m).abs() < 5.0 * (v / 1e5).sqrt() && (variance / v - 1.0).abs() < 0.05,
                "{mean} {variance}"
            );
        };
        is_near(moments(Box::new(normal)), (0.0, 1.0));
        is_near(moments(Box::new(|rng| gamma(1.0, rng))), (1.0, 1.0));
        is_near(moments(Box::new(|rng| gamma(7.5, rng))), (7.5, 7.5));
        let beta = Posterior::Beta { a: 3.0, b: 7.0 };
        is_near(moments(Box::new(move |rng| beta.draw(rng))), (0.3, 0.21 / 11.0));
        // Student's t of 2 * shape degrees of freedom, scaled by rate / (shape * pseudo).
        let t = Posterior::NormalGamma { mean: 2.0, pseudo: 4.0, shape: 5.0, rate: 10.0 };
        is_near(moments(Box::new(move |rng| t.draw(rng))), (2.0, 10.0 / (5.0 * 4.0) * 10.0 / 8.0));
    }

    #[test]
    fn a_clear_winner_gets_all_but_the_floors() {
        let mut rng = Rng::with_seed(7);
        let arms = [binary(100, 900), binary(300, 700), binary(110, 890)];
        let shares = allocation(&arms, &adaptive("binary", "higher"), 10_000, &mut rng);
        assert!((shares[1] - 0.9).abs() < 1e-3 && (shares[0] - 0.05).abs() < 1e-3, "{shares:?}");
        let cost = |base: f64| continuous((0..500).map(move |n| base + f64::from(n % 10)));
        let shares = allocation(&[cost(9.0), cost(5.0)], &adaptive("continuous", "lower"), 10_000, &mut rng);
        assert!(shares[1] > 0.94, "{shares:?}");
    }

    #[test]
    fn arms_that_are_alike_share_alike() {
        let shares = allocation(
            &[binary(500, 500), binary(500, 500)],
            &adaptive("binary", "higher"),
            100_000,
            &mut Rng::with_seed(3),
        );
        assert!((shares[0] - 0.5).abs() < 0.01, "{shares:?}");
    }

    #[test]
    fn shares_stay_equal_without_evidence() {
        let higher = adaptive("binary", "higher");
        let mut rng = Rng::with_seed(3);
        let broken = ArmStats::Continuous { n: 900, mean: f64::NAN, m2: 1.0 };
        let constant = ArmStats::Continuous { n: 900, mean: 3.0, m2: 0.0 };
        let cases = [
            [binary(1, 1000), binary(49, 0)],
            [broken, constant],
            [constant, constant],
            [binary(0, 90), binary(0, 90)],
        ];
        for arms in cases {
            assert_eq!(allocation(&arms, &higher, 1000, &mut rng), [0.5, 0.5], "{arms:?}");
        }
    }

    /// 40 rounds of 250 units, dealt by the shares of the round before.
    fn simulated(rates: &[f64], seed: u64) -> Vec<f64> {
        let adaptive = adaptive("binary", "higher");
        let mut rng = Rng::with_seed(seed);
        let mut seen = vec![(0_u64, 0_u64); rates.len()];
        let mut shares = vec![1.0 / float(rates.len() as u64); rates.len()];
        for _ in 0..40 {
            for _ in 0..250 {
                let mut at = rng.f64();
                let arm = shares.iter().position(|share| {
                    at -= share;
                    at < 0.0
                });
                let arm = arm.unwrap_or(0);
                if rng.f64() < rates[arm] { seen[arm].0 += 1 } else { seen[arm].1 += 1 }
            }
            let stats: Vec<ArmStats> = seen.iter().map(|(yes, no)| binary(*yes, *no)).collect();
            shares = allocation(&stats, &adaptive, 2000, &mut rng);
            assert!(shares.iter().all(|share| *share >= 0.05 - 1e-12), "{shares:?}");
        }
        shares
    }

    #[test]
    fn the_better_arm_is_found() {
        let found = (0..20).filter(|seed| simulated(&[0.5, 0.56, 0.5], *seed)[1] > 0.5).count();
        assert!(found >= 18, "{found} of 20");
    }

    proptest! {
        #[test]
        fn shares_sum_to_one_and_keep_the_floor(
            counts in prop::collection::vec((0_u64..2000, 0_u64..2000), 2..6), min_share in 0.0_f64..0.16, seed: u64,
        ) {
            let arms: Vec<ArmStats> = counts.iter().map(|(yes, no)| binary(*yes, *no)).collect();
            let adaptive = Adaptive { min_share, ..adaptive("binary", "higher") };
            let shares = allocation(&arms, &adaptive, 200, &mut Rng::with_seed(seed));
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| *share >= min_share - 1e-12));
        }

        #[test]
        fn any_numbers_yield_shares(n: u64, mean: f64, m2: f64, seed: u64) {
            let arms = [ArmStats::Continuous { n, mean, m2 }, ArmStats::Continuous { n: 100, mean: 1.0, m2: 30.0 }];
            let shares = allocation(&arms, &adaptive("continuous", "lower"), 50, &mut Rng::with_seed(seed));
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", shares);
        }
    }
}
