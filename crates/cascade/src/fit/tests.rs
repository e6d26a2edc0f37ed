//! Fits on made-up recordings whose best cascade is known.

use super::report::{Plan, report};
use super::*;

const PROMPTS: u32 = 200;

/// `qualities[tier]` and `prices[tier]` say what each model does with a signal of 0 to 1.
fn recording(
    names: &[&str],
    tiers: usize,
    prices: &[i128],
    quality: impl Fn(usize, f64) -> f64,
) -> Recording {
    let prompt = |n: u32| {
        // Spread over 0 to 1 without any order that a split could follow.
        let x = f64::from(n * 73 % PROMPTS) / f64::from(PROMPTS);
        let request = Signals::default().with(Signal::Question, f64::from(n % 2));
        let answer = |model: usize| {
            let signals = Signals::default()
                .with(Signal::KnownWords, x)
                .with(Signal::Hedging, crate::words::share(model, 10))
                .or(&request);
            Some(Recorded { signals, quality: quality(model, x), cost: Usd::from_picos(prices[model]) })
        };
        Prompt { group: format!("p{n}"), request, answers: (0..names.len()).map(answer).collect() }
    };
    let models = names.iter().map(|name| name.parse().unwrap()).collect();
    Recording { models, tiers, prompts: (0..PROMPTS).map(prompt).collect() }
}

fn options(target: Target) -> Options {
    Options { signals: vec![Signal::KnownWords, Signal::Hedging, Signal::Question], target }
}

fn plan() -> Plan {
    Plan { splits: 3, resamples: 50, seed: 1 }
}

/// The small model fails wherever x is below 0.4; the large one never does.
fn two_tiers() -> Recording {
    recording(&["small", "large"], 2, &[1_000, 10_000], |model, x| {
        f64::from(u8::from(model == 1 || x >= 0.4))
    })
}

#[test]
fn the_known_optimum_of_two_tiers_is_found() {
    let (cascade, report) = report(&two_tiers(), &options(Target::CostShare(0.5)), &plan()).unwrap();
    // All at the small one and two fifths at the large one: (1 + 0.4 · 10) / 10 of its cost, and nothing wrong.
    assert!(report.cascade.quality.mean > 0.97, "{:?}", report.cascade);
    assert!((0.4..=0.55).contains(&report.cascade.cost_share.mean), "{:?}", report.cascade);
    assert!((report.oracle.quality - 1.0).abs() < 1e-9 && (report.oracle.cost_share - 0.5).abs() < 1e-9);
    assert!((report.single[0].quality - 0.6).abs() < 1e-9);
    assert!(report.cascade.less_random.mean > 0.15, "{:?}", report.cascade);
    let auroc = report.signals.iter().find(|a| a.signal == "combined").unwrap();
    assert!(auroc.tiers[0].unwrap() > 0.99 && auroc.tiers[1].is_none());
    let served = play(&two_tiers(), 0, &cascade).unwrap();
    assert_eq!((served.tier, served.cost), (1, Usd::from_picos(11_000)));
}

#[test]
fn a_target_of_quality_is_met_as_cheaply_as_can_be() {
    let all: Vec<usize> = (0..PROMPTS as usize).collect();
    let cost = |target| {
        let (cascade, _) = fit(&two_tiers(), &all, &options(target)).unwrap();
        let served: Vec<Served> = all.iter().filter_map(|p| play(&two_tiers(), *p, &cascade)).collect();
        let good = served.iter().filter(|served| served.quality > 0.5).count();
        (served.iter().map(|served| served.cost).sum::<Usd>(), good)
    };
    let (low, low_good) = cost(Target::Quality(0.7));
    let (high, high_good) = cost(Target::LastLess(0.05));
    assert!(low < high && high < Usd::from_picos(10_000).times(120), "{low} {high}");
    assert!(low_good >= 130 && high_good >= 180, "{low_good} {high_good}");
}

#[test]
fn a_tier_that_is_dearer_and_worse_than_the_next_is_left_out() {
    let recording =
        recording(&["poor", "small", "large"], 3, &[2_000, 1_000, 10_000], |model, x| match model {
            0 => f64::from(u8::from(x >= 0.8)),
            1 => f64::from(u8::from(x >= 0.4)),
            _ => 1.0,
        });
    let (_, report) = report(&recording, &options(Target::CostShare(0.5)), &plan()).unwrap();
    assert!(report.served[0] < 0.02, "{:?}", report.served);
    assert!(report.cascade.quality.mean > 0.95, "{:?}", report.cascade);
}

#[test]
fn what_tells_only_the_author_has_no_weight() {
    // Models outside the route, whose answers are always bad, have their own value of `hedging`.
    let recording =
        recording(&["small", "large", "bad", "worse"], 2, &[1, 10, 1, 1], |model, x| match model {
            0 => f64::from(u8::from(x >= 0.4)),
            1 => 1.0,
            _ => f64::from(u8::from(x >= 0.9)),
        });
    let all: Vec<usize> = (0..PROMPTS as usize).collect();
    let weights = Weights::fit(&recording, &all, &options(Target::CostShare(0.5)).signals);
    let terms = &weights.answers[0].terms;
    assert!(terms.iter().all(|term| term.signal != Signal::Hedging), "{terms:?}");
    let words = terms.iter().find(|term| term.signal == Signal::KnownWords).unwrap();
    assert!(words.weight > 1.0, "{words:?}");
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let run = || {
        serde_json::to_string(&report(&two_tiers(), &options(Target::CostShare(0.3)), &plan()).unwrap().1)
            .unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn what_is_missing_is_named() {
    let mut recording = two_tiers();
    recording.prompts[3].answers[1] = None;
    let error = recording.validate().unwrap_err().to_string();
    assert!(error.contains("large") && error.contains("p3"), "{error}");
    recording.prompts.truncate(3);
    assert_eq!(recording.validate(), Err(FitError::Prompts(3)));
    recording.tiers = 1;
    assert!(recording.validate().unwrap_err().to_string().contains("tiers: 1"));
}
