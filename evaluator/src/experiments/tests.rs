//! Experiments whose answer is known, and what repeated looks do to errors.

use super::*;

fn plan() -> Plan {
    Plan {
        control: "a".into(),
        weights: BTreeMap::new(),
        metric: "grounding".into(),
        lower_is_better: None,
        guardrails: vec![("cost_usd".into(), 0.5)],
        least_effect: 0.0,
        level: 0.95,
        power: 0.8,
        tightest_at: 2_000,
        whole: true,
    }
}

/// An arm whose metrics have these means, and the variance of a share.
fn arm(variant: &str, units: u64, grounding: f64, cost: f64) -> [ExperimentRow; 2] {
    let row = |metric: &str, mean: f64, variance: f64| ExperimentRow {
        variant: variant.into(),
        metric: metric.into(),
        units,
        mean,
        variance,
    };
    [row("grounding", grounding, 0.04), row("cost_usd", cost, 0.25)]
}

fn decided(arms: &[[ExperimentRow; 2]], plan: &Plan) -> (Verdict, String) {
    let analysis = analyse(&arms.concat(), plan).unwrap();
    let decision = analysis.decisions.into_iter().next().unwrap();
    (decision.verdict, decision.reason)
}

#[test]
fn every_decision_has_its_case_and_its_reason() {
    let base = || arm("a", 4_000, 0.80, 1.0);
    let of = |other: [ExperimentRow; 2]| decided(&[base(), other], &plan());
    let (verdict, reason) = of(arm("b", 4_000, 0.90, 1.0));
    assert_eq!(verdict, Verdict::Ship);
    assert!(reason.contains("grounding is better by 0.100000"), "{reason}");
    assert_eq!(of(arm("b", 4_000, 0.70, 1.0)).0, Verdict::Stop);
    let (verdict, reason) = of(arm("b", 4_000, 0.90, 2.0));
    assert_eq!(verdict, Verdict::Stop);
    assert!(reason.contains("guardrail cost_usd is worse"), "{reason}");
    let (verdict, reason) = of(arm("b", 4_000, 0.90, 1.48));
    assert_eq!(verdict, Verdict::Continue);
    assert!(reason.contains("guardrails are open"), "{reason}");
    assert_eq!(of(arm("b", 4_000, 0.801, 1.0)).0, Verdict::Continue);
    let small = Plan { least_effect: 0.05, ..plan() };
    assert_eq!(decided(&[base(), arm("b", 4_000, 0.801, 1.0)], &small).0, Verdict::NoDifference);
    let (verdict, reason) = of(arm("b", 3_000, 0.99, 1.0));
    assert_eq!(verdict, Verdict::Invalid);
    assert!(reason.contains("not split as planned"), "{reason}");
    let (verdict, reason) = decided(&[base(), arm("b", 4_000, 0.90, 1.0)], &Plan { whole: false, ..plan() });
    assert!(verdict == Verdict::Invalid && reason.contains("deleted"), "{reason}");
    assert_eq!(decided(&[arm("a", 20, 0.5, 1.0), arm("b", 20, 0.9, 1.0)], &plan()).0, Verdict::Continue);
}

#[test]
fn less_of_a_cost_is_better() {
    let plan = Plan { metric: "cost_usd".into(), guardrails: Vec::new(), ..plan() };
    assert_eq!(decided(&[arm("a", 4_000, 0.8, 1.0), arm("b", 4_000, 0.8, 0.7)], &plan).0, Verdict::Ship);
    let other = Plan { lower_is_better: Some(false), ..plan };
    assert_eq!(decided(&[arm("a", 4_000, 0.8, 1.0), arm("b", 4_000, 0.8, 0.7)], &other).0, Verdict::Stop);
}

/// One metric of an arm.
fn metric(variant: &str, metric: &str, units: u64, mean: f64, variance: f64) -> ExperimentRow {
    ExperimentRow { variant: variant.into(), metric: metric.into(), units, mean, variance }
}

#[test]
fn a_guardrail_without_a_failure_yet_is_open() {
    let plan = Plan { guardrails: vec![("error_rate".into(), 0.005)], ..plan() };
    let arms = |units: u64| {
        let of = |variant: &'static str, grounding| {
            let [score, cost] = arm(variant, units, grounding, 1.0);
            [score, cost, metric(variant, "error_rate", units, 0.0, 0.0)]
        };
        [of("a", 0.2), of("b", 0.9)].concat()
    };
    let few = analyse(&arms(100), &plan).unwrap();
    assert_eq!(few.decisions[0].verdict, Verdict::Continue);
    assert!(few.decisions[0].reason.contains("error_rate may still be worse"), "{:?}", few.decisions[0]);
    assert_eq!(analyse(&arms(4_000), &plan).unwrap().decisions[0].verdict, Verdict::Ship);
    let same = Plan { metric: "error_rate".into(), least_effect: 0.01, guardrails: Vec::new(), ..plan };
    assert_eq!(analyse(&arms(100), &same).unwrap().decisions[0].verdict, Verdict::Continue);
    // Amounts that never differ say nothing at all of those to come.
    let rows = [arm("a", 100, 0.8, 1.0), arm("b", 100, 0.8, 1.0)].concat();
    let flat: Vec<ExperimentRow> =
        rows.into_iter().map(|row| ExperimentRow { variance: 0.0, ..row }).collect();
    let told = analyse(&flat, &Plan { metric: "cost_usd".into(), ..same.clone() }).unwrap();
    assert_eq!((told.decisions[0].verdict, told.findings[0].effect), (Verdict::Continue, None));
}

#[test]
fn scores_of_feedback_may_be_any_number_and_more_is_better() {
    let plan = Plan { metric: "feedback".into(), guardrails: Vec::new(), ..plan() };
    let arms = |mean: [f64; 2], variance: f64| {
        let of = |variant: &str, mean| {
            [arm(variant, 4_000, 0.8, 1.0).to_vec(), vec![metric(variant, "feedback", 400, mean, variance)]]
                .concat()
        };
        [of("a", mean[0]), of("b", mean[1])].concat()
    };
    let decided = |mean, variance| analyse(&arms(mean, variance), &plan).unwrap();
    assert_eq!(decided([3.0, 4.5], 1.0).decisions[0].verdict, Verdict::Ship);
    assert_eq!(decided([0.5, -0.5], 1.0).decisions[0].verdict, Verdict::Stop);
    // Nobody knows between which numbers they lie, so scores that never differ say nothing of those to come.
    let flat = decided([1.0, 1.0], 0.0);
    let of_feedback = flat.findings.iter().find(|finding| finding.metric == "feedback").unwrap();
    assert_eq!((flat.decisions[0].verdict, of_feedback.effect), (Verdict::Continue, None));
}

#[test]
fn an_arm_without_any_useful_action_is_not_watched_for_ever() {
    let plan = Plan { metric: RATIO.into(), guardrails: Vec::new(), least_effect: 0.5, ..plan() };
    let useful = |variant: &str| {
        let count = metric(variant, COUNT, 4_000, 0.3, 0.21);
        [arm(variant, 4_000, 0.8, 1.0).to_vec(), vec![count, metric(variant, RATIO, 4_000, 3.3, 8.0)]]
            .concat()
    };
    let vain = |variant: &str| {
        [arm(variant, 4_000, 0.8, 1.0).to_vec(), vec![metric(variant, COUNT, 4_000, 0.0, 0.0)]].concat()
    };
    let decided = |rows: Vec<ExperimentRow>| analyse(&rows, &plan).unwrap().decisions.remove(0);
    let broken = decided([useful("a"), vain("b")].concat());
    assert_eq!(broken.verdict, Verdict::Stop);
    assert!(broken.reason.contains("useful_actions is worse by 0.300000"), "{}", broken.reason);
    assert_eq!(decided([vain("a"), useful("b")].concat()).verdict, Verdict::Ship);
    // Neither has one: nothing is known of the price, least of all that it is the same.
    assert_eq!(decided([vain("a"), vain("b")].concat()).verdict, Verdict::Continue);
    assert_eq!(decided([useful("a"), useful("b")].concat()).verdict, Verdict::NoDifference);
}

#[test]
fn a_planned_split_and_a_missing_arm() {
    let ninety = Plan { weights: [("a".into(), 9.0), ("b".into(), 1.0)].into(), ..plan() };
    assert_ne!(decided(&[arm("a", 9_000, 0.8, 1.0), arm("b", 1_000, 0.8, 1.0)], &ninety).0, Verdict::Invalid);
    assert_eq!(decided(&[arm("a", 9_000, 0.8, 1.0), arm("b", 9_000, 0.8, 1.0)], &ninety).0, Verdict::Invalid);
    let three = Plan { weights: [("a".into(), 1.0), ("b".into(), 1.0), ("c".into(), 1.0)].into(), ..plan() };
    assert_eq!(decided(&[arm("a", 900, 0.8, 1.0), arm("b", 900, 0.8, 1.0)], &three).0, Verdict::Invalid);
}

#[test]
fn what_is_not_there_is_named() {
    let rows = [arm("a", 100, 0.8, 1.0), arm("b", 100, 0.8, 1.0)].concat();
    let told = analyse(&rows, &Plan { control: "z".into(), ..plan() }).unwrap_err().to_string();
    assert!(told.contains("control \"z\"") && told.contains("\"a\", \"b\""), "{told}");
    let told = analyse(&rows, &Plan { metric: "fluency".into(), ..plan() }).unwrap_err().to_string();
    assert!(told.contains("fluency") && told.contains("grounding"), "{told}");
}

/// Two equal arms, watched after every unit as somebody with a dashboard would: a decision other than to go on is a false alarm.
#[test]
fn watched_all_the_time_equal_arms_are_shipped_or_stopped_in_at_most_5_of_100() {
    let plan = Plan { metric: "score".into(), guardrails: Vec::new(), ..plan() };
    let mut random = fastrand::Rng::with_seed(21);
    let wrong = (0..600).filter(|_| {
        let mut arms = [Moments::default(), Moments::default()];
        (0..2_000).any(|_| {
            let arm = usize::from(random.bool());
            arms[arm].push(f64::from(u8::from(random.f64() < 0.4)));
            let rows: Vec<ExperimentRow> = ["a", "b"]
                .iter()
                .zip(&arms)
                .flat_map(|(variant, m)| {
                    ["score", "cost_usd"].map(|metric| ExperimentRow {
                        variant: (*variant).into(),
                        metric: metric.into(),
                        units: m.count,
                        mean: m.mean,
                        variance: m.variance().unwrap_or(0.0),
                    })
                })
                .collect();
            let found = analyse(&rows, &plan).unwrap();
            matches!(found.decisions[0].verdict, Verdict::Ship | Verdict::Stop | Verdict::Invalid)
        })
    });
    let wrong = wrong.count();
    assert!(wrong <= 30, "{wrong} of 600");
}
