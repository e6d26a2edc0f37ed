//! Shares, stickiness and how little moves.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const UNITS: usize = 100_000;

fn experiment(weights: &[f64], salt: &str) -> Experiment {
    let arms: Vec<_> =
        weights.iter().enumerate().map(|(n, w)| json!({"name": format!("arm-{n}"), "weight": w})).collect();
    let experiment: Experiment = serde_json::from_value(json!({"arms": arms, "salt": salt})).unwrap();
    experiment
}

fn dealt(dealer: &Dealer, units: usize) -> Vec<usize> {
    let arm = |n: usize| {
        let user = format!("user-{n}");
        dealer.deal(&Subject { user: Some(&user), ..Subject::default() }).arm
    };
    (0..units).map(arm).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn share(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

#[test]
fn shares_are_as_the_weights() {
    let weights = [5.0, 3.0, 1.9, 0.1, 0.0];
    let arms = dealt(&Dealer::new("e", &experiment(&weights, "")), UNITS);
    for (n, weight) in weights.iter().enumerate() {
        let found = share(arms.iter().filter(|arm| **arm == n).count(), UNITS);
        // Four standard deviations of a share of one half over so many units.
        assert!((found - weight / 10.0).abs() < 0.0064, "arm {n}: {found}");
    }
    assert!(!arms.contains(&4), "an arm without weight gets nobody");
}

#[test]
fn a_salt_and_a_name_deal_anew() {
    let all = [("e", ""), ("e", "x"), ("f", ""), ("ex", "")]
        .map(|(name, salt)| dealt(&Dealer::new(name, &experiment(&[1.0, 1.0], salt)), UNITS));
    for (n, a) in all.iter().enumerate() {
        for b in &all[n + 1..] {
            let same = share(a.iter().zip(b).filter(|(a, b)| a == b).count(), UNITS);
            assert!((same - 0.5).abs() < 0.0064, "{same}");
        }
    }
}

#[test]
fn a_paused_experiment_gives_everybody_the_control_and_comes_back_as_it_was() {
    let running = experiment(&[1.0, 1.0], "");
    let paused = Experiment { status: Status::Paused, ..running.clone() };
    assert!(dealt(&Dealer::new("e", &paused), 1000).iter().all(|arm| *arm == 0));
    assert_eq!(dealt(&Dealer::new("e", &running), 1000), dealt(&Dealer::new("e", &running), 1000));
}

#[test]
fn assignments_never_change_between_versions() {
    let arms = dealt(&Dealer::new("checkout", &experiment(&[1.0, 1.0, 2.0], "s")), 24);
    assert_eq!(arms, GOLDEN);
}

#[test]
fn requests_that_do_not_say_are_dealt_closer_to_themselves() {
    let full = Subject { user: Some("u"), conversation: Some("c"), key: Some("k"), request: "r" };
    assert_eq!(full.unit(Sticky::User), (Sticky::User, "u"));
    assert_eq!(full.unit(Sticky::Conversation), (Sticky::Conversation, "c"));
    assert_eq!(full.unit(Sticky::Key), (Sticky::Key, "k"));
    assert_eq!(full.unit(Sticky::Request), (Sticky::Request, "r"));
    let bare = Subject { user: None, ..full };
    assert_eq!(bare.unit(Sticky::User), (Sticky::Conversation, "c"));
    let bare = Subject { conversation: None, ..bare };
    assert_eq!(bare.unit(Sticky::User), (Sticky::Request, "r"));
    let dealer = Dealer::new("e", &experiment(&[1.0, 1.0], ""));
    assert_eq!(dealer.deal(&bare).by, Sticky::Request);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn one_weight_moves_units_to_or_from_its_arm_only(
        weights in prop::collection::vec(0.1_f64..5.0, 2..6), which in any::<prop::sample::Index>(), factor in 0.0_f64..4.0,
    ) {
        let which = which.index(weights.len());
        let mut changed = weights.clone();
        changed[which] *= factor;
        let before = dealt(&Dealer::new("e", &experiment(&weights, "")), 5000);
        let after = dealt(&Dealer::new("e", &experiment(&weights, "")).with_weights(&changed), 5000);
        for (old, new) in before.iter().zip(&after) {
            let expected = if factor > 1.0 { *new } else { *old };
            prop_assert!(old == new || expected == which, "{old} to {new}, while {which} changed by {factor}");
        }
    }

    #[test]
    fn when_all_shares_change_few_units_move(
        a in prop::collection::vec(0.05_f64..1.0, 4), b in prop::collection::vec(0.05_f64..1.0, 4),
    ) {
        let parts = |weights: &[f64]| -> Vec<f64> {
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        };
        let (a, b) = (parts(&a), parts(&b));
        let distance: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
        let dealer = Dealer::new("e", &experiment(&a, ""));
        let (before, after) = (dealt(&dealer, 5000), dealt(&dealer.with_weights(&b), 5000));
        let moved = share(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 5000);
        // Four standard deviations above what is expected at most.
        prop_assert!(moved <= 2.0 * distance / (1.0 + distance) + 0.029, "{moved} for {distance}");
        prop_assert_eq!(before, dealt(&dealer.with_weights(&a), 5000));
    }

    #[test]
    fn an_arm_that_joins_takes_from_the_others_only(weights in prop::collection::vec(0.1_f64..5.0, 2..6)) {
        let before = dealt(&Dealer::new("e", &experiment(&weights[..weights.len() - 1], "")), 5000);
        let after = dealt(&Dealer::new("e", &experiment(&weights, "")), 5000);
        for (old, new) in before.iter().zip(&after) {
            prop_assert!(old == new || *new == weights.len() - 1);
        }
    }
}

const GOLDEN: [usize; 24] = [2, 1, 1, 2, 1, 1, 0, 2, 0, 0, 2, 2, 1, 2, 1, 2, 2, 2, 0, 2, 2, 2, 1, 2];
