//! What a call costs the ledger: reserve, dispatch and settle, on four accounts.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should say so and stop")]

use budget::{Account, Accounts, JournalOptions, Ledger, Origin, RedisOptions, WhenGatewayDies};
use contracts::policy::budget::Window;
use contracts::{Timestamp, Usd};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

fn accounts() -> Arc<Accounts> {
    let account = |id: &str, window| {
        let limit = Usd::from_picos(i64::MAX.into()).times(1_000);
        Account { id: id.into(), subject: id.into(), origin: Origin::Budget, limit, soft: None, window }
    };
    Arc::new(Accounts::new(
        "acme",
        [
            account("organisation|acme|month", Window::Month),
            account("tenant|acme-eu|day", Window::Day),
            account("key|k1|minute", Window::Minute),
            account("route|acme-eu|support|month", Window::Month),
        ],
    ))
}

async fn call(ledger: &Ledger, accounts: &Arc<Accounts>) {
    let mut hold = ledger.reserve(accounts, Usd::from_picos(3_000_000), NOW).await.expect("there is room");
    hold.dispatch().await.expect("it may be sent");
    hold.settle(Usd::from_picos(1_000_000)).await;
}

fn local(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::local(JournalOptions::new(dir.path()), WhenGatewayDies::Charge).expect("it opens");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let (four, none) = (accounts(), Arc::new(Accounts::new("acme", [])));
    c.bench_function("local, four accounts", |b| b.iter(|| runtime.block_on(call(&ledger, &four))));
    c.bench_function("local, no account", |b| b.iter(|| runtime.block_on(call(&ledger, &none))));
}

fn shared(c: &mut Criterion) {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).stdout(Stdio::null());
    let mut server = server.spawn().expect("redis-server is installed");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let four = accounts();
    let ledger = runtime.block_on(async {
        let options = RedisOptions {
            lease: Duration::from_secs(2),
            ..RedisOptions::new(format!("redis://127.0.0.1:{port}"))
        };
        let journal = JournalOptions::new(dir.path());
        let ledger = Ledger::shared(journal, WhenGatewayDies::Charge, options, NOW).await.expect("it opens");
        // A server that is new keeps closed for a lease.
        while ledger.reserve(&four, Usd::ZERO, NOW).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ledger
    });
    bench_shared(c, &runtime, &ledger, &four);
    server.kill().and_then(|()| server.wait()).expect("it was ours");
}

fn bench_shared(c: &mut Criterion, runtime: &Runtime, ledger: &Ledger, four: &Arc<Accounts>) {
    c.bench_function("redis, four accounts, one at a time", |b| {
        b.iter(|| runtime.block_on(call(ledger, four)));
    });
    let mut group = c.benchmark_group("redis");
    group.throughput(Throughput::Elements(64));
    group.bench_function("four accounts, 64 at once", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut calls = JoinSet::new();
                for _ in 0..64 {
                    let (ledger, four) = (ledger.clone(), Arc::clone(four));
                    calls.spawn(async move { call(&ledger, &four).await });
                }
                calls.join_all().await
            })
        });
    });
    group.finish();
}

criterion_group!(benches, local, shared);
criterion_main!(benches);
