//! Whole outages of a pool, played through call by call.

use super::*;
use crate::{Affinity, Fault, GiveUp, Retry, State, Turn};
use contracts::policy::pool::{Balance, Deployment, Hedge, PrefixAffinity, Probe};

fn deployment(id: &str) -> Deployment {
    Deployment {
        id: id.parse().unwrap(),
        provider: "p".parse().unwrap(),
        upstream_model: "m".to_owned(),
        price_as: None,
        weight: 1,
        slots: None,
        load: None,
        gpu: None,
    }
}

fn policy(ids: &[&str]) -> Policy {
    Policy { deployments: ids.iter().map(|id| deployment(id)).collect(), ..Policy::default() }
}

/// A pool and its clock.
struct Bench {
    pool: Arc<Pool>,
    now: Instant,
}

const FAULT: Outcome = Outcome::Fault(Fault::Status(500));
const ASK: Ask = Ask { kind: Kind::Streamed, affinity: None, may_panic: true };

impl Bench {
    fn new(policy: Policy) -> Self {
        let now = Instant::now();
        Self { pool: Pool::new(Arc::new(policy), 7, now).unwrap(), now }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn pick(&self) -> Lease {
        self.pool.pick(&ASK, &mut Tried::default(), self.now).unwrap()
    }

    /// A call that takes so long and ends so, and where it went.
    fn call(&mut self, seconds: f64, outcome: Outcome) -> String {
        let lease = self.pick();
        let id = lease.deployment().id.to_string();
        self.pass(seconds);
        lease.finish(outcome, self.now);
        id
    }

    /// Fails calls to a deployment until it is out.
    fn eject(&self, id: &str) {
        // Many at once, so that it gets its part although it fails.
        let leases: Vec<Lease> = (0..40).map(|_| self.pick()).collect();
        for lease in leases {
            let outcome = if lease.deployment().id.as_str() == id { FAULT } else { Outcome::Success };
            lease.finish(outcome, self.now);
        }
        assert_eq!(self.state(id), State::Out);
    }

    fn state(&self, id: &str) -> State {
        let view = self.pool.view(self.now);
        view.deployments.iter().find(|d| d.id.as_str() == id).unwrap().state
    }

    fn counts(&self, calls: usize) -> Vec<(String, usize)> {
        let mut counts: Vec<(String, usize)> =
            self.pool.policy().deployments.iter().map(|d| (d.id.to_string(), 0)).collect();
        for _ in 0..calls {
            let lease = self.pick();
            let id = lease.deployment().id.to_string();
            lease.finish(Outcome::ClientFault, self.now);
            counts.iter_mut().find(|(name, _)| *name == id).unwrap().1 += 1;
        }
        counts
    }
}

#[test]
fn a_retry_goes_to_another_deployment_at_once_and_to_the_same_after_a_wait() {
    let bench = Bench::new(policy(&["a", "b"]));
    let mut tried = Tried::default();
    let first = bench.pool.pick(&ASK, &mut tried, bench.now).unwrap();
    let first_id = first.deployment().id.clone();
    first.finish(FAULT, bench.now);
    let decide = |tried: &Tried| bench.pool.after(FAULT, tried, false, None, bench.now);
    assert_eq!(decide(&tried), Retry::After(Duration::ZERO));
    let second = bench.pool.pick(&ASK, &mut tried, bench.now).unwrap();
    assert_ne!(second.deployment().id, first_id);
    second.finish(FAULT, bench.now);
    let Retry::After(wait) = decide(&tried) else { panic!() };
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100), "{wait:?}");
    bench.pool.pick(&ASK, &mut tried, bench.now).unwrap().finish(FAULT, bench.now);
    assert_eq!(decide(&tried), Retry::GiveUp(GiveUp::Attempts));
}

#[test]
fn what_cannot_help_is_not_tried() {
    let bench = Bench::new(policy(&["a", "b"]));
    let mut tried = Tried::default();
    drop(bench.pool.pick(&ASK, &mut tried, bench.now));
    let after =
        |outcome, released, deadline| bench.pool.after(outcome, &tried, released, deadline, bench.now);
    assert_eq!(after(Outcome::ClientFault, false, None), Retry::GiveUp(GiveUp::Final));
    assert_eq!(after(Outcome::Cancelled, false, None), Retry::GiveUp(GiveUp::Final));
    assert_eq!(after(FAULT, true, None), Retry::GiveUp(GiveUp::Released));
    assert_eq!(after(FAULT, false, Some(bench.now)), Retry::GiveUp(GiveUp::Deadline));
    assert_eq!(after(FAULT, false, Some(bench.now + Duration::from_secs(1))), Retry::After(Duration::ZERO));
}

#[test]
fn retries_keep_to_their_budget() {
    let mut bench = Bench::new(policy(&["a", "b", "c"]));
    for _ in 0..500 {
        bench.call(0.0, Outcome::Success);
    }
    let mut tried = Tried::default();
    drop(bench.pool.pick(&ASK, &mut tried, bench.now));
    let granted = |bench: &Bench| {
        let decide = || bench.pool.after(FAULT, &tried, false, None, bench.now);
        (0..1_000).take_while(|_| matches!(decide(), Retry::After(_))).count()
    };
    // 10% of 501 calls and 2 a second over ten seconds.
    assert_eq!(granted(&bench), 70);
    assert_eq!(bench.pool.after(FAULT, &tried, false, None, bench.now), Retry::GiveUp(GiveUp::Budget));
    bench.pass(11.0);
    assert_eq!(granted(&bench), 20);
}

#[test]
fn a_retry_after_is_waited_for_if_it_is_short_and_the_deadline_allows_it() {
    let bench = Bench::new(policy(&["a"]));
    let limited = |seconds| Outcome::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
    let mut tried = Tried::default();
    bench.pool.pick(&ASK, &mut tried, bench.now).unwrap().finish(limited(2), bench.now);
    let wait = Duration::from_secs(2)..=Duration::from_millis(2_050);
    let Retry::After(delay) = bench.pool.after(limited(2), &tried, false, None, bench.now) else { panic!() };
    assert!(wait.contains(&delay), "{delay:?}");
    let soon = Some(bench.now + Duration::from_secs(1));
    assert_eq!(bench.pool.after(limited(2), &tried, false, soon, bench.now), Retry::GiveUp(GiveUp::Deadline));
    let refused = bench.pool.pick(&ASK, &mut Tried::default(), bench.now).unwrap_err();
    assert_eq!(refused, Unavailable::RateLimited { retry_in: Duration::from_secs(2) });

    let bench = Bench::new(policy(&["a"]));
    let mut tried = Tried::default();
    bench.pool.pick(&ASK, &mut tried, bench.now).unwrap().finish(limited(30), bench.now);
    let retry_in = Duration::from_secs(30);
    assert_eq!(
        bench.pool.after(limited(30), &tried, false, None, bench.now),
        Retry::GiveUp(GiveUp::RateLimited { retry_in })
    );
}

#[test]
fn a_deployment_that_hangs_is_left_before_any_timeout() {
    let mut bench = Bench::new(policy(&["a", "b"]));
    for _ in 0..200 {
        bench.call(0.3, Outcome::Success);
    }
    // From now on `a` says nothing more.
    let mut hung = Vec::new();
    for _ in 0..100 {
        let lease = bench.pick();
        bench.pass(0.3);
        if lease.deployment().id.as_str() == "a" {
            hung.push(lease);
        } else {
            lease.finish(Outcome::Success, bench.now);
        }
    }
    assert!((1..=3).contains(&hung.len()), "{}", hung.len());
    assert_eq!(bench.state("a"), State::Stalled);
    // One answer, and it counts again.
    hung.pop().unwrap().finish(Outcome::Success, bench.now);
    assert_ne!(bench.state("a"), State::Stalled);
}

#[test]
fn one_call_that_is_stuck_says_nothing_of_the_deployment() {
    let mut bench = Bench::new(policy(&["a"]));
    let stuck = bench.pick();
    for _ in 0..200 {
        bench.call(0.3, Outcome::Success);
        assert_eq!(bench.state("a"), State::In);
    }
    // Its timeout is an ordinary fault.
    stuck.finish(Outcome::Fault(Fault::Timeout), bench.now);
    assert_eq!(bench.state("a"), State::In);
}

#[test]
fn when_too_many_are_out_all_count_as_in_unless_there_is_somewhere_else_to_go() {
    let bench = Bench::new(policy(&["a", "b"]));
    bench.eject("a");
    assert!(!bench.pool.view(bench.now).panic);
    assert!(bench.counts(50).iter().all(|(id, calls)| (id == "a") == (*calls == 0)));
    bench.eject("b");
    assert!(bench.pool.view(bench.now).panic);
    let patient = Ask { may_panic: false, ..ASK };
    let refused = bench.pool.pick(&patient, &mut Tried::default(), bench.now).unwrap_err();
    assert!(matches!(refused, Unavailable::Out { retry_in: Some(wait) } if wait > Duration::from_secs(4)));
    let mut tried = Tried::default();
    let lease = bench.pool.pick(&ASK, &mut tried, bench.now).unwrap();
    assert!(lease.is_panic() && !lease.is_trial());
    lease.finish(FAULT, bench.now);
    assert_eq!(
        bench.pool.after(FAULT, &tried, false, None, bench.now),
        Retry::GiveUp(GiveUp::PoolDown),
        "nobody to turn to"
    );
    // Whoever answers in the panic is in again.
    for _ in 0..20 {
        bench.pick().finish(Outcome::Success, bench.now);
    }
    assert!(!bench.pool.view(bench.now).panic);
}

#[test]
fn a_trial_is_the_first_try_of_a_call_and_one_at_a_time() {
    let mut bench = Bench::new(policy(&["a", "b"]));
    bench.eject("a");
    bench.pass(6.0);
    assert_eq!(bench.state("a"), State::Trial);
    let trial = bench.pick();
    assert!(trial.is_trial());
    assert!((0..50).all(|_| !bench.pick().is_trial()));
    // Dropped: another call may try.
    drop(trial);
    let mut tried = Tried::default();
    tried.add(1, false);
    assert!(!bench.pool.pick(&ASK, &mut tried, bench.now).unwrap().is_trial());
    for _ in 0..3 {
        bench.pick().finish(Outcome::Success, bench.now);
    }
    assert_eq!(bench.state("a"), State::SlowStart);
    let turns: Vec<Turn> = bench.pool.changes().into_iter().map(|change| change.turn).collect();
    assert!(matches!(turns.as_slice(), [Turn::Ejected { .. }, Turn::Back]), "{turns:?}");
    assert!(bench.pool.changes().is_empty());
}

#[test]
fn hedges_go_elsewhere_and_keep_to_their_budget() {
    let mut hedged = policy(&["a", "b"]);
    hedged.hedge = Some(Hedge::default());
    let mut bench = Bench::new(hedged);
    assert_eq!(bench.pool.hedge_after(Kind::Streamed), None, "too little is known");
    for number in 0..200 {
        bench.call(if number % 10 == 0 { 1.0 } else { 0.01 }, Outcome::Success);
    }
    let after = bench.pool.hedge_after(Kind::Streamed).unwrap();
    assert!((0.8..1.2).contains(&after.as_secs_f64()), "{after:?}");
    assert_eq!(bench.pool.hedge_after(Kind::Whole), None);
    let mut hedges = 0;
    for _ in 0..200 {
        let mut tried = Tried::default();
        let first = bench.pool.pick(&ASK, &mut tried, bench.now).unwrap();
        if let Some(second) = bench.pool.hedge(&ASK, &mut tried, bench.now) {
            assert!(second.is_hedge() && second.deployment().id != first.deployment().id);
            assert!(bench.pool.hedge(&ASK, &mut tried, bench.now).is_none(), "nobody is left");
            second.finish(Outcome::Cancelled, bench.now);
            hedges += 1;
        }
        first.finish(Outcome::Success, bench.now);
    }
    assert!((9..=16).contains(&hedges), "5%: {hedges}");
}

#[test]
fn prompts_that_begin_alike_go_together_until_that_is_too_many() {
    let affinity = PrefixAffinity::default();
    let mut by_prefix = policy(&["a", "b", "c", "d"]);
    by_prefix.balance = Balance::PrefixAffinity(affinity.clone());
    let bench = Bench::new(by_prefix);
    let ask = |prompt: &str| Ask { affinity: Affinity::of([prompt.as_bytes()], &affinity, 0), ..ASK };
    let pick = |ask: &Ask| bench.pool.pick(ask, &mut Tried::default(), bench.now).unwrap();
    let mut homes = std::collections::HashSet::new();
    for number in 0..40 {
        let ask = ask(&format!("{number:03}").repeat(100));
        let home = pick(&ask).deployment().id.clone();
        assert!((0..10).all(|_| pick(&ask).deployment().id == home));
        homes.insert(home);
    }
    assert_eq!(homes.len(), 4);
    // Sixteen at once, all alike: no more than a quarter above the even part anywhere.
    let ask = ask(&"x".repeat(300));
    let leases: Vec<Lease> = (0..16).map(|_| pick(&ask)).collect();
    let view = bench.pool.view(bench.now);
    let most = view.deployments.iter().map(|d| d.outstanding).max().unwrap();
    assert_eq!(most, 5, "{leases:?}");
}

#[test]
fn what_a_server_tells_moves_calls_and_is_forgotten_when_it_is_old() {
    let mut bench = Bench::new(policy(&["a", "b", "c"]));
    for _ in 0..300 {
        bench.call(0.1, Outcome::Success);
    }
    bench.pass(60.0);
    let busy = Sample { waiting: Some(40.0), running: Some(20.0), ..Sample::default() };
    let idle = Sample { waiting: Some(0.0), running: Some(1.0), ..Sample::default() };
    bench.pool.told(&"a".parse().unwrap(), Source::Server, busy, bench.now);
    bench.pool.told(&"b".parse().unwrap(), Source::Server, idle, bench.now);
    let pressures = |bench: &Bench| {
        bench.pool.view(bench.now).deployments.iter().map(|d| d.pressure.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(pressures(&bench), ["2", "0", "1"], "who tells nothing is as the others are");
    let counts = bench.counts(300);
    assert!(counts[0].1 < counts[2].1 && counts[2].1 < counts[1].1, "{counts:?}");
    bench.pass(30.0);
    assert_eq!(pressures(&bench), ["1", "1", "1"]);
}

#[test]
fn a_full_deployment_is_spared() {
    let mut small = policy(&["a", "b"]);
    small.deployments[0].slots = Some(2);
    let bench = Bench::new(small);
    let leases: Vec<Lease> = (0..12).map(|_| bench.pick()).collect();
    let at_a = leases.iter().filter(|lease| lease.deployment().id.as_str() == "a").count();
    assert!((2..=4).contains(&at_a), "{at_a}");
}

#[test]
fn probes_decide_when_calls_may_try_again() {
    let mut probed = policy(&["a", "b"]);
    probed.probe = Some(Probe::default());
    let mut bench = Bench::new(probed);
    let a: DeploymentId = "a".parse().unwrap();
    for _ in 0..3 {
        bench.pool.probed(&a, false, bench.now);
    }
    bench.pass(60.0);
    assert_eq!(bench.state("a"), State::Trial);
    assert!((0..50).all(|_| !bench.pick().is_trial()), "not before a probe is answered");
    bench.pool.probed(&a, true, bench.now);
    assert!(bench.pick().is_trial());
    bench.pool.probed(&"nobody".parse().unwrap(), false, bench.now);
}

#[test]
fn a_new_policy_keeps_what_is_known_and_lets_those_that_went_finish() {
    let mut bench = Bench::new(policy(&["a", "b", "c"]));
    for _ in 0..50 {
        bench.call(0.2, Outcome::Success);
    }
    bench.eject("b");
    let leases: Vec<Lease> = (0..20).map(|_| bench.pick()).collect();
    let mut next = policy(&["b", "c", "d"]);
    next.deployments[1].weight = 0;
    bench.pool.update(Arc::new(next), bench.now).unwrap();
    assert_eq!(bench.state("a"), State::Draining);
    assert_eq!(bench.state("b"), State::Out);
    assert_eq!(bench.state("c"), State::Draining);
    assert_eq!(bench.state("d"), State::SlowStart);
    assert!((0..20).all(|_| bench.pick().deployment().id.as_str() == "d"));
    for lease in leases {
        lease.finish(Outcome::Success, bench.now);
    }
    let ids = |bench: &Bench| {
        let view = bench.pool.view(bench.now);
        view.deployments.iter().map(|d| d.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&bench), ["b", "c", "d"]);
    // The place that `a` had is used again.
    bench.pool.update(Arc::new(policy(&["e", "b", "c", "d"])), bench.now).unwrap();
    assert_eq!(ids(&bench), ["e", "b", "c", "d"]);
    let mut wrong = policy(&["f"]);
    wrong.retries.max_attempts = 0;
    assert!(bench.pool.update(Arc::new(wrong), bench.now).is_err());
    assert_eq!(ids(&bench).len(), 4);
}

#[test]
fn a_lease_that_is_dropped_is_a_call_that_was_cancelled() {
    let bench = Bench::new(policy(&["a"]));
    drop(bench.pick());
    let view = bench.pool.view(bench.now);
    let a = &view.deployments[0];
    assert_eq!((a.outstanding, a.waiting, a.cancelled, a.sent), (0, 0, 1, 1));
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["deployments"][0]["state"], "in");
}
