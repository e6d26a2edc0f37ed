//! Several gateways on one Redis.

use super::model::{Model, Step, accounts, chosen, step};
use super::redis::Redis;
use super::{account, at, killed, of, usd};
use crate::*;
use contracts::Usd;
use contracts::policy::budget::Window;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// Long enough that a busy machine does not let it run out by itself.
pub(super) const LEASE: Duration = Duration::from_secs(2);

pub(super) async fn open(redis: &Redis, dir: &Path, away: WhenRedisIsAway) -> Ledger {
    let options = RedisOptions {
        lease: LEASE,
        timeout: Duration::from_secs(1),
        when_redis_is_away: away,
        ..RedisOptions::new(redis.url())
    };
    Ledger::shared(JournalOptions::new(dir), WhenGatewayDies::Charge, options, at(0)).await.unwrap()
}

/// Waits until something is so.
pub(super) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_mins(1), "it never was");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the ledger is open, which takes a lease where Redis is new.
pub(super) async fn opened(ledger: &Ledger) {
    let any = of(&[account("any", "1", Window::Total)]);
    until(async || ledger.reserve(&any, usd("0.01"), at(0)).await.is_ok()).await;
}

async fn stands(ledger: &Ledger, accounts: &Accounts) -> (Usd, Usd) {
    let standing = &ledger.read(accounts, at(0)).await.unwrap()[0];
    (standing.spent, standing.held)
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn gateways_share_what_they_spend() {
    let (redis, one, two) = (Redis::start(false), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    let accounts = of(&[
        Account { soft: Some(usd("0.3")), ..account("tenant", "1", Window::Total) },
        account("key", "5", Window::Day),
    ]);
    let early = a.reserve(&accounts, usd("0.1"), at(0)).await.unwrap_err();
    assert!(matches!(early, Refused::Unavailable(Unavailable::Closed(_))), "Redis is new: {early}");
    opened(&a).await;
    let mut first = a.reserve(&accounts, usd("0.6"), at(0)).await.unwrap();
    let refused = b.reserve(&accounts, usd("0.5"), at(0)).await.unwrap_err();
    let Refused::Exhausted(why) = refused else { panic!("{refused}") };
    assert_eq!((&*why.account.id, why.spent, why.held), ("tenant", Usd::ZERO, usd("0.6")));
    first.dispatch().await.unwrap();
    first.extend(usd("0.1")).await.unwrap();
    assert!(first.extend(usd("0.4")).await.is_err());
    let settled = first.settle(usd("0.35")).await;
    assert!(settled.passed[0].crossed);
    assert_eq!(stands(&b, &accounts).await, (usd("0.35"), Usd::ZERO));
    let mut second = b.reserve(&accounts, usd("0.65"), at(0)).await.unwrap();
    assert!(!second.passed()[0].crossed);
    second.dispatch().await.unwrap();
    second.settle(usd("0.9")).await;
    assert_eq!(stands(&a, &accounts).await, (usd("1.25"), Usd::ZERO));
    let dropped = a.reserve(&of(&[account("other", "1", Window::Hour)]), usd("1"), at(0)).await.unwrap();
    drop(dropped);
    let other = of(&[account("other", "1", Window::Hour)]);
    until(async || stands(&b, &other).await.1 == Usd::ZERO).await;
}

#[tokio::test]
async fn a_gateway_that_dies_gives_back_what_it_did_not_send_and_pays_for_what_it_sent() {
    let (redis, one, two) = (Redis::start(false), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    let reserved = b.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    let mut sent = b.reserve(&accounts, usd("0.3"), at(0)).await.unwrap();
    sent.dispatch().await.unwrap();
    let mut settled = b.reserve(&accounts, usd("0.2"), at(0)).await.unwrap();
    settled.dispatch().await.unwrap();
    b.cut(true);
    // Redis does not hear of it; the journal does.
    settled.settle(usd("0.05")).await;
    let left = killed(two.path());
    assert_eq!(stands(&a, &accounts).await, (Usd::ZERO, usd("1")));
    // The next reservation sweeps, once the lease has run out.
    let mut hold = None;
    until(async || {
        hold = a.reserve(&accounts, usd("0.5"), at(0)).await.ok();
        hold.is_some()
    })
    .await;
    assert_eq!(stands(&a, &accounts).await, (usd("0.5"), usd("0.5")));
    // It comes back, and tells what its journal knows.
    let again = open(&redis, left.path(), WhenRedisIsAway::Refuse).await;
    assert_eq!(again.unaccounted()[0].amount, usd("0.3"));
    until(async || stands(&a, &accounts).await == (usd("0.35"), usd("0.5"))).await;
    drop((hold, reserved, sent));
}

#[tokio::test]
async fn a_gateway_that_was_taken_for_dead_must_reserve_again() {
    let (redis, one, two) = (Redis::start(false), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    let mut small = b.reserve(&accounts, usd("0.1"), at(0)).await.unwrap();
    let mut large = b.reserve(&accounts, usd("0.6"), at(0)).await.unwrap();
    b.cut(true);
    assert!(small.dispatch().await.is_err(), "nobody may send what Redis does not know of");
    assert!(!small.is_dispatched());
    let mut taken = None;
    until(async || {
        taken = a.reserve(&accounts, usd("0.7"), at(0)).await.ok();
        taken.is_some()
    })
    .await;
    b.cut(false);
    until(async || small.dispatch().await.is_ok()).await;
    let refused = large.dispatch().await.unwrap_err();
    assert!(matches!(refused, Refused::Exhausted(_)), "{refused}");
    drop(large);
    small.settle(usd("0.1")).await;
    drop(taken);
    until(async || stands(&a, &accounts).await == (usd("0.1"), Usd::ZERO)).await;
}

#[tokio::test]
async fn what_was_reserved_in_an_earlier_life_does_not_hide_what_is_reserved_now() {
    let (redis, one, two) = (Redis::start(false), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Month)]);
    a.reserve(&accounts, usd("0.01"), at(0)).await.unwrap().release();
    // Nothing of it is in the journal: it was not sent.
    let reserved = b.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    b.cut(true);
    let left = killed(two.path());
    let again = open(&redis, left.path(), WhenRedisIsAway::Refuse).await;
    let second = again.reserve(&accounts, usd("0.3"), at(0)).await.unwrap();
    assert_eq!(stands(&a, &accounts).await, (Usd::ZERO, usd("0.3")));
    again.cut(true);
    until(async || stands(&a, &accounts).await == (Usd::ZERO, Usd::ZERO)).await;
    drop((reserved, second));
}

#[tokio::test]
async fn windows_that_are_over_keep_what_was_spent_when_a_gateway_tells_all_again() {
    let (redis, one, two) = (Redis::start(false), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Minute)]);
    for ledger in [&a, &b] {
        let mut hold = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
        hold.dispatch().await.unwrap();
        hold.settle(usd("0.5")).await;
    }
    // Late: in the books of one the window is still there, in those of the other it has long been over.
    for (ledger, seconds) in [(&a, 60), (&b, 7_200)] {
        ledger.cut(true);
        ledger.cut(false);
        let mut other = None;
        until(async || {
            other = ledger.reserve(&accounts, usd("0.1"), at(seconds)).await.ok();
            other.is_some()
        })
        .await;
        assert_eq!(stands(&a, &accounts).await.0, usd("1"));
    }
    assert!(a.reserve(&accounts, usd("0.1"), at(30)).await.is_err());
}

#[tokio::test]
async fn who_leaves_while_more_is_asked_for_pays_what_the_call_cost() {
    let (redis, one) = (Redis::start(false), dir());
    let ledger = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    opened(&ledger).await;
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    for (n, ends) in ["settled", "released", "asked again"].into_iter().enumerate() {
        let mut hold = ledger.reserve(&accounts, usd("0.3"), at(0)).await.unwrap();
        hold.dispatch().await.unwrap();
        {
            let mut extending = Box::pin(hold.extend(usd("0.2")));
            let once = std::future::poll_fn(|context| {
                std::task::Poll::Ready(extending.as_mut().poll(context).is_pending())
            });
            assert!(once.await, "Redis was asked and has not answered");
        }
        assert!(hold.is_charged());
        let before = stands(&ledger, &accounts).await.0;
        let actual = match ends {
            "settled" => {
                hold.settle(usd("0.01")).await;
                usd("0.01")
            }
            "released" => {
                hold.release();
                Usd::ZERO
            }
            _ => {
                hold.extend(usd("0.1")).await.unwrap();
                assert_eq!(hold.amount(), usd("0.6"));
                hold.settle(usd("0.02")).await;
                usd("0.02")
            }
        };
        until(async || stands(&ledger, &accounts).await == (before + actual, Usd::ZERO)).await;
        assert_eq!(ledger.metrics().overruns.get(), 0, "{n}");
    }
}

#[tokio::test]
async fn a_grant_is_spent_while_redis_is_away_and_no_more() {
    let (mut redis, one, two) = (Redis::start(false), dir(), dir());
    let mode = WhenRedisIsAway::SpendGrant { per_account: usd("0.1") };
    let a = open(&redis, one.path(), mode).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    a.reserve(&accounts, usd("0.01"), at(0)).await.unwrap().release();
    until(async || stands(&b, &accounts).await.1 == usd("0.1")).await;
    redis.kill();
    assert!(b.reserve(&accounts, usd("0.01"), at(0)).await.is_err());
    let mut spent = 0;
    while let Ok(mut hold) = a.reserve(&accounts, usd("0.01"), at(0)).await {
        hold.dispatch().await.unwrap();
        hold.settle(usd("0.01")).await;
        spent += 1;
    }
    assert_eq!(spent, 10);
    redis.restart();
    until(async || b.read(&accounts, at(0)).await.is_ok_and(|s| s[0].spent == usd("0.1"))).await;
    // Its time is over: nothing more is spent without Redis, though something were granted.
    opened(&b).await;
    until(async || stands(&b, &accounts).await.1 == usd("0.1")).await;
    a.cut(true);
    tokio::time::sleep(LEASE).await;
    assert!(a.reserve(&accounts, usd("0.01"), at(0)).await.is_err());
    // Nobody knows whether it was spent: it is charged.
    until(async || stands(&b, &accounts).await == (usd("0.2"), Usd::ZERO)).await;
    a.cut(false);
    until(async || stands(&b, &accounts).await == (usd("0.1"), usd("0.1"))).await;
    a.close().await;
    assert_eq!(stands(&b, &accounts).await, (usd("0.1"), Usd::ZERO));
}

#[tokio::test]
async fn what_redis_forgets_its_gateways_remember() {
    let (mut redis, one, two, three) = (Redis::start(false), dir(), dir(), dir());
    let a = open(&redis, one.path(), WhenRedisIsAway::Refuse).await;
    let b = open(&redis, two.path(), WhenRedisIsAway::Refuse).await;
    let c = open(&redis, three.path(), WhenRedisIsAway::Refuse).await;
    opened(&a).await;
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    for ledger in [&a, &b, &c] {
        let mut hold = ledger.reserve(&accounts, usd("0.2"), at(0)).await.unwrap();
        hold.dispatch().await.unwrap();
        hold.settle(usd("0.2")).await;
    }
    c.cut(true);
    until(async || a.metrics().swept.get() + b.metrics().swept.get() > 0).await;
    redis.kill();
    redis.restart();
    // What the dead one spent is known from those that live.
    until(async || a.read(&accounts, at(0)).await.is_ok_and(|s| s[0].spent == usd("0.6"))).await;
    let closed = a.reserve(&accounts, usd("0.1"), at(0)).await.unwrap_err();
    assert!(matches!(closed, Refused::Unavailable(_)), "{closed}");
    opened(&a).await;
    assert!(b.reserve(&accounts, usd("0.5"), at(0)).await.is_err());
    b.reserve(&accounts, usd("0.4"), at(0)).await.unwrap().release();
}

#[tokio::test]
async fn a_look_that_comes_late_makes_nobody_join_again() {
    let (mut redis, one) = (Redis::start(false), dir());
    // No renewal comes between.
    let lease = Duration::from_hours(1);
    let options = RedisOptions { lease, timeout: Duration::from_secs(1), ..RedisOptions::new(redis.url()) };
    let ledger = Ledger::shared(JournalOptions::new(one.path()), WhenGatewayDies::Charge, options, at(0))
        .await
        .unwrap();
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    assert_eq!(stands(&ledger, &accounts).await, (Usd::ZERO, Usd::ZERO));
    let mut operator = ::redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    // Scripts wait as writes do.
    ::redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("WRITE").exec(&mut operator).unwrap();
    assert!(ledger.read(&accounts, at(0)).await.is_err());
    assert!(ledger.shared_id().is_some(), "the connection is the same");
    ::redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut operator).unwrap();
    until(async || ledger.read(&accounts, at(0)).await.is_ok()).await;
    redis.kill();
    assert!(ledger.read(&accounts, at(0)).await.is_err());
    assert!(ledger.shared_id().is_none(), "what is broken is given up");
}

/// A way to Redis on which every byte takes a while, however many are on it.
async fn far_from(redis: &Redis, delay: Duration) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, there) = (listener.local_addr().unwrap(), redis.url().replace("redis://", ""));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = tokio::net::TcpStream::connect(&there).await else { continue };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(near_in, far_out), (far_in, near_out)] {
                let (put, mut late) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from.read(&mut buffer).await {
                        let _gone = put.send((Instant::now() + delay, buffer[..n].to_vec()));
                    }
                });
                tokio::spawn(async move {
                    while let Some((when, bytes)) = late.recv().await {
                        tokio::time::sleep_until(when).await;
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    format!("redis://{here}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_groups_have_joined_when_a_redis_that_forgot_opens() {
    let (mut redis, one, two) = (Redis::start(false), dir(), dir());
    let url = far_from(&redis, Duration::from_millis(5)).await;
    let open = async |url: String, dir: &Path| {
        let options =
            RedisOptions { lease: 2 * LEASE, timeout: Duration::from_secs(2), ..RedisOptions::new(url) };
        Ledger::shared(JournalOptions::new(dir), WhenGatewayDies::Charge, options, at(0)).await.unwrap()
    };
    let a = open(url, one.path()).await;
    let b = open(redis.url(), two.path()).await;
    opened(&b).await;
    let groups: Vec<_> = (0..400)
        .map(|n| Arc::new(Accounts::new(format!("group {n}"), [account("tenant", "1", Window::Total)])))
        .collect();
    let mut spending = tokio::task::JoinSet::new();
    for accounts in groups.clone() {
        let a = a.clone();
        spending.spawn(async move {
            let mut hold = a.reserve(&accounts, usd("1"), at(0)).await.unwrap();
            hold.dispatch().await.unwrap();
            hold.settle(usd("1")).await;
        });
    }
    spending.join_all().await;
    redis.kill();
    redis.restart();
    opened(&b).await;
    // One after the other, all that are known to the gateway far away would take three times the lease to join.
    for accounts in &groups {
        let refused = b.reserve(accounts, usd("0.1"), at(0)).await;
        assert!(matches!(refused, Err(Refused::Exhausted(_))), "{}", accounts.group());
    }
}

/// One step of one of two gateways.
async fn run(redis: &Redis, prefix: String, steps: Vec<(usize, Step)>) {
    let dirs = [dir(), dir()];
    let mut ledgers = Vec::new();
    for dir in &dirs {
        let options = RedisOptions {
            prefix: prefix.clone(),
            lease: Duration::from_mins(1),
            ..RedisOptions::new(redis.url())
        };
        let journal = JournalOptions::new(dir.path());
        ledgers.push(Ledger::shared(journal, WhenGatewayDies::Charge, options, at(0)).await.unwrap());
    }
    let (mut model, mut holds, limits) = (Model::default(), Vec::<Hold>::new(), accounts());
    // Amounts of millions of dollars: far beyond what a double counts in picodollars.
    let limits: Vec<Account> =
        limits.into_iter().map(|a| Account { limit: a.limit.times(1_000_000), ..a }).collect();
    for (who, step) in steps {
        let pick = |hold: usize| (!holds.is_empty()).then(|| hold % holds.len().max(1));
        match step {
            Step::Reserve { accounts, amount } => {
                let chosen = chosen(accounts);
                let amount = Usd::from_picos(amount);
                let list = Accounts::new("acme", chosen.iter().map(|i| limits[*i].clone()));
                let outcome = ledgers[who].reserve(&Arc::new(list), amount, at(0)).await;
                assert_eq!(outcome.is_ok(), model.reserve(&chosen, &limits, amount, at(0)), "{outcome:?}");
                holds.extend(outcome.ok());
            }
            Step::Extend { hold, amount } => {
                if let Some(i) = pick(hold) {
                    let amount = Usd::from_picos(amount);
                    let outcome = holds[i].extend(amount).await;
                    assert_eq!(outcome.is_ok(), model.extend(i, &limits, amount), "{outcome:?}");
                }
            }
            Step::Dispatch { hold } => {
                if let Some(i) = pick(hold) {
                    holds[i].dispatch().await.unwrap();
                    model.holds[i].is_dispatched = true;
                }
            }
            Step::Settle { hold, part } => {
                if let Some(i) = pick(hold) {
                    let hold = holds.remove(i);
                    let actual = Usd::from_picos(hold.amount().picos() * part / 256);
                    hold.settle(actual).await;
                    model.end(i, actual);
                }
            }
            Step::Release { hold } | Step::Drop { hold } => {
                if let Some(i) = pick(hold) {
                    holds.remove(i).settle(Usd::ZERO).await;
                    model.end(i, Usd::ZERO);
                }
            }
            Step::Wait { .. } | Step::Limit { .. } | Step::Kill => {}
        }
        let standings = ledgers[who].read(&Accounts::new("acme", limits.clone()), at(0)).await.unwrap();
        for (i, standing) in standings.iter().enumerate() {
            let bucket = (i, standing.span);
            assert_eq!(
                (standing.spent, standing.held),
                (model.spent(bucket), model.held(bucket)),
                "{standing:?}"
            );
        }
    }
}

#[test]
fn redis_does_what_the_model_does() {
    let redis = Redis::start(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The server is new; a first gateway waits for it, with a short lease.
    let prefix = AtomicPrefix::default();
    let strategy = prop::collection::vec((0_usize..2, step(usd("1000000").picos())), 1..60);
    proptest!(ProptestConfig::with_cases(32), |(steps in strategy)| {
        let prefix = prefix.next();
        runtime.block_on(async {
            let first = dir();
            let options = RedisOptions {
                prefix: prefix.clone(),
                lease: Duration::from_millis(1),
                ..RedisOptions::new(redis.url())
            };
            let journal = JournalOptions::new(first.path());
            drop(Ledger::shared(journal, WhenGatewayDies::Charge, options, at(0)).await.unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
            run(&redis, prefix, steps).await;
        });
    });
}

/// Each case has keys of its own.
#[derive(Default)]
struct AtomicPrefix(std::sync::atomic::AtomicU64);

impl AtomicPrefix {
    fn next(&self) -> String {
        format!("case{}", self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}
