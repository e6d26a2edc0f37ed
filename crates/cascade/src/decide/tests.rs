//! What may never happen, over random cascades.

use super::*;
use contracts::policy::cascade::Term;
use proptest::prelude::*;
use serde_json::json;

fn tier(name: usize, threshold: Option<f64>, weight: f64, entry: Option<f64>) -> Tier {
    let term = |signal, weight: f64| Combination {
        bias: -weight / 2.0,
        terms: vec![Term { signal, weight, absent: 0.5 }],
    };
    Tier {
        model: format!("m{name}").parse().unwrap(),
        checks: vec![Check::Grounding],
        threshold,
        combine: Some(term(Signal::Grounding, weight)),
        prospect: entry.is_some().then(|| term(Signal::Question, weight)),
        entry,
        timeout_ms: 1_000,
    }
}

fn cascade(tiers: Vec<Tier>, ceiling: Option<Usd>) -> Cascade {
    let mut cascade: Cascade = serde_json::from_value(json!({"tiers": [{"model": "m"}]})).unwrap();
    cascade.tiers = tiers;
    cascade.price_ceiling = ceiling;
    cascade
}

fn any_cascade() -> impl Strategy<Value = Cascade> {
    let tier_ = (prop::option::of(-1.0..1.0_f64), 0.0..8.0_f64, prop::option::of(-1.0..1.0_f64));
    (prop::collection::vec(tier_, 1..5), prop::option::of(1_i128..200)).prop_map(|(tiers, ceiling)| {
        let last = tiers.len() - 1;
        let tiers = tiers.into_iter().enumerate();
        let tiers = tiers
            .map(|(at, (threshold, weight, entry))| tier(at, threshold, weight, entry.filter(|_| at < last)));
        cascade(tiers.collect(), ceiling.map(Usd::from_picos))
    })
}

fn any_signals() -> impl Strategy<Value = Signals> {
    (prop::option::of(0.0..1.0_f64), prop::option::of(0.0..1.0_f64), any::<bool>()).prop_map(
        |(grounding, question, late)| {
            let mut signals = Signals::default();
            if let Some(value) = grounding {
                signals.set(Signal::Grounding, value);
            }
            if let Some(value) = question {
                signals.set(Signal::Question, value);
            }
            if late {
                signals.set_late();
            }
            signals
        },
    )
}

proptest! {
    #[test]
    fn a_whole_request_never_takes_a_rejected_answer_nor_exceeds_its_ceiling(
        cascade in any_cascade(),
        signals in any_signals(),
        rejected in prop::collection::vec(any::<bool>(), 5),
        most in prop::collection::vec(0_i128..100, 5),
        left in prop::option::of(0_i128..200),
    ) {
        prop_assert_eq!(cascade.validate(), Ok(()));
        let most: Vec<Usd> = most.into_iter().map(Usd::from_picos).collect();
        let start = left.map(Usd::from_picos);
        let mut spent = Usd::ZERO;
        let purse = |spent| Purse { spent, most: &most, left: start.map(|left: Usd| left - spent) };
        let mut asked = next_tier(&cascade, 0, &signals, &purse(spent));
        let mut before = None;
        while let Some(at) = asked {
            prop_assert!(before.is_none_or(|before| before < at), "tiers are asked in order");
            before = Some(at);
            spent += most[at];
            prop_assert!(cascade.price_ceiling.is_none_or(|ceiling| spent <= ceiling));
            prop_assert!(start.is_none_or(|left| spent <= left));
            let rejection = rejected[at].then_some(Rejection::Empty);
            let decision = decide(&cascade, at, &signals, rejection, &purse(spent));
            asked = match decision.verdict {
                Verdict::Accept => {
                    prop_assert!(!rejected[at]);
                    None
                }
                Verdict::Escalate(next) => Some(next),
                Verdict::Fail => {
                    prop_assert!(rejected[at]);
                    None
                }
            };
        }
    }

    #[test]
    fn a_higher_threshold_never_accepts_what_a_lower_one_did_not(
        cascade in any_cascade(),
        signals in any_signals(),
        lower in -1.0..1.0_f64,
        rise in 0.0..1.0_f64,
    ) {
        let most = vec![Usd::ZERO; cascade.tiers.len()];
        let purse = Purse { spent: Usd::ZERO, most: &most, left: None };
        let accepts = |threshold| {
            let mut cascade = cascade.clone();
            cascade.tiers[0].threshold = Some(threshold);
            decide(&cascade, 0, &signals, None, &purse).verdict == Verdict::Accept
        };
        prop_assert!(accepts(lower) || !accepts(lower + rise));
    }

    #[test]
    fn where_nothing_is_examined_signals_change_nothing(
        mut cascade in any_cascade(),
        is_bare in prop::collection::vec(any::<bool>(), 5),
        signals in any_signals(),
        is_rejected in any::<bool>(),
        most in prop::collection::vec(0_i128..100, 5),
    ) {
        for (tier, is_bare) in cascade.tiers.iter_mut().zip(is_bare) {
            (tier.prospect, tier.entry) = (None, None);
            if is_bare {
                let checks = vec![Check::RefusalOrEmpty, Check::JsonSchema, Check::ToolCalls];
                *tier = Tier { checks, threshold: None, combine: None, ..tier.clone() };
            }
        }
        prop_assert!(!weighs_request(&cascade));
        let most: Vec<Usd> = most.into_iter().map(Usd::from_picos).collect();
        let purse = Purse { spent: Usd::ZERO, most: &most, left: None };
        for (at, tier) in cascade.tiers.iter().enumerate() {
            let judged = |signals| decide(&cascade, at, signals, is_rejected.then_some(Rejection::Empty), &purse);
            prop_assert!(is_examined(tier) || judged(&signals) == judged(&Signals::default()));
        }
    }

    #[test]
    fn more_support_never_turns_an_answer_down(
        cascade in any_cascade(),
        grounding in 0.0..1.0_f64,
        more in 0.0..1.0_f64,
    ) {
        let most = vec![Usd::ZERO; cascade.tiers.len()];
        let purse = Purse { spent: Usd::ZERO, most: &most, left: None };
        let accepts = |value| {
            let signals = Signals::default().with(Signal::Grounding, value);
            decide(&cascade, 0, &signals, None, &purse).verdict == Verdict::Accept
        };
        prop_assert!(!accepts(grounding) || accepts(grounding + more));
    }
}

#[test]
fn a_late_check_gives_the_decision_to_the_default() {
    let mut cascade = cascade(vec![tier(0, Some(0.9), 8.0, None), tier(1, None, 1.0, None)], None);
    let mut signals = Signals::default().with(Signal::Grounding, 1.0);
    let purse = Purse { spent: Usd::ZERO, most: &[Usd::ZERO; 2], left: None };
    assert_eq!(decide(&cascade, 0, &signals, None, &purse).reason, Reason::GoodEnough);
    signals.set_late();
    let decision = decide(&cascade, 0, &signals, None, &purse);
    assert_eq!((decision.verdict, decision.reason), (Verdict::Escalate(1), Reason::Late));
    cascade.on_deadline = OnDeadline::Accept;
    let decision = decide(&cascade, 0, &signals, None, &purse);
    assert_eq!((decision.verdict, decision.reason), (Verdict::Accept, Reason::Late));
}

#[test]
fn a_tier_is_left_out_where_the_request_promises_little() {
    let small = Tier { prospect: None, entry: None, ..tier(0, Some(0.0), 1.0, None) };
    let mut cascade = cascade(vec![small, tier(1, None, 1.0, None)], None);
    let prospect = |bias| Some(Combination { bias, terms: Vec::new() });
    cascade.tiers[0].prospect = prospect(-2.0);
    cascade.tiers[1].prospect = prospect(2.0);
    cascade.tiers[0].entry = Some(-0.5);
    let signals = Signals::default();
    let most = [Usd::from_picos(1), Usd::from_picos(10)];
    let purse = |left| Purse { spent: Usd::ZERO, most: &most, left };
    assert_eq!(next_tier(&cascade, 0, &signals, &purse(None)), Some(1));
    assert_eq!(next_tier(&cascade, 0, &signals, &purse(Some(Usd::from_picos(5)))), Some(0));
    assert_eq!(next_tier(&cascade, 0, &signals, &purse(Some(Usd::ZERO))), None);
    cascade.tiers[0].prospect = prospect(1.9);
    assert_eq!(next_tier(&cascade, 0, &signals, &purse(None)), Some(0));
}
