//! What entering and leaving cost: without a limit, with a slot free, and with 10,000 calls of 100 tenants waiting, where each call
//! that ends starts the next.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot start has nothing to say")]

use admission::queue::{Queue, Refused, Slot, Ticket};
use contracts::policy::queue::{Band, Queue as Policy};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Entering = Pin<Box<dyn Future<Output = Result<Slot, Refused>>>>;

fn policy(concurrency: u32) -> Policy {
    Policy {
        concurrency: NonZeroU32::new(concurrency),
        max_waiting: u32::MAX,
        max_waiting_per_tenant: u32::MAX,
        max_wait_ms: 86_400_000,
        ..Policy::default()
    }
}

fn ticket(tenant: usize) -> Ticket {
    Ticket {
        tenant: format!("tenant-{tenant}").parse().expect("an id"),
        weight: NonZeroU32::MIN,
        band: Band::Standard,
        input_tokens: 1_000,
        expected_output_tokens: Some(200),
        deadline: None,
    }
}

fn poll(entering: &mut Entering) -> Option<Slot> {
    match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(slot) => slot.ok(),
        Poll::Pending => None,
    }
}

fn entering(queue: &Queue, ticket: Ticket) -> Entering {
    let queue = queue.clone();
    Box::pin(async move { queue.enter(ticket).await })
}

fn uncontended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for (name, concurrency) in [("without a limit", 0), ("a slot is free", 64)] {
        let queue = Queue::new(&policy(concurrency));
        let ticket = ticket(0);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || ticket.clone(),
                |ticket| {
                    let mut entering = std::pin::pin!(queue.enter(ticket));
                    let slot = entering.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    drop(black_box(slot));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// One call ends, the next one starts, and a new one comes to wait.
fn contended(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut group = criterion.benchmark_group("queue");
    for (waiting, tenants) in [(100, 100), (10_000, 100), (10_000, 1)] {
        let queue = Queue::new(&policy(1));
        let mut running = poll(&mut entering(&queue, ticket(0)));
        // Tenants of the same size take turns, so each one's calls start in the order in which all came.
        let mut line: VecDeque<Entering> = VecDeque::new();
        let mut next = 0;
        let mut join = |line: &mut VecDeque<Entering>| {
            let mut entering = entering(&queue, ticket(next % tenants));
            next += 1;
            assert!(poll(&mut entering).is_none(), "nobody starts out of turn");
            line.push_back(entering);
        };
        for _ in 0..waiting {
            join(&mut line);
        }
        group.bench_function(format!("{waiting} calls of {tenants} tenants wait"), |bencher| {
            bencher.iter(|| {
                drop(running.take());
                let place = line.iter_mut().take(tenants + 1).position(|entering| {
                    running = poll(entering);
                    running.is_some()
                });
                drop(place.and_then(|place| line.remove(place)));
                join(&mut line);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, uncontended, contended);
criterion_main!(benches);
