//! Measures the reads of the console over many synthetic calls, on an engine of its own:
//! `cargo run --release -p warehouse --features testing --example warehouse-load -- [CALLS] [DIRECTORY]`
//!
//! Prints the time of the load and, for each read, the median and the worst of its runs in milliseconds. With a directory the data
//! stays, and a second run measures without loading.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measuring tool: it prints, and ends on the first failure"
)]

use contracts::reads::{CallFilter, Outcome, TenantScope, TimeRange};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use warehouse::testing::{Engine, Load};

const DAY_MS: i64 = 86_400_000;
const FROM_MS: i64 = 1_792_764_000_000;
const TENANTS: u32 = 8;
const RUNS: usize = 11;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let calls = arguments.next().map_or(10_000_000, |text| text.parse().expect("CALLS is a number"));
    let kept = arguments.next().map(PathBuf::from);
    let engine = match &kept {
        Some(path) => Engine::start_with(path, 6 << 30).await,
        None => Engine::start().await,
    };
    let warehouse = engine.warehouse("control_tower").await;
    let month = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + 30 * DAY_MS };
    let names = (0..TENANTS).map(|n| format!("tenant-{n}").parse().expect("a tenant id")).collect();
    let everyone = TenantScope::many(names).expect("some tenants");
    let one = TenantScope::one("tenant-3".parse().expect("a tenant id"));

    let any = CallFilter::default();
    let present = warehouse.overview(&everyone, month, 86_400, &any).await.expect("read").totals.calls;
    if present < calls {
        let started = Instant::now();
        Load { calls, tenants: TENANTS, range: month }.insert(&warehouse).await;
        println!("loaded {calls} calls in {:.0} s", started.elapsed().as_secs_f64());
    }
    let day = TimeRange { from_ms: month.to_ms - DAY_MS - 12_345, to_ms: month.to_ms - 12_345 };
    let failed = CallFilter { outcome: Some(Outcome::Error), ..CallFilter::default() };
    let dear = CallFilter { min_cost: Some("0.0005".parse().expect("dollars")), ..CallFilter::default() };
    let key = CallFilter { keys: vec!["key-3-1".to_owned()], ..CallFilter::default() };
    let text = CallFilter { text: Some("order 4711".to_owned()), ..CallFilter::default() };
    println!("{:<42} {:>10} {:>10}", "read", "p50 ms", "max ms");
    for (who, scope) in [("all tenants", &everyone), ("one tenant", &one)] {
        for (what, range, bucket) in [("30 days", month, 6 * 3600), ("a day", day, 900)] {
            let overview = async || drop(warehouse.overview(scope, range, bucket, &any).await.expect("read"));
            report(&format!("overview, {who}, {what}"), overview).await;
        }
        for (what, filter) in [("failed", &failed), ("one key", &key)] {
            let overview =
                async || drop(warehouse.overview(scope, month, 6 * 3600, filter).await.expect("read"));
            report(&format!("overview, {who}, 30 days, {what}"), overview).await;
        }
        for (what, filter) in [("any", &any), ("failed", &failed), ("dear", &dear), ("one key", &key)] {
            let page = async || drop(warehouse.calls(scope, month, filter, None, 50).await.expect("read"));
            report(&format!("calls, {who}, 30 days, {what}"), page).await;
        }
        let page = async || drop(warehouse.calls(scope, day, &text, None, 50).await.expect("read"));
        report(&format!("calls, {who}, a day, rare text"), page).await;
        let facets = async || drop(warehouse.facets(scope, month).await.expect("read"));
        report(&format!("facets, {who}, 30 days"), facets).await;
    }
    let page = warehouse.calls(&one, month, &failed, None, 50).await.expect("read");
    let call = page.calls.last().expect("a call");
    for (what, near) in [("no hint", None), ("a hint", Some(call.start_ms))] {
        let detail = async || drop(warehouse.call(&one, &call.trace_id, None, near).await.expect("read"));
        report(&format!("call, {what}"), detail).await;
    }
}

async fn report(name: &str, read: impl AsyncFn()) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        read().await;
        times.push(started.elapsed());
    }
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{name:<42} {:>10.1} {:>10.1}", millis(times[RUNS / 2]), millis(times[RUNS - 1]));
}
