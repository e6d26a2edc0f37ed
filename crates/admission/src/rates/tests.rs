//! What plans promise, under a clock that tests move.

use super::*;
use contracts::policy::Named;
use contracts::policy::plan::Limit;
use proptest::prelude::*;
use std::num::{NonZeroU32, NonZeroU64};

/// As the control database does it: what says something else is of another revision.
static WRITTEN: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

fn plan(text: &str) -> Arc<Named<Plan>> {
    // Written out rather than parsed: this crate has no use for JSON.
    let mut plan = Plan::default();
    for part in text.split_whitespace() {
        let (name, amount) = part.split_once('=').unwrap();
        let (name, is_soft) = name.strip_prefix("soft-").map_or((name, false), |name| (name, true));
        let small = NonZeroU32::new(amount.parse().unwrap()).unwrap();
        let set = |limit: &mut Option<Limit<NonZeroU32>>| {
            let limit = limit.get_or_insert(Limit { hard: None, soft: None });
            *(if is_soft { &mut limit.soft } else { &mut limit.hard }) = Some(small);
        };
        match name {
            "rps" => set(&mut plan.requests_per_second),
            "rpm" => set(&mut plan.requests_per_minute),
            "running" => set(&mut plan.concurrent_requests),
            _ => {
                let limit = plan.tokens_per_minute.get_or_insert(Limit { hard: None, soft: None });
                *(if is_soft { &mut limit.soft } else { &mut limit.hard }) = Some(NonZeroU64::from(small));
            }
        }
    }
    assert_eq!(plan.validate(), Ok(()));
    let mut written = WRITTEN.lock().unwrap();
    let known = written.iter().position(|known| *known == plan);
    let place = known.unwrap_or_else(|| {
        written.push(plan.clone());
        written.len() - 1
    });
    Arc::new(Named { tenant: None, name: "plan".parse().unwrap(), revision: place as u64, spec: plan })
}

fn tenant() -> Subject {
    Subject::Tenant("acme".parse().unwrap())
}

fn key() -> Subject {
    Subject::Key("key-1".parse().unwrap())
}

fn headers(headers: impl Iterator<Item = (&'static str, String)>) -> Vec<String> {
    headers.map(|(name, value)| format!("{name}: {value}")).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_minutes_requests_may_come_at_once_and_come_back_evenly() {
    let start = Instant::now();
    let (rates, plan, tenant) = (Rates::new(start), plan("rpm=60"), tenant());
    for _ in 0..60 {
        drop(rates.admit(&[(&tenant, &plan)], 0, start).unwrap());
    }
    let refusal = rates.admit(&[(&tenant, &plan)], 0, start).unwrap_err();
    assert_eq!(refusal.retry_after, Some(SECOND));
    assert_eq!((refusal.limit, refusal.size), (LimitKind::RequestsPerMinute, 60));
    assert_eq!(refusal.to_string(), "tenant acme is over its limit of 60 requests per minute");
    assert_eq!(
        headers(refusal.headers()),
        [
            "x-ratelimit-limit-requests: 60",
            "x-ratelimit-remaining-requests: 0",
            "x-ratelimit-reset-requests: 1m0s",
            "retry-after: 1",
            "retry-after-ms: 1000"
        ]
    );
    assert!(rates.admit(&[(&tenant, &plan)], 0, start + SECOND).is_ok());
    assert!(rates.admit(&[(&tenant, &plan)], 0, start + SECOND).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_tightest_of_all_plans_is_told() {
    let start = Instant::now();
    let rates = Rates::new(start);
    let (of_tenant, of_key) = (plan("rps=10 rpm=100 tpm=1000"), plan("rpm=50 tpm=60000"));
    let permit = rates.admit(&[(&tenant(), &of_tenant), (&key(), &of_key)], 400, start).unwrap();
    assert_eq!(
        headers(permit.headers()),
        [
            "x-ratelimit-limit-requests: 10",
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-requests: 9",
            "x-ratelimit-remaining-tokens: 600",
            "x-ratelimit-reset-requests: 100ms",
            "x-ratelimit-reset-tokens: 24s"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_estimate_is_settled_and_a_debt_is_paid_back() {
    let start = Instant::now();
    let (rates, plan, tenant) = (Rates::new(start), plan("tpm=600"), tenant());
    let remaining = || rates.standing(&tenant, Instant::now()).unwrap().0.tokens.unwrap().remaining;
    let mut permit = rates.admit(&[(&tenant, &plan)], 500, start).unwrap();
    assert_eq!(remaining(), 100);
    permit.settle(200);
    assert_eq!(remaining(), 400);
    permit.settle(700);
    assert_eq!(remaining(), 0);
    drop(permit);
    // 100 in debt, at ten tokens a second.
    let refusal = rates.admit(&[(&tenant, &plan)], 50, start).unwrap_err();
    assert_eq!(refusal.retry_after, Some(15 * SECOND));
    assert!(rates.admit(&[(&tenant, &plan)], 50, start + 15 * SECOND).is_ok());
    let never = rates.admit(&[(&tenant, &plan)], 601, start).unwrap_err();
    assert_eq!(never.retry_after, None);
}

#[tokio::test(start_paused = true)]
async fn calls_at_a_time_are_counted_while_they_run() {
    let start = Instant::now();
    let (rates, plan, tenant) = (Rates::new(start), plan("running=2 soft-running=1"), tenant());
    let admit = || rates.admit(&[(&tenant, &plan)], 0, Instant::now());
    let first = admit().unwrap();
    assert_eq!(first.over_soft(), []);
    let second = admit().unwrap();
    let soft = SoftLimit { subject: tenant.clone(), limit: LimitKind::ConcurrentRequests, size: 1 };
    assert_eq!(second.over_soft(), [soft]);
    tokio::time::advance(4 * SECOND).await;
    drop(first);
    let third = admit().unwrap();
    let refusal = admit().unwrap_err();
    assert_eq!(refusal.limit, LimitKind::ConcurrentRequests);
    assert_eq!(refusal.retry_after, Some(2 * SECOND), "two run, and one takes four seconds");
    drop((second, third));
    assert_eq!(rates.standing(&tenant, start).unwrap().1, 0);
}

#[tokio::test(start_paused = true)]
async fn soft_limits_mark_what_they_would_have_refused() {
    let start = Instant::now();
    let (rates, plan, tenant) = (Rates::new(start), plan("rpm=100 soft-rpm=10 soft-tpm=1000"), tenant());
    let over = |tokens, at| {
        let mut permit = rates.admit(&[(&tenant, &plan)], tokens, at).unwrap();
        permit.settle(tokens / 2);
        permit.over_soft().iter().map(|soft| soft.limit).collect::<Vec<_>>()
    };
    for _ in 0..10 {
        assert_eq!(over(10, start), []);
    }
    assert_eq!(over(10, start), [LimitKind::RequestsPerMinute]);
    assert_eq!(over(951, start), [LimitKind::RequestsPerMinute, LimitKind::TokensPerMinute]);
    assert_eq!(over(950, start + 6 * SECOND), []);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_changes_remembers_what_was_used() {
    let start = Instant::now();
    let (rates, tenant) = (Rates::new(start), tenant());
    let admit = |text: &str, tokens, at| rates.admit(&[(&tenant, &plan(text))], tokens, at);
    let mut running = admit("tpm=1000 rpm=100 running=9", 300, start).unwrap();
    let left = || rates.standing(&tenant, Instant::now()).unwrap().0;
    // Tightened: of 400 there are 100 left, and those only if one more may run.
    assert_eq!(admit("tpm=400 running=1", 1, start).unwrap_err().limit, LimitKind::ConcurrentRequests);
    assert_eq!(left().tokens.unwrap().remaining, 100);
    assert_eq!(admit("tpm=200", 1, start).unwrap_err().retry_after, Some(SECOND * 3 / 10));
    // Loosened, and what ran then is still settled.
    assert_eq!(admit("tpm=1200", 1, start).map(drop), Ok(()));
    running.settle(0);
    assert!(left().tokens.unwrap().remaining >= 1_199);
    // Without a token limit nothing is held, but a limit that comes while a call runs gets its tokens.
    let mut unlimited = admit("rpm=9", 500, start).unwrap();
    drop(admit("rpm=9 tpm=1000", 0, start).unwrap());
    unlimited.settle(800);
    assert_eq!(left().tokens.unwrap().remaining, 200);
    unlimited.settle(700);
    assert_eq!(left().tokens.unwrap().remaining, 300);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_forgets_only_what_is_as_good_as_new() {
    let start = Instant::now();
    let (rates, plan) = (Rates::new(start), plan("rpm=60 running=5"));
    let running = rates.admit(&[(&tenant(), &plan)], 0, start).unwrap();
    drop(rates.admit(&[(&key(), &plan)], 0, start).unwrap());
    rates.sweep(start + SECOND / 2);
    assert_eq!(rates.len(), 2);
    rates.sweep(start + SECOND);
    assert_eq!(rates.len(), 1);
    drop(running);
    rates.sweep(start + SECOND);
    assert!(rates.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subject_given_twice_or_out_of_order_counts_once() {
    let start = Instant::now();
    let (rates, plan) = (Rates::new(start), plan("rpm=2"));
    let (tenant, key) = (tenant(), key());
    let subjects = [(&key, &plan), (&tenant, &plan), (&key, &plan)];
    assert!(rates.admit(&subjects, 0, start).is_ok());
    assert!(rates.admit(&subjects, 0, start).is_ok());
    assert!(rates.admit(&subjects, 0, start).is_err());
}

#[test]
fn threads_share_a_limit_exactly() {
    let start = Instant::now();
    let (rates, of_tenant, of_key) = (Rates::new(start), plan("rpm=500"), plan("rpm=300"));
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (rates, of_tenant, of_key) = (&rates, &of_tenant, &of_key);
                scope.spawn(move || {
                    let key = Subject::Key(format!("key-{}", thread % 2).parse().unwrap());
                    let tenant = tenant();
                    let admit =
                        |_: &usize| rates.admit(&[(&tenant, of_tenant), (&key, of_key)], 0, start).is_ok();
                    (0..400).filter(admit).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 500);
}

#[derive(Debug, Clone)]
enum Step {
    Admit { both: bool, tokens: u64 },
    Settle(prop::sample::Index, u64),
    End(prop::sample::Index),
    Advance(u64),
    Plan(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 0..400u64).prop_map(|(both, tokens)| Step::Admit { both, tokens }),
        2 => (any::<prop::sample::Index>(), 0..600u64).prop_map(|(who, tokens)| Step::Settle(who, tokens)),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        3 => (0..20_000_000_000u64).prop_map(Step::Advance),
        1 => (0..3usize).prop_map(Step::Plan),
    ]
}

fn meters(rates: &Rates, now: u64) -> Vec<String> {
    let subjects = [tenant(), key()];
    let meter = |subject: &Subject| {
        let account = read(rates.shard(subject)).get(subject).cloned()?;
        let mut meter = account.meter().clone();
        meter.refill(now);
        Some(format!("{meter:?}"))
    };
    subjects.iter().filter_map(meter).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A refusal changes nothing, and its time is right to the nanosecond.
    #[test]
    fn a_refusal_takes_nothing_and_its_time_is_right(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _inside = runtime.enter();
        let start = Instant::now();
        let of_tenant = [plan("rps=3 rpm=20 tpm=1000 running=4"), plan("rps=9 rpm=8 tpm=500"), plan("tpm=5000 soft-tpm=100 running=9")];
        let of_key = [plan("rpm=10 tpm=600"), plan("rps=1 soft-rps=1 running=2"), plan("soft-tpm=500")];
        let rates = Rates::new(start);
        let (tenant, key) = (tenant(), key());
        let (mut now, mut which, mut permits) = (start, 0, Vec::new());
        for step in steps {
            match step {
                Step::Admit { both, tokens } => {
                    let all = [(&tenant, &of_tenant[which]), (&key, &of_key[which])];
                    let subjects = if both { &all[..] } else { &all[..1] };
                    // So that both have taken on the plans.
                    drop(rates.admit(subjects, u64::MAX, now));
                    let before = meters(&rates, rates.nanos(now));
                    match rates.admit(subjects, tokens, now) {
                        Ok(permit) => permits.push(permit),
                        Err(refusal) => {
                            prop_assert_eq!(&meters(&rates, rates.nanos(now)), &before);
                            let Some(wait) = refusal.retry_after else {
                                prop_assert_eq!(refusal.limit, LimitKind::TokensPerMinute);
                                continue;
                            };
                            if refusal.limit != LimitKind::ConcurrentRequests {
                                let early = now + wait.saturating_sub(Duration::from_nanos(1));
                                prop_assert!(rates.admit(subjects, tokens, early).is_err(), "admitted early");
                                now += wait;
                                match rates.admit(subjects, tokens, now) {
                                    Ok(mut permit) => permit.settle(0),
                                    Err(other) => prop_assert_eq!(other.limit, LimitKind::ConcurrentRequests),
                                }
                            }
                        }
                    }
                }
                Step::Settle(who, tokens) if !permits.is_empty() => {
                    let who = who.index(permits.len());
                    permits[who].settle(tokens);
                }
                Step::End(who) if !permits.is_empty() => drop(permits.swap_remove(who.index(permits.len()))),
                Step::Advance(nanos) => now += Duration::from_nanos(nanos),
                Step::Plan(plan) => which = plan,
                Step::Settle(..) | Step::End(_) => {}
            }
        }
    }

    /// Over any time, what is admitted is at most the size and what came back in that time.
    #[test]
    fn the_rate_holds_over_any_time(gaps in prop::collection::vec((0..3_000_000_000u64, 1..200u64), 1..200)) {
        let start = Instant::now();
        let (rates, plan, tenant) = (Rates::new(start), plan("rpm=30 tpm=1000"), tenant());
        let (mut now, mut admitted) = (0, Vec::new());
        for (gap, tokens) in gaps {
            now += gap;
            if let Ok(permit) = rates.admit(&[(&tenant, &plan)], tokens, start + Duration::from_nanos(now)) {
                drop(permit);
                admitted.push((now, tokens));
            }
        }
        for from in 0..admitted.len() {
            let (mut requests, mut tokens) = (0u128, 0u128);
            for &(at, cost) in &admitted[from..] {
                requests += 1;
                tokens += u128::from(cost);
                let passed = u128::from(at - admitted[from].0);
                prop_assert!((requests - 30.min(requests)) * 60_000_000_000 <= 30 * passed);
                prop_assert!((tokens - 1_000.min(tokens)) * 60_000_000_000 <= 1_000 * passed);
            }
        }
    }
}
