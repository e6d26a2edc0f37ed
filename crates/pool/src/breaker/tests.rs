//! When a deployment is put out, tried again and taken back.

use super::*;

struct Bench {
    breaker: Breaker,
    policy: Policy,
    now: Instant,
    rng: fastrand::Rng,
}

const FAULT: Outcome = Outcome::Fault(Fault::Status(500));

impl Bench {
    fn new() -> Self {
        let (policy, now) = (Policy::default(), Instant::now());
        Self { breaker: Breaker::new(&policy, false, now), policy, now, rng: fastrand::Rng::with_seed(7) }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn end(&mut self, ticket: Ticket, outcome: Outcome) -> Option<Turn> {
        if outcome == Outcome::Success
            && let Some(turn) = self.breaker.answered(ticket, &self.policy, self.now)
        {
            return Some(turn);
        }
        self.breaker.finish(ticket, outcome, false, &self.policy, self.now, &mut self.rng)
    }

    fn call(&mut self, outcome: Outcome) -> Option<Turn> {
        let ticket = self.breaker.begin(self.now);
        self.end(ticket, outcome)
    }

    fn standing(&self) -> Standing {
        self.breaker.standing(self.now)
    }

    fn eject(&mut self) -> Duration {
        loop {
            if let Some(Turn::Ejected { out_for, .. }) = self.call(FAULT) {
                return out_for;
            }
        }
    }
}

#[test]
fn faults_in_a_row_put_it_out_and_a_success_between_them_does_not_let_them_add_up() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(bench.call(FAULT), None);
        }
        bench.call(Outcome::Success);
        // Only the run of faults is looked at here, not their share.
        bench.breaker.window.clear();
        bench.breaker.latest = (0, 0);
    }
    bench.eject();
    assert_eq!(bench.standing(), Standing::Out);
}

#[test]
fn a_share_of_faults_puts_it_out_from_the_least_volume_on() {
    let mut bench = Bench::new();
    for number in 0..19 {
        let outcome = if number % 2 == 0 { FAULT } else { Outcome::Success };
        assert_eq!(bench.call(outcome), None);
    }
    bench.call(Outcome::Success);
    assert!(matches!(bench.call(FAULT), Some(Turn::Ejected { why: Why::Share(_), .. })));
}

#[test]
fn half_of_the_latest_calls_put_it_out_however_well_it_was_before() {
    let mut bench = Bench::new();
    for _ in 0..1_000 {
        bench.call(Outcome::Success);
    }
    let calls = (0..100).position(|number| {
        let outcome = if number % 2 == 0 { FAULT } else { Outcome::Success };
        bench.call(outcome).is_some()
    });
    assert_eq!(calls, Some(18), "its tenth fault");
}

#[test]
fn a_few_faults_among_many_do_not() {
    let mut bench = Bench::new();
    for number in 0..2_000 {
        let outcome = if number % 10 == 0 { FAULT } else { Outcome::Success };
        assert_eq!(bench.call(outcome), None);
        bench.pass(0.01);
    }
}

#[test]
fn bad_requests_and_clients_that_leave_say_nothing() {
    let mut bench = Bench::new();
    for _ in 0..1_000 {
        assert_eq!(bench.call(Outcome::ClientFault), None);
        assert_eq!(bench.call(Outcome::Cancelled), None);
    }
    assert_eq!(bench.breaker.counts(bench.now), (0, 0));
}

#[test]
fn a_timeout_counts_fully_where_nobody_was_answered_meanwhile() {
    let mut bench = Bench::new();
    let ticket = bench.breaker.begin(bench.now);
    let timeout = Outcome::Fault(Fault::Timeout);
    let turn = bench.breaker.finish(ticket, timeout, true, &bench.policy, bench.now, &mut bench.rng);
    assert!(matches!(turn, Some(Turn::Ejected { why: Why::Silent, .. })));
}

#[test]
fn it_comes_back_over_trials_and_ramps_up() {
    let mut bench = Bench::new();
    let out_for = bench.eject();
    assert!((4.5..=5.5).contains(&out_for.as_secs_f64()), "{out_for:?}");
    bench.pass(5.6);
    assert_eq!(bench.standing(), Standing::Trial);
    let first = bench.breaker.begin(bench.now);
    assert_eq!(bench.standing(), Standing::Out, "one at a time at first");
    assert_eq!(bench.end(first, Outcome::Success), None);
    assert_eq!(bench.standing(), Standing::Trial);
    assert_eq!(bench.call(Outcome::ClientFault), None, "neither for nor against it");
    assert_eq!(bench.call(Outcome::Success), None);
    assert_eq!(bench.call(Outcome::Success), Some(Turn::Back));
    let ramp = |bench: &Bench| bench.breaker.ramp(Duration::from_secs(30), bench.now);
    assert!((ramp(&bench) - 0.1).abs() < 1e-9);
    bench.pass(15.0);
    assert!((ramp(&bench) - 0.5).abs() < 1e-9);
    bench.pass(15.0);
    assert!((ramp(&bench) - 1.0).abs() < 1e-9);
}

#[test]
fn a_trial_that_fails_doubles_the_time_up_to_the_longest_and_long_health_starts_over() {
    let mut bench = Bench::new();
    let mut out_for = bench.eject();
    for doubling in 1..10 {
        bench.pass(out_for.as_secs_f64());
        let Some(Turn::Ejected { out_for: next, why: Why::Trial(_) }) = bench.call(FAULT) else { panic!() };
        let expected = (5.0 * f64::from(1 << doubling)).min(300.0);
        assert!((next.as_secs_f64() / expected - 1.0).abs() <= 0.1 + 1e-9, "{next:?}");
        out_for = next;
    }
    bench.pass(out_for.as_secs_f64());
    for _ in 0..3 {
        bench.call(Outcome::Success);
    }
    assert_eq!(bench.standing(), Standing::In);
    bench.pass(301.0);
    assert!(bench.eject().as_secs_f64() < 6.0);
}

#[test]
fn what_was_sent_before_an_ejection_says_nothing_after_it() {
    let mut bench = Bench::new();
    let early: Vec<Ticket> = (0..20).map(|_| bench.breaker.begin(bench.now)).collect();
    bench.eject();
    bench.pass(6.0);
    for _ in 0..3 {
        bench.call(Outcome::Success);
    }
    for ticket in early {
        assert_eq!(bench.end(ticket, Outcome::Fault(Fault::Timeout)), None);
    }
    assert_eq!(bench.standing(), Standing::In);
}

#[test]
fn too_many_calls_back_it_off_without_putting_it_out() {
    let mut bench = Bench::new();
    let limited = |seconds| Outcome::RateLimited { retry_after: seconds };
    let told = Some(Duration::from_secs(7));
    assert_eq!(bench.call(limited(told)), Some(Turn::BackedOff { for_: Duration::from_secs(7) }));
    assert_eq!(bench.standing(), Standing::BackingOff);
    assert!(!bench.breaker.is_out());
    bench.pass(7.0);
    assert_eq!(bench.standing(), Standing::In);
    // Unsaid, it doubles; said too long, it is cut.
    assert_eq!(bench.call(limited(None)), Some(Turn::BackedOff { for_: Duration::from_secs(1) }));
    bench.pass(1.0);
    assert_eq!(bench.call(limited(None)), Some(Turn::BackedOff { for_: Duration::from_secs(2) }));
    bench.pass(2.0);
    let day = Some(Duration::from_hours(24));
    assert_eq!(bench.call(limited(day)), Some(Turn::BackedOff { for_: Duration::from_mins(1) }));
}

#[test]
fn one_call_that_is_too_many_keeps_nobody_away() {
    let mut bench = Bench::new();
    let limited = Outcome::RateLimited { retry_after: None };
    for _ in 0..5 {
        assert_eq!(bench.call(limited), None);
        assert_eq!(bench.standing(), Standing::In);
        bench.call(Outcome::Success);
    }
    assert_eq!(bench.call(limited), None);
    assert_eq!(bench.call(limited), Some(Turn::BackedOff { for_: Duration::from_secs(1) }));
}

#[test]
fn probes_put_it_out_and_let_calls_try_it_again() {
    let mut bench = Bench::new();
    let probe =
        |bench: &mut Bench, well| bench.breaker.probed(well, 3, &bench.policy, bench.now, &mut bench.rng);
    assert_eq!(probe(&mut bench, false), None);
    assert_eq!(probe(&mut bench, true), None);
    assert_eq!((probe(&mut bench, false), probe(&mut bench, false)), (None, None));
    assert!(matches!(probe(&mut bench, false), Some(Turn::Ejected { why: Why::Probe, .. })));
    bench.pass(60.0);
    assert_eq!(bench.standing(), Standing::Out, "until a probe is answered");
    probe(&mut bench, true);
    assert_eq!(bench.standing(), Standing::Trial);
}
