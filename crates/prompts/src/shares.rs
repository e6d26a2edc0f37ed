//! The shares of an adaptive experiment, from what was measured of its arms.
//!
//! Every gateway reckons for itself and all must deal alike, so the draws start from the experiment's name alone: the same measurement
//! gives the same shares, and they move only with what was measured. (The last bit of a logarithm may differ between two builds of the system's mathematics; then
//! a share differs by one draw in ten thousand.)

use crate::bandit::allocation;
use contracts::policy::experiment::{ArmStats, Experiment, Measured, Outcome};
use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64;

/// Draws of one allocation: they put a share within 0.01.
const DRAWS: u32 = 10_000;

/// Weights for the arms of `experiment`, in their order, under the name by which it is dealt. `None` while the weights that it was written
/// with hold: it does not adapt, what was measured is of another metric, or an arm has fewer observations than it needs. An arm of weight 0
/// takes no part.
pub fn shares(name: &str, experiment: &Experiment, measured: &Measured) -> Option<Vec<f64>> {
    let adaptive = experiment.adaptive.as_ref().filter(|adaptive| adaptive.metric == measured.metric)?;
    let least = adaptive.min_observations.max(1);
    let taking_part = || experiment.arms.iter().enumerate().filter(|(_, arm)| arm.weight > 0.0);
    let stats = taking_part().map(|(_, arm)| {
        let stats = measured.arms.get(&arm.name)?;
        let outcome = match stats {
            ArmStats::Binary { .. } => Outcome::Binary,
            ArmStats::Continuous { .. } => Outcome::Continuous,
        };
        (outcome == adaptive.outcome && stats.observations() >= least).then_some(*stats)
    });
    let stats: Vec<ArmStats> = stats.collect::<Option<_>>()?;
    let mut rng = Rng::with_seed(xxh3_64(name.as_bytes()));
    let allocated = allocation(&stats, adaptive, DRAWS, &mut rng);
    let mut weights = vec![0.0; experiment.arms.len()];
    for ((at, _), share) in taking_part().zip(allocated) {
        weights[at] = share;
    }
    Some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn experiment(adaptive: Value) -> Experiment {
        let mut spec =
            json!({"arms": [{"name": "a", "weight": 9}, {"name": "off", "weight": 0}, {"name": "b"}]});
        spec["adaptive"] = adaptive;
        let experiment: Experiment = serde_json::from_value(spec).unwrap();
        experiment.validate().unwrap();
        experiment
    }

    fn measured(metric: &str, arms: &[(&str, ArmStats)]) -> Measured {
        Measured {
            metric: metric.into(),
            arms: arms.iter().map(|(name, stats)| ((*name).to_owned(), *stats)).collect(),
        }
    }

    fn binary(successes: u64, failures: u64) -> ArmStats {
        ArmStats::Binary { successes, failures }
    }

    #[test]
    fn the_better_arm_gets_more_and_everybody_reckons_the_same() {
        let spec = experiment(json!({"metric": "useful", "outcome": "binary", "min_share": 0.1}));
        let said =
            measured("useful", &[("a", binary(100, 900)), ("b", binary(130, 870)), ("off", binary(900, 1))]);
        let weights = shares("test", &spec, &said).unwrap();
        assert!(weights[2] > 0.8 && weights[0] >= 0.1 && weights[1] == 0.0, "{weights:?}");
        assert_eq!(shares("test", &spec, &said).unwrap(), weights);
        assert_ne!(shares("other", &spec, &said).unwrap(), weights, "other draws");
        // Where less is better, it is the other way round.
        let lower = experiment(json!({"metric": "useful", "outcome": "binary", "goal": "lower"}));
        assert!(shares("test", &lower, &said).unwrap()[0] > 0.8);
    }

    #[test]
    fn weights_hold_until_every_arm_was_seen_often_enough() {
        let spec = experiment(json!({"metric": "useful", "outcome": "binary", "min_observations": 50}));
        let of = |metric: &str, arms: &[(&str, ArmStats)]| shares("test", &spec, &measured(metric, arms));
        assert_eq!(of("useful", &[("a", binary(50, 50)), ("b", binary(49, 0))]), None, "too few");
        assert_eq!(of("useful", &[("a", binary(50, 50))]), None, "never seen");
        assert_eq!(of("cost_usd", &[("a", binary(50, 50)), ("b", binary(50, 0))]), None, "another metric");
        let number = ArmStats::Continuous { n: 100, mean: 1.0, m2: 1.0 };
        assert_eq!(of("useful", &[("a", number), ("b", number)]), None, "another outcome");
        assert!(of("useful", &[("a", binary(50, 50)), ("b", binary(50, 0))]).is_some());
        let fixed: Experiment =
            serde_json::from_value(json!({"arms": [{"name": "a"}, {"name": "b"}]})).unwrap();
        let seen = measured("useful", &[("a", binary(50, 50)), ("b", binary(50, 50))]);
        assert_eq!(shares("test", &fixed, &seen), None, "it does not adapt");
    }
}
