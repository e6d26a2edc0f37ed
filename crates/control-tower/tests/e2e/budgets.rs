//! A budget of one dollar against a thousand clients at once, while Redis and gateways are killed: what the pool served, priced here
//! with this file's own arithmetic from its own log, is never more than the dollar; and what was reserved for calls that nobody
//! finished comes back.
//!
//! The short forms are one gateway alone, three on a Redis that keeps its state, and three on one that does not and that they may
//! spend a grant without. The long form, all four ways with three rounds of kills each, is ignored by default:
//! `cargo nextest run -p control-tower --run-ignored all budgets`.

use crate::caller::{Caller, Reply};
use crate::redis::Redis;
use crate::stand::{Gateway, Stand};
use contracts::policy::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 1_000;
const LEASE: Duration = Duration::from_secs(3);
/// Picodollars.
const DOLLAR: i128 = 1_000_000_000_000;
/// Picodollars a token: 0.25 and 25 dollars a million. All clients' calls at once are held to cost half of the dollar.
const INPUT: i128 = 250_000;
const OUTPUT: i128 = 25_000_000;
/// More than any answer has.
const MOST_TOKENS: i128 = 16;
/// More than any request has.
const MOST_BYTES: i128 = 400;
/// The most that one call may be held to cost.
const MOST: i128 = MOST_TOKENS * OUTPUT + MOST_BYTES * INPUT;

/// Answers of 4 to 12 tokens in a second or two.
const SIM: &str = r#"
[[sim.models]]
name = "paced"
first_token_ms = 300
tokens_per_second = 8
min_tokens = 4
max_tokens = 12
"#;

/// How a run goes.
struct Case {
    gateways: usize,
    /// Whether there is a Redis, and whether it keeps its state.
    redis: Option<bool>,
    /// Dollars that a gateway may spend of its own while Redis is away.
    grant: Option<&'static str>,
    /// So often Redis, and then a gateway, is killed.
    rounds: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dollar_is_a_dollar_on_one_gateway_that_is_killed() {
    run(Case { gateways: 1, redis: None, grant: None, rounds: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dollar_is_a_dollar_on_three_gateways_and_a_redis_that_are_killed() {
    run(Case { gateways: 3, redis: Some(true), grant: None, rounds: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dollar_is_a_dollar_where_redis_forgets_and_gateways_spend_grants() {
    run(Case { gateways: 3, redis: Some(false), grant: Some("0.05"), rounds: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: the short forms above are the everyday ones"]
async fn a_dollar_is_a_dollar_whatever_is_killed_how_often() {
    run(Case { gateways: 1, redis: None, grant: None, rounds: 3 }).await;
    for is_persistent in [true, false] {
        for grant in [None, Some("0.05")] {
            run(Case { gateways: 3, redis: Some(is_persistent), grant, rounds: 3 }).await;
        }
    }
}

async fn run(case: Case) {
    let began = Instant::now();
    let mut place = Place::start(&case).await;
    let load = Load::start(&place);
    for _ in 0..case.rounds {
        place.round(&load, case.rounds > 1).await;
    }
    load.answered_more(50).await;
    let peak = load.counts.peak.load(Ordering::Relaxed);
    let tally = load.finish().await;

    // Longer than a lease: the accounts of whoever is gone are closed.
    tokio::time::sleep(LEASE * 2).await;
    let first = cost(&place.stand.served());
    let left = place.left().await;
    println!("{} gateways, redis {:?}, grant {:?}: {tally}", case.gateways, case.redis, case.grant);
    println!("  {peak} calls under way at once");
    let is_bounded = case.rounds > 1;
    assert!(is_bounded || peak >= CLIENTS * 9 / 10, "no more than {peak} calls were ever under way at once");
    println!("  while parts are killed: {} of it spent, {} left", dollars(first), dollars(left));
    assert!(first > 0 && first + left <= DOLLAR, "{} spent and {} left", dollars(first), dollars(left));
    if case.grant.is_none() {
        // Nothing is held any more but for calls that a kill cut off, each charged in full.
        let cut = i128::try_from(tally.broken()).unwrap() * MOST;
        assert!(first + left + cut >= DOLLAR, "{} is still held", dollars(DOLLAR - first - left));
        assert_eq!(place.held(), 0, "still held in Redis");
    }

    // What is left can be spent, to the last call.
    let load = Load::start(&place);
    load.quiet(Duration::from_millis(2500)).await;
    let tally = load.finish().await;
    tokio::time::sleep(LEASE).await;
    let spent = cost(&place.stand.served());
    let rest = place.left().await;
    println!("  until nothing is left: {tally}");
    println!("  {} spent in all, {} left, in {:?}", dollars(spent), dollars(rest), began.elapsed());
    assert!(spent <= DOLLAR, "{} spent of one dollar", dollars(spent));
    assert_eq!(tally.broken(), 0, "{tally}");
    // A grant of one gateway is not the other's to spend: each may have kept less than a call needs.
    let most = MOST * i128::try_from(case.gateways).unwrap();
    assert!(rest < most, "{} of it could not be spent", dollars(rest));
    if case.grant.is_none() {
        assert_eq!(spent - first, left - rest, "what was spent is not what the ledger says");
    }
}

/// The stand, its gateways and their Redis.
struct Place {
    stand: Stand,
    key: String,
    gateways: Vec<Gateway>,
    redis: Option<Redis>,
    /// Which gateway is killed next.
    next: usize,
}

impl Place {
    async fn start(case: &Case) -> Self {
        let stand = Stand::start(SIM).await;
        // Every tenth call of one of two deployments fails, and is tried again at the other.
        stand.deployment("a").await;
        stand.deployment("b").await;
        stand.behave(json!({"deployment": "b", "fail_rate": 0.1})).await;
        stand.model("paced", "a").await;
        stand.price("paced", "0.25", "25").await;
        let deployment = |id: &str| json!({"id": id, "provider": id, "upstream_model": "paced"});
        let pool =
            json!({"deployments": [deployment("a"), deployment("b")], "breaker": {"fault_percent": 90}});
        stand.put(Kind::Pool, "paced", &pool).await;
        // What a gateway has under way is charged when it is killed: something must be left after the last round.
        let concurrent = CLIENTS / case.rounds / if case.rounds == 1 { 1 } else { case.gateways.min(2) };
        stand.put(Kind::Plan, "bounded", &json!({"concurrent_requests": concurrent})).await;
        let key = stand.tenant("acme", Some("bounded")).await;
        let scope = json!({"kind": "tenant", "tenant": "acme"});
        stand.put(Kind::Budget, "acme", &json!({"scope": scope, "limit": "1", "window": "total"})).await;
        let redis = case.redis.map(Redis::start);
        let url = redis.as_ref().map(Redis::url);
        let lease = LEASE.as_millis().to_string();
        let mut config = Vec::new();
        if let Some(url) = &url {
            config.extend([("BUDGETS__REDIS", url.as_str()), ("BUDGETS__LEASE_MS", lease.as_str())]);
            // A thousand clients and all their gateways on a core or two: a gateway may be late without anything being wrong.
            config.push(("BUDGETS__REDIS_TIMEOUT_MS", "1500"));
        }
        config.extend(case.grant.map(|grant| ("BUDGETS__GRANT", grant)));
        let mut gateways = Vec::new();
        for index in 0..case.gateways {
            gateways.push(stand.gateway(&format!("gateway-{index}"), &config, &key).await);
        }
        Self { stand, key, gateways, redis, next: 0 }
    }

    /// Redis is killed and comes back, and so is and does a gateway, each in the middle of calls.
    async fn round(&mut self, load: &Load, has_more: bool) {
        load.answered_more(50).await;
        if let Some(redis) = &mut self.redis {
            redis.kill();
            tokio::time::sleep(Duration::from_millis(700)).await;
            redis.restart();
            load.answered_more(50).await;
        }
        let gateway = &mut self.gateways[self.next];
        self.next = (self.next + 1) % load.gateways;
        gateway.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        // A start takes as long as it takes, and must not be paid for by the rounds that follow.
        load.hold(has_more);
        self.stand.restart(gateway, &self.key).await;
        load.hold(false);
    }

    /// What the gateways say is left of the budget, in picodollars. Asks for more than there can be, and is refused.
    async fn left(&self) -> i128 {
        let body = json!({"model": "paced", "max_tokens": 1_000_000, "messages": [{"role": "user", "content": "?"}]});
        let Gateway { url, .. } = &self.gateways[0];
        match Caller::new().call(url, &self.key, &body).await {
            Reply::Refused(429, code, message) if code == "insufficient_quota" => {
                // "…: 0.25 of 1 dollars left, …"
                let (said, _) = message.split_once(" dollars left").unwrap();
                picos(said.rsplit(' ').nth(2).unwrap())
            }
            other => panic!("a call for 25 dollars is not refused for want of them: {other:?}"),
        }
    }

    /// What Redis counts as held; nothing without one.
    fn held(&self) -> i128 {
        let Some(redis) = &self.redis else { return 0 };
        let mut ask = Command::new("redis-cli");
        ask.args(["-u", &redis.url(), "HGET", "ct:{tenant|acme}:tenant|acme|total:total:0", "held"]);
        picos(String::from_utf8(ask.output().unwrap().stdout).unwrap().trim())
    }
}

/// A thousand clients that call again and again, each at a gateway at random.
struct Load {
    counts: Arc<Counts>,
    gateways: usize,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    /// Calls under way, and the most that ever were.
    under_way: AtomicUsize,
    peak: AtomicUsize,
    /// No call is begun for now.
    is_held: AtomicBool,
    stop: AtomicBool,
    others: Mutex<BTreeMap<String, usize>>,
}

/// What became of the calls.
struct Tally(usize, BTreeMap<String, usize>);

impl Load {
    fn start(place: &Place) -> Self {
        let counts = Arc::new(Counts::default());
        let caller = Caller::new();
        let urls: Arc<[String]> = place.gateways.iter().map(|gateway| gateway.url.clone()).collect();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (caller, urls, counts) = (caller.clone(), urls.clone(), counts.clone());
            let key = place.key.clone();
            clients.spawn(async move { client(number, &caller, &urls, &key, &counts).await });
        }
        Self { counts, gateways: place.gateways.len(), clients }
    }

    /// Waits until so many more calls are answered.
    async fn answered_more(&self, more: usize) {
        let (started, wanted) = (Instant::now(), self.answered() + more);
        while self.answered() < wanted {
            assert!(
                started.elapsed() < Duration::from_secs(40),
                "calls are no longer answered: {}",
                self.tally()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// No call is begun from now on, or they are again.
    fn hold(&self, is_held: bool) {
        self.counts.is_held.store(is_held, Ordering::Relaxed);
    }

    /// Waits until no call was answered for so long.
    async fn quiet(&self, long: Duration) {
        let started = Instant::now();
        let (mut last, mut since) = (self.answered(), Instant::now());
        while since.elapsed() < long {
            assert!(started.elapsed() < Duration::from_mins(2), "the budget does not end: {}", self.tally());
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.answered() != last {
                (last, since) = (self.answered(), Instant::now());
            }
        }
    }

    fn answered(&self) -> usize {
        self.counts.answered.load(Ordering::Relaxed)
    }

    fn tally(&self) -> Tally {
        Tally(self.answered(), self.counts.others.lock().unwrap().clone())
    }

    /// No call is begun any more; those under way are waited for.
    async fn finish(mut self) -> Tally {
        self.counts.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.tally()
    }
}

async fn client(number: usize, caller: &Caller, urls: &[String], key: &str, counts: &Counts) {
    let pause = |most| tokio::time::sleep(Duration::from_millis(fastrand::u64(0..most)));
    pause(500).await;
    for turn in 0.. {
        while counts.is_held.load(Ordering::Relaxed) {
            pause(100).await;
        }
        if counts.stop.load(Ordering::Relaxed) {
            return;
        }
        let text = format!("call {turn} of client {number}");
        let body = json!({
            "model": "paced", "stream": true, "max_tokens": MOST_TOKENS,
            "messages": [{"role": "user", "content": text}],
        });
        assert!((body.to_string().len() as i128) < MOST_BYTES / 2);
        let url = &urls[fastrand::usize(..urls.len())];
        counts.peak.fetch_max(counts.under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let reply = caller.call(url, key, &body).await;
        counts.under_way.fetch_sub(1, Ordering::Relaxed);
        let other = match reply {
            Reply::Answered(_) => {
                counts.answered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Reply::Refused(503, code, why) if code == "budget_unavailable" => {
                // Without the milliseconds that it names.
                format!("503 {}", why.split(" in ").next().unwrap_or_default())
            }
            Reply::Refused(status, code, _) => format!("{status} {code}"),
            Reply::Broken(why) => why,
        };
        *counts.others.lock().unwrap().entry(other).or_default() += 1;
        pause(1000).await;
    }
}

impl Tally {
    /// Calls that a gateway left without an answer.
    fn broken(&self) -> usize {
        self.1
            .iter()
            .filter(|(what, _)| !what.starts_with(|c: char| c.is_ascii_digit()))
            .map(|(_, n)| n)
            .sum()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answered", self.0)?;
        self.1.iter().try_for_each(|(what, count)| write!(f, ", {count} {what}"))
    }
}

/// What the provider charges: every call that was not refused, also for what nobody read of its answer.
fn cost(served: &[Value]) -> i128 {
    let billed = served.iter().filter(|record| record["outcome"] != "refused");
    let tokens = |record: &Value, kind: &str| i128::from(record["usage"][kind].as_u64().unwrap());
    billed.map(|record| tokens(record, "prompt") * INPUT + tokens(record, "completion") * OUTPUT).sum()
}

/// A decimal number of dollars in picodollars.
fn picos(decimal: &str) -> i128 {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{whole}{part:0<12}").parse().unwrap_or_else(|error| panic!("{decimal:?}: {error}"))
}

fn dollars(picos: i128) -> String {
    format!("${}.{:012}", picos / DOLLAR, picos % DOLLAR)
}
