//! Reference values come from scipy 1.x, scikit-learn and statsmodels; promises of coverage are checked by simulation.

use super::bootstrap::Bootstrap;
use super::classify::{Confusion, auroc, best_f1};
use super::sequence::{Bounded, Scale, Sequence};
use super::{Moments, agreement, allocation, calibration, float, power, quantile, rank};
use proptest::prelude::*;

fn close(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|v| (v - expected).abs() < 1e-9)
}

const SKEWED: [f64; 12] = [1.2, 3.4, 0.7, 9.9, 2.2, 2.9, 14.1, 0.3, 1.8, 5.5, 4.4, 0.9];

#[test]
fn bootstrap_intervals_match_scipy() {
    let many = Bootstrap { resamples: 40_000, ..Bootstrap::default() };
    let bca = many.mean(&SKEWED).unwrap();
    assert!((bca.low - 2.2333).abs() < 0.06 && (bca.high - 7.075).abs() < 0.12, "{bca:?}");
    let mean = |drawn: &[usize]| super::mean(&drawn.iter().map(|i| SKEWED[*i]).collect::<Vec<_>>());
    let percentile = many.percentile(SKEWED.len(), mean).unwrap();
    assert!(
        (percentile.low - 1.95).abs() < 0.06 && (percentile.high - 6.4167).abs() < 0.12,
        "{percentile:?}"
    );
    assert!(close(Some(bca.estimate), SKEWED.iter().sum::<f64>() / 12.0));
}

#[test]
fn a_seed_gives_the_same_interval_again() {
    assert_eq!(Bootstrap::default().mean(&SKEWED), Bootstrap::default().mean(&SKEWED));
}

#[test]
fn pairing_cancels_what_both_sides_share() {
    let before: Vec<f64> = (0..100).map(|i| f64::from(i) * 10.0).collect();
    let after: Vec<f64> =
        before.iter().enumerate().map(|(i, v)| v + 1.0 + f64::from(u8::from(i % 2 == 0))).collect();
    let paired = Bootstrap::default().paired(&before, &after).unwrap();
    assert!(paired.low > 1.3 && paired.high < 1.7 && close(Some(paired.estimate), 1.5), "{paired:?}");
}

#[test]
fn the_ratio_interval_covers_the_truth_as_often_as_it_says() {
    let plan = Bootstrap { resamples: 400, ..Bootstrap::default() };
    let mut random = fastrand::Rng::with_seed(7);
    let covered = (0..400).filter(|_| {
        // Dollars are skewed (exponential, mean 2), one in four units is useful: the truth is 8 dollars per useful unit.
        let dollars: Vec<f64> = (0..150).map(|_| -2.0 * (1.0 - random.f64()).ln()).collect();
        let useful: Vec<f64> = (0..150).map(|_| f64::from(u8::from(random.f64() < 0.25))).collect();
        plan.ratio(&dollars, &useful).unwrap().contains(8.0)
    });
    let covered = covered.count();
    assert!((368..=398).contains(&covered), "{covered} of 400");
}

#[test]
fn nothing_determines_nothing() {
    assert_eq!(Bootstrap::default().mean(&[]), None);
    assert_eq!(Bootstrap::default().ratio(&[1.0, 2.0], &[0.0, 0.0]), None);
    assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
    assert_eq!(auroc(&[f64::NAN, 0.2], &[true, false]), None);
    assert_eq!(agreement::cohens_kappa::<u8>(&[], 0.95), None);
    assert_eq!(agreement::cohens_kappa(&[(1, 1), (1, 1)], 0.95), None);
    assert_eq!(rank::spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    assert_eq!(calibration::expected_error(&[], &[], 10), None);
    assert_eq!(allocation::chi_square(&[3], &[1.0]), None);
    assert_eq!(allocation::sequential(&[3, 4], &[1.0, 0.0]), None);
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn kappa_matches_statsmodels() {
    let table = |cells: &[(u8, u8, usize)]| {
        let pairs: Vec<(u8, u8)> = cells.iter().flat_map(|(a, b, n)| vec![(*a, *b); *n]).collect();
        agreement::cohens_kappa(&pairs, 0.95).unwrap()
    };
    let two = table(&[(0, 0, 20), (0, 1, 5), (1, 0, 10), (1, 1, 15)]);
    assert!(close(Some(two.estimate), 0.4) && close(Some(two.low), 0.151_092_290_476_661));
    assert!(close(Some(two.high), 0.648_907_709_523_338_9));
    let three =
        table(&[(0, 0, 10), (0, 1, 4), (0, 2, 1), (1, 0, 6), (1, 1, 16), (1, 2, 2), (2, 1, 3), (2, 2, 8)]);
    assert!(
        close(Some(three.estimate), 0.495_904_221_802_142_5)
            && close(Some(three.low), 0.287_843_187_696_836_9)
    );
}

#[test]
fn classification_matches_scikit_learn() {
    let scores = [0.1, 0.4, 0.35, 0.8, 0.8, 0.2, 0.6];
    let labels = [false, false, true, true, false, false, true];
    assert!(close(auroc(&scores, &labels), 0.708_333_333_333_333_3));
    let half = Confusion::at(0.5, &scores, &labels);
    assert!(close(half.f1(), 2.0 / 3.0) && close(half.balanced_accuracy(), 0.708_333_333_333_333_3));
    // At 0.35 all three positives are found among five: 2·3 / (5 + 3).
    assert_eq!(best_f1(&scores, &labels), Some((0.35, 0.75)));
}

#[test]
fn ranks_and_spearman_match_scipy() {
    assert_eq!(rank::ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    let iq = [106.0, 100.0, 86.0, 101.0, 99.0, 103.0, 97.0, 113.0, 112.0, 110.0];
    let hours = [7.0, 27.0, 2.0, 50.0, 28.0, 29.0, 20.0, 12.0, 6.0, 17.0];
    assert!(close(rank::spearman(&iq, &hours), -0.175_757_575_757_575_76));
    assert!(close(rank::spearman(&[1.0, 2.0, 2.0, 3.0], &[4.0, 4.0, 1.0, 9.0]), 0.5));
}

#[test]
fn calibration_by_hand() {
    // Two bins: 0.2 and 0.4 (mean 0.3, one of two positive), 0.9 and 0.9 (both positive): (2·0.2 + 2·0.1) / 4.
    let (scores, labels) = ([0.2, 0.4, 0.9, 0.9], [false, true, true, true]);
    assert!(close(calibration::expected_error(&scores, &labels, 2), 0.15));
    let curve = calibration::reliability(&scores, &labels, 2);
    assert_eq!((curve.len(), curve[0].count, curve[0].observed, curve[1].observed), (2, 2, 0.5, 1.0));
    assert!(close(calibration::brier(&[1.0, 0.0, 0.5], &[true, true, false]), 1.25 / 3.0));
    assert_eq!(calibration::reliability(&[1.0], &[true], 10)[0].low.to_bits(), 0.9_f64.to_bits());
}

#[test]
fn allocation_matches_scipy() {
    assert!(close(allocation::chi_square(&[60, 40], &[1.0, 1.0]), 0.045_500_263_896_358_57));
    assert!(close(allocation::chi_square(&[5000, 5200, 4900], &[1.0; 3]), 0.009_698_717_784_221_338));
    let sequential = allocation::sequential(&[600, 400], &[1.0, 1.0]).unwrap();
    assert!((sequential / 3.749_941_828_643_775_5e-8 - 1.0).abs() < 1e-6, "{sequential}");
    assert!(close(allocation::sequential(&[505, 495], &[1.0, 1.0]), 1.0));
}

#[test]
fn peeking_at_the_split_after_every_unit_alarms_rarely() {
    let mut random = fastrand::Rng::with_seed(11);
    let alarms = (0..400).filter(|_| {
        let mut counts = [0, 0];
        (0..2_000).any(|_| {
            counts[usize::from(random.bool())] += 1;
            allocation::sequential(&counts, &[1.0, 1.0]).unwrap() < 0.05
        })
    });
    let alarms = alarms.count();
    assert!(alarms <= 20, "{alarms} of 400");
}

#[test]
fn detectable_effects_by_hand() {
    let arm = Moments::from_variance(400, 0.5, 0.25);
    // (1.959964 + 0.841621) · √(0.25/400 · 2)
    let effect = power::fixed(&arm, &arm, 0.95, 0.8).unwrap();
    assert!((effect - 2.801_585_218 * 0.001_25_f64.sqrt()).abs() < 1e-9);
    let units = power::units_per_arm(0.25, effect, 0.95, 0.8).unwrap();
    assert!((units - 400.0).abs() <= 1.0, "{units}");
    assert!(power::always_valid(&arm, &arm, &Sequence::default(), 0.8).unwrap() > effect);
    assert_eq!(power::units_per_arm(0.25, 0.0, 0.95, 0.8), None);
}

/// How many of `runs` experiments without an effect show one when looked at after every unit.
fn false_alarms(runs: usize, units: usize, mut draw: impl FnMut(&mut fastrand::Rng) -> f64) -> usize {
    let sequence = Sequence { tightest_at: 1_000, ..Sequence::default() };
    let mut random = fastrand::Rng::with_seed(3);
    let shows = (0..runs).filter(|_| {
        let mut arms = [Moments::default(), Moments::default()];
        (0..units).any(|_| {
            let arm = usize::from(random.bool());
            arms[arm].push(draw(&mut random));
            sequence.difference(&arms[0], &arms[1]).is_some_and(|interval| !interval.contains(0.0))
        })
    });
    shows.count()
}

#[test]
fn watching_two_equal_arms_all_the_time_finds_no_difference_in_95_of_100() {
    let shares = false_alarms(1_000, 3_000, |random| f64::from(u8::from(random.f64() < 0.3)));
    assert!(shares <= 50, "a share: {shares} of 1,000");
    let dollars = false_alarms(1_000, 3_000, |random| -(1.0 - random.f64()).ln());
    assert!(dollars <= 50, "skewed dollars: {dollars} of 1,000");
}

/// How many of `runs` experiments with these shares of failures ever had an interval for their difference without the true one, and how many
/// ever had one wholly below `tolerance`.
fn rare_failures(scale: Scale, shares: [f64; 2], tolerance: f64) -> (usize, usize) {
    let sequence = Sequence { tightest_at: 2_000, scale, ..Sequence::default() };
    let mut random = fastrand::Rng::with_seed(17);
    let (mut wrong, mut held) = (0, 0);
    for _ in 0..500 {
        let mut arms = [Moments::default(), Moments::default()];
        let (mut excludes, mut below) = (false, false);
        for _ in 0..6_000 {
            let arm = usize::from(random.bool());
            arms[arm].push(f64::from(u8::from(random.f64() < shares[arm])));
            if let Some(interval) = sequence.difference(&arms[0], &arms[1]) {
                excludes |= !interval.contains(shares[1] - shares[0]);
                below |= interval.high < tolerance;
            }
        }
        wrong += usize::from(excludes);
        held += usize::from(below);
    }
    (wrong, held)
}

#[test]
fn failures_that_have_not_come_yet_are_reckoned_with() {
    // An arm fails 15 permille more often than the other; a guardrail of 5 permille must not hold at any moment in more than 25 of 500.
    for shares in [[0.0, 0.02], [0.005, 0.02]] {
        let (wrong, held) = rare_failures(Scale::Unit, shares, 0.005);
        assert!(wrong <= 25 && held <= 25, "{shares:?}: {wrong} wrong, {held} held, of 500");
    }
    let (wrong, _) = rare_failures(Scale::Unit, [0.01, 0.01], 0.0);
    assert!(wrong <= 25, "{wrong} of 500");
    let none = Moments::from_variance(50, 0.0, 0.0);
    let unit = Sequence { scale: Scale::Unit, ..Sequence::default() };
    assert!(unit.difference(&none, &none).unwrap().high > 0.05);
    assert!(power::always_valid(&none, &none, &unit, 0.8).unwrap() > 0.05);
    // Of values that may be anything nothing is known before they differ.
    assert_eq!(Sequence::default().difference(&none, &none), None);
    assert_eq!(Sequence::default().mean(&none), None);
}

#[test]
fn a_plain_interval_watched_all_the_time_would_be_wrong_far_more_often() {
    let mut random = fastrand::Rng::with_seed(3);
    let wrong = (0..300).filter(|_| {
        let mut sample = Moments::default();
        (0..3_000).any(|_| {
            sample.push(random.f64() - 0.5);
            let deviation = sample.variance().unwrap_or(0.0).sqrt();
            sample.count >= 50 && sample.mean.abs() > 1.96 * deviation / float(sample.count).sqrt()
        })
    });
    let wrong = wrong.count();
    assert!(wrong > 60, "{wrong} of 300");
}

#[test]
fn a_true_difference_shows() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut arms = [Moments::default(), Moments::default()];
    for turn in 0..8_000 {
        arms[turn % 2].push(random.f64() + if turn % 2 == 1 { 0.1 } else { 0.0 });
    }
    let interval = Sequence::default().difference(&arms[0], &arms[1]).unwrap();
    assert!(interval.low > 0.0 && interval.contains(0.1), "{interval:?}");
    let early = Moments::of(&[0.0, 1.0, 0.5]);
    assert_eq!(Sequence::default().difference(&early, &arms[1]), None);
    assert!(Sequence::default().mean(&arms[0]).unwrap().contains(0.5));
}

#[test]
fn the_exact_sequence_holds_from_the_first_value_on() {
    let mut random = fastrand::Rng::with_seed(9);
    let wrong = (0..500).filter(|_| {
        let mut bounded = Bounded::new(0.95);
        (0..1_000).any(|_| {
            bounded.push(f64::from(u8::from(random.f64() < 0.1)));
            !bounded.interval().contains(0.1)
        })
    });
    let wrong = wrong.count();
    assert!(wrong <= 25, "{wrong} of 500");
    let mut bounded = Bounded::new(0.95);
    (0..4_000).for_each(|turn| bounded.push(f64::from(u8::from(turn % 4 == 0))));
    let interval = bounded.interval();
    assert!(interval.contains(0.25) && interval.high - interval.low < 0.1, "{interval:?}");
}

proptest! {
    #[test]
    fn one_pass_moments_equal_two_pass_ones(values in prop::collection::vec(-1e6..1e6_f64, 2..60)) {
        let moments = Moments::of(&values);
        let mean = super::mean(&values).unwrap();
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / float(values.len() as u64 - 1);
        prop_assert!((moments.mean - mean).abs() <= 1e-6);
        prop_assert!((moments.variance().unwrap() - variance).abs() <= 1e-9 * variance.max(1.0));
    }

    #[test]
    fn auroc_counts_the_pairs_in_order(rows in prop::collection::vec((0_u8..8, any::<bool>()), 2..40)) {
        let scores: Vec<f64> = rows.iter().map(|(s, _)| f64::from(*s)).collect();
        let labels: Vec<bool> = rows.iter().map(|(_, l)| *l).collect();
        let (mut won, mut pairs) = (0.0, 0.0);
        for (high, _) in rows.iter().filter(|r| r.1) {
            for (low, _) in rows.iter().filter(|r| !r.1) {
                pairs += 1.0;
                won += match high.cmp(low) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        match auroc(&scores, &labels) {
            Some(area) => prop_assert!((area - won / pairs).abs() < 1e-9),
            None => prop_assert!(pairs == 0.0),
        }
    }

    #[test]
    fn spearman_ignores_monotone_changes(left in prop::collection::vec(-50_i16..50, 3..30), seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let left: Vec<f64> = left.into_iter().map(f64::from).collect();
        let right: Vec<f64> = left.iter().map(|_| random.f64()).collect();
        let cubes: Vec<f64> = left.iter().map(|v| v.powi(3)).collect();
        prop_assert_eq!(rank::spearman(&left, &right), rank::spearman(&cubes, &right));
        if let Some(rho) = rank::spearman(&left, &right) {
            prop_assert!((-1.0 - 1e-9..=1.0 + 1e-9).contains(&rho));
        }
    }

    #[test]
    fn intervals_are_in_order_and_hold_their_estimate(values in prop::collection::vec(-1e3..1e3_f64, 1..40)) {
        let plan = Bootstrap { resamples: 200, ..Bootstrap::default() };
        let interval = plan.mean(&values).unwrap();
        prop_assert!(interval.low <= interval.high);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(least - 1e-9 <= interval.low && interval.high <= most + 1e-9);
    }

    #[test]
    fn kappa_is_symmetric(pairs in prop::collection::vec((0_u8..3, 0_u8..3), 1..50)) {
        let swapped: Vec<(u8, u8)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
        match (agreement::cohens_kappa(&pairs, 0.95), agreement::cohens_kappa(&swapped, 0.95)) {
            (Some(one), Some(other)) => prop_assert!((one.estimate - other.estimate).abs() < 1e-9 && (one.low - other.low).abs() < 1e-9),
            (one, other) => prop_assert!(one.is_none() && other.is_none()),
        }
    }
}
