//! kill -9 of each role in turn while clients call: no completed call is missing in ClickHouse, none is there twice, and
//! `up` has the role back within five seconds.
//!
//! The short form kills each role once. The long form, five times each, is ignored by default, for it takes minutes:
//! `cargo nextest run -p control-tower --run-ignored all durability`.

use crate::load::{Load, Outcome, is_ok};
use crate::tower::{Tower, number, signal};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const CALLS_PER_SECOND: u32 = 100;
const HEALED_WITHIN: Duration = Duration::from_secs(5);
/// From one kill to the next.
const BETWEEN: Duration = Duration::from_millis(1500);
/// How long what clients were told may take to reach ClickHouse after the last kill.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_each_role_loses_and_doubles_nothing() {
    kill_in_turn(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: the short form above is the everyday one"]
async fn five_kills_of_each_role_lose_and_double_nothing() {
    kill_in_turn(5).await;
}

async fn kill_in_turn(rounds: usize) {
    let tower = Tower::start().await;
    let load = Load::start(&tower, CALLS_PER_SECOND);
    let mut healed: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for _ in 0..rounds {
        for role in ["gateway", "collector", "store", "web"] {
            tokio::time::sleep(BETWEEN).await;
            let took = kill_and_wait(&tower, role).await;
            healed.entry(role).or_default().push(took);
        }
    }
    tokio::time::sleep(BETWEEN).await;
    let outcomes = load.finish().await;
    println!("healed after: {healed:?}");

    let completed: BTreeSet<&str> = outcomes.iter().filter_map(Outcome::completed).collect();
    let failed = outcomes.len() - completed.len();
    println!("{} calls completed, {failed} did not", completed.len());
    assert!(
        completed.len() > 100 * rounds,
        "{} completed calls prove nothing: {}",
        completed.len(),
        summary(&outcomes)
    );
    let rows = settled(&tower, &completed).await;
    let of_spans = spans(&tower).await;
    println!("rows of calls: {}, of spans: {}", total(&rows), total(&of_spans));
    let doubled: Vec<_> = rows.iter().filter(|(_, count)| **count != 1).collect();
    let in_spans: Vec<_> = doubled.iter().map(|(id, _)| of_spans.get(*id).copied().unwrap_or(0)).collect();
    assert!(doubled.is_empty(), "{} calls doubled: {doubled:?}, in spans {in_spans:?}", doubled.len());
    assert_rollups_agree(&tower).await;
    for (role, times) in healed {
        assert!(times.iter().all(|took| *took <= HEALED_WITHIN), "{role} took too long to heal: {times:?}");
    }
    tower.stop().await;
}

/// Kills a role, and says after what time it was there and ready again.
async fn kill_and_wait(tower: &Tower, role: &str) -> Duration {
    let url = match role {
        "gateway" => tower.gateway("/readyz"),
        "web" => tower.console("/readyz"),
        "collector" => format!("{}/readyz", tower.text("/otlp_http_url")),
        _ => format!("{}/ping", tower.text("/clickhouse/url")),
    };
    let pid = pid(tower, role).expect("the role runs");
    signal(pid, Signal::KILL);
    let killed = Instant::now();
    // A new process, and one that answers: the old one's socket may linger for a moment.
    while !(self::pid(tower, role).is_some_and(|new| new != pid) && is_ok(&url).await) {
        assert!(killed.elapsed() < Duration::from_mins(1), "{role} did not come back in a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killed.elapsed()
}

fn pid(tower: &Tower, role: &str) -> Option<u32> {
    tower.pids()[role].as_u64()?.try_into().ok()
}

/// How often each request is in `calls`, once every completed one is there and nothing more arrives.
async fn settled(tower: &Tower, completed: &BTreeSet<&str>) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut before = 0;
    loop {
        let rows = calls(tower).await;
        let missing: Vec<_> = completed.iter().filter(|id| !rows.contains_key(**id)).collect();
        let now = total(&rows);
        if missing.is_empty() && now == before {
            return rows;
        }
        before = now;
        if Instant::now() >= deadline {
            // Whether they got as far as the table that feeds calls tells a lost record from a lost view.
            let of_spans = spans(tower).await;
            let in_spans = missing.iter().filter(|id| of_spans.contains_key(***id)).count();
            panic!(
                "{} of {} completed calls are missing, such as {:?}; {in_spans} of these are in spans ({} rows, {now} of calls)",
                missing.len(),
                completed.len(),
                missing.iter().take(5).collect::<Vec<_>>(),
                total(&of_spans),
            );
        }
        // Longer than a batch lingers, the gateway's and the collector's together: were there more, it would have come.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

async fn calls(tower: &Tower) -> BTreeMap<String, u64> {
    by_request(tower, "SELECT request_id, count() AS n FROM calls GROUP BY request_id").await
}

/// The same of the spans that calls are made of.
async fn spans(tower: &Tower) -> BTreeMap<String, u64> {
    let sql = "SELECT request_id, count() AS n FROM spans WHERE record = 'call' GROUP BY request_id";
    by_request(tower, sql).await
}

async fn by_request(tower: &Tower, sql: &str) -> BTreeMap<String, u64> {
    let rows = tower.query(sql).await;
    rows.iter().map(|row| (row["request_id"].as_str().unwrap().to_owned(), number(&row["n"]))).collect()
}

fn total(rows: &BTreeMap<String, u64>) -> u64 {
    rows.values().sum()
}

/// What views fed on insert hold is what the spans say, whatever insert was cut by a kill.
async fn assert_rollups_agree(tower: &Tower) {
    let row = async |sql: &str| tower.query(sql).await.remove(0);
    let calls = row("SELECT count() AS n, sum(cost_total) AS cost FROM calls").await;
    let spans = row("SELECT count() AS n, sum(cost_total) AS cost FROM spans WHERE record = 'call'").await;
    assert_eq!(spans, calls, "spans and calls");
    let minutes = row("SELECT sum(calls) AS n, sum(cost_total) AS cost FROM usage_5min").await;
    assert_eq!(minutes, calls, "usage by five minutes and calls");
    let tries = row("SELECT count() AS n FROM spans WHERE record = 'attempt'").await;
    assert_eq!(row("SELECT count() AS n FROM attempts").await, tries, "attempts and their spans");
    let doubled = "SELECT tenant_id, trace_id, span_id FROM spans GROUP BY ALL HAVING count() > 1 LIMIT 5";
    let doubled = tower.query(doubled).await;
    assert!(doubled.is_empty(), "spans doubled: {doubled:?}");
}

/// How often each kind of failure was seen.
fn summary(outcomes: &[Outcome]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes {
        if let Outcome::Failed(reason) = outcome {
            *kinds.entry(reason).or_default() += 1;
        }
    }
    format!("{kinds:?}")
}
