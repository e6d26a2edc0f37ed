//! A thousand calls against a dollar, while a gateway dies and Redis is killed.

use super::redis::Redis;
use super::shared::{open, opened, until};
use super::{account, at, of, usd};
use crate::*;
use contracts::Usd;
use contracts::policy::budget::Window;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CALLS: usize = 1_000;

/// What goes on outside of the ledgers.
#[derive(Default)]
struct World {
    /// What providers billed, picodollars.
    billed: AtomicI64,
    calls: AtomicUsize,
    is_dead: AtomicBool,
    /// Holds of the gateway that died: nobody ever ends them.
    orphans: Mutex<Vec<Hold>>,
}

/// One client: it asks again while nobody can tell, and goes when the budget is used up.
async fn client(number: usize, ledger: Ledger, accounts: Arc<Accounts>, world: Arc<World>, may_die: bool) {
    let died = || may_die && world.is_dead.load(Ordering::SeqCst);
    let orphan = |hold| world.orphans.lock().unwrap().push(hold);
    let random = fastrand::Rng::with_seed(number as u64);
    let (mut random, held) = (random, usd("0.004"));
    loop {
        if died() {
            return;
        }
        let mut hold = match ledger.reserve(&accounts, held, at(0)).await {
            Ok(hold) => hold,
            Err(Refused::Exhausted(_)) => return,
            Err(Refused::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(random.u64(1..50))).await;
                continue;
            }
        };
        tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
        if died() {
            return orphan(hold);
        }
        if hold.dispatch().await.is_err() {
            continue;
        }
        // It is sent, and billed, whatever becomes of us.
        let cost = random.i64(1..=4_000_000_000);
        world.billed.fetch_add(cost, Ordering::SeqCst);
        world.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(random.u64(0..60))).await;
        if died() {
            return orphan(hold);
        }
        hold.settle(Usd::from_picos(cost.into())).await;
        return;
    }
}

async fn crowd(is_persistent: bool, away: WhenRedisIsAway) {
    let mut redis = Redis::start(is_persistent);
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut ledgers = Vec::new();
    for dir in &dirs {
        ledgers.push(open(&redis, dir.path(), away).await);
    }
    opened(&ledgers[0]).await;
    let accounts = of(&[account("tenant", "1", Window::Total), account("key", "1", Window::Month)]);
    let world = Arc::new(World::default());
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CALLS {
        let who = number % 3;
        let ledger = ledgers[who].clone();
        clients.spawn(client(number, ledger, Arc::clone(&accounts), Arc::clone(&world), who == 2));
    }
    until(async || world.calls.load(Ordering::SeqCst) > 60).await;
    world.is_dead.store(true, Ordering::SeqCst);
    ledgers[2].cut(true);
    if !is_persistent {
        // A gateway that dies at the moment at which Redis loses its state is known by its journal only.
        until(async || ledgers[0].metrics().swept.get() + ledgers[1].metrics().swept.get() > 0).await;
        for number in 0..200 {
            let ledger = ledgers[number % 2].clone();
            clients.spawn(client(CALLS + number, ledger, Arc::clone(&accounts), Arc::clone(&world), false));
        }
    }
    redis.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    redis.restart();
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let billed = Usd::from_picos(world.billed.load(Ordering::SeqCst).into());
    let limit = usd("1");
    assert!(billed <= limit, "{billed} dollars were spent");
    // Every lease that has to run out does, and what is left is what was billed or may have been.
    until(async || ledgers[0].metrics().swept.get() + ledgers[1].metrics().swept.get() > 0).await;
    let mut last = None;
    until(async || {
        let standings = ledgers[0].read(&accounts, at(0)).await.ok();
        last = standings.map(|s| (s[0].spent, s[0].held, s[1].spent, s[1].held));
        let granted = match away {
            WhenRedisIsAway::Refuse => Usd::ZERO,
            WhenRedisIsAway::SpendGrant { per_account } => per_account.times(2),
        };
        last.is_some_and(|(_, held, _, key_held)| held <= granted && key_held <= granted)
    })
    .await;
    let (spent, ..) = last.unwrap();
    let calls = world.calls.load(Ordering::SeqCst);
    println!("persistent {is_persistent}, {away:?}: {calls} calls billed {billed}, counted {spent}");
    assert!(billed <= spent && spent <= limit, "{billed} dollars were spent, {spent} were counted");
    assert!(calls > 150, "{calls} calls prove little");
    drop(ledgers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_do_not_overshoot_with_a_redis_that_remembers() {
    crowd(true, WhenRedisIsAway::Refuse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_do_not_overshoot_with_a_redis_that_forgets() {
    crowd(false, WhenRedisIsAway::Refuse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_do_not_overshoot_with_grants_and_a_redis_that_remembers() {
    crowd(true, WhenRedisIsAway::SpendGrant { per_account: usd("0.05") }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_do_not_overshoot_with_grants_and_a_redis_that_forgets() {
    crowd(false, WhenRedisIsAway::SpendGrant { per_account: usd("0.05") }).await;
}
