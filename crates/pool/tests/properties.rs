//! What holds whatever happens: random pools, random calls in random orders, random reports.

#![expect(clippy::unwrap_used, reason = "the test's own helpers")]

use contracts::policy::pool::{Balance, Deployment, Hedge, Pool as Policy, PrefixAffinity, Probe};
use pool::load::Sample;
use pool::{Affinity, Ask, Fault, Kind, Lease, Outcome, Pool, Source, State, Tried};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
enum Step {
    Pick { kind: bool, may_panic: bool, prefix: Option<u8> },
    Again(prop::sample::Index),
    Hedge(prop::sample::Index),
    FirstByte(prop::sample::Index),
    Finish(prop::sample::Index, Outcome),
    Drop(prop::sample::Index),
    Probe(usize, bool),
    Told(usize, f64),
    Wait(u64),
    Update(usize),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        1 => Just(Outcome::ClientFault),
        1 => (0..20_u64).prop_map(|seconds| Outcome::RateLimited { retry_after: Some(Duration::from_secs(seconds)) }),
        1 => Just(Outcome::RateLimited { retry_after: None }),
        5 => Just(Outcome::Fault(Fault::Status(500))),
        1 => Just(Outcome::Fault(Fault::Timeout)),
        1 => Just(Outcome::Cancelled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), prop::option::of(0..4_u8))
            .prop_map(|(kind, may_panic, prefix)| Step::Pick { kind, may_panic, prefix }),
        1 => index().prop_map(Step::Again),
        1 => index().prop_map(Step::Hedge),
        2 => index().prop_map(Step::FirstByte),
        7 => (index(), outcome()).prop_map(|(index, outcome)| Step::Finish(index, outcome)),
        1 => index().prop_map(Step::Drop),
        1 => (0..6_usize, any::<bool>()).prop_map(|(number, well)| Step::Probe(number, well)),
        1 => (0..6_usize, any::<f64>()).prop_map(|(number, waiting)| Step::Told(number, waiting)),
        2 => (0..8_000_u64).prop_map(Step::Wait),
        1 => (1..6_usize).prop_map(Step::Update),
    ]
}

fn policy(count: usize, balance: &Balance, probes: bool) -> Policy {
    let deployment = |number: usize| Deployment {
        id: format!("d{number}").parse().unwrap(),
        provider: "p".parse().unwrap(),
        upstream_model: "m".to_owned(),
        price_as: None,
        weight: u32::from(number % 4 != 3) + u32::from(number == 0),
        slots: (number == 1).then_some(2),
        load: None,
        gpu: None,
    };
    Policy {
        deployments: (0..count).map(deployment).collect(),
        balance: balance.clone(),
        probe: probes.then(Probe::default),
        hedge: Some(Hedge { max_percent: 50, ..Hedge::default() }),
        ..Policy::default()
    }
}

fn balance() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::LeastOutstandingPeakEwma),
        Just(Balance::Weighted),
        Just(Balance::PrefixAffinity(PrefixAffinity::default())),
    ]
}

proptest! {
    #[test]
    fn calls_are_counted_and_nobody_who_is_out_is_chosen(
        steps in prop::collection::vec(step(), 0..400),
        count in 1..6_usize,
        balance in balance(),
        probes in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut now = Instant::now();
        let pool = Pool::new(Arc::new(policy(count, &balance, probes)), seed, now).unwrap();
        let mut open: Vec<(Lease, Tried, bool)> = Vec::new();
        for step in steps {
            let before = pool.view(now);
            let stood = |lease: &Lease| {
                before.deployments.iter().find(|d| d.id == lease.deployment().id && d.state != State::Draining).map(|d| d.state)
            };
            match step {
                Step::Pick { kind, may_panic, prefix } => {
                    let kind = if kind { Kind::Streamed } else { Kind::Whole };
                    let prompt = prefix.map(|prefix| [prefix; 300]);
                    let affinity = prompt.and_then(|prompt| Affinity::of([prompt.as_slice()], &PrefixAffinity::default(), 0));
                    let mut tried = Tried::default();
                    match pool.pick(&Ask { kind, affinity, may_panic }, &mut tried, now) {
                        Ok(lease) => {
                            match stood(&lease) {
                                Some(State::In | State::SlowStart | State::Stalled) => {}
                                Some(State::Trial) if lease.is_trial() => {}
                                Some(State::Out | State::Trial) => prop_assert!(before.panic && may_panic),
                                other => prop_assert!(false, "chose {other:?}"),
                            }
                            open.push((lease, tried, may_panic));
                        }
                        Err(refused) => {
                            let in_ = |d: &pool::DeploymentView| matches!(d.state, State::In | State::SlowStart | State::Stalled);
                            prop_assert!(!before.deployments.iter().any(in_), "{refused}");
                        }
                    }
                }
                Step::Again(index) if !open.is_empty() => {
                    let (lease, mut tried, may_panic) = open.swap_remove(index.index(open.len()));
                    lease.finish(Outcome::Fault(Fault::Cut), now);
                    let before = pool.view(now);
                    if let Ok(again) = pool.pick(&Ask { may_panic, ..Ask::new(Kind::Streamed) }, &mut tried, now) {
                        let was = before.deployments.iter().find(|d| d.id == again.deployment().id && d.state != State::Draining).map(|d| d.state);
                        let in_ = matches!(was, Some(State::In | State::SlowStart | State::Stalled));
                        prop_assert!(in_ || (before.panic && may_panic), "{was:?}");
                        prop_assert!(!again.is_trial() || before.panic);
                        open.push((again, tried, may_panic));
                    }
                }
                Step::Hedge(index) if !open.is_empty() => {
                    let at = index.index(open.len());
                    let mut tried = open[at].1.clone();
                    let first = open[at].0.deployment().id.clone();
                    if let Some(lease) = pool.hedge(&Ask::new(Kind::Streamed), &mut tried, now) {
                        prop_assert_ne!(&lease.deployment().id, &first);
                        prop_assert!(matches!(stood(&lease), Some(State::In | State::SlowStart)));
                        open.push((lease, tried, true));
                    }
                }
                Step::FirstByte(index) if !open.is_empty() => {
                    let at = index.index(open.len());
                    open[at].0.first_byte(now);
                }
                Step::Finish(index, outcome) if !open.is_empty() => {
                    let (lease, ..) = open.swap_remove(index.index(open.len()));
                    lease.finish(outcome, now);
                }
                Step::Drop(index) if !open.is_empty() => drop(open.swap_remove(index.index(open.len()))),
                Step::Probe(number, well) => pool.probed(&format!("d{number}").parse().unwrap(), well, now),
                Step::Told(number, waiting) => {
                    let sample = Sample::of_server(&format!("vllm:num_requests_waiting {waiting}"), contracts::policy::pool::LoadKind::Vllm, "m");
                    pool.told(&format!("d{number}").parse().unwrap(), Source::Server, sample, now);
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Update(count) => pool.update(Arc::new(policy(count, &balance, probes)), now).unwrap(),
                _ => {}
            }
            let view = pool.view(now);
            let outstanding: usize = view.deployments.iter().map(|d| d.outstanding as usize).sum();
            prop_assert_eq!(outstanding, open.len());
            for d in &view.deployments {
                prop_assert!(d.waiting <= d.outstanding);
                prop_assert!(d.cost.is_finite() && d.cost > 0.0, "{}", d.cost);
                prop_assert_eq!(d.sent, d.succeeded + d.client_faults + d.rate_limited + d.faults + d.cancelled + u64::from(d.outstanding));
            }
        }
        drop(open);
        let view = pool.view(now);
        prop_assert!(view.deployments.iter().all(|d| d.outstanding == 0 && d.waiting == 0));
    }
}
