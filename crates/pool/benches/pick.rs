//! What a choice and its reports cost: `pick`, `first_byte` and `finish` are on every call's way and must stay below a microsecond
//! for pools of a few deployments.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::unwrap_used, reason = "what is set up is valid")]

use contracts::policy::pool::{Balance, Deployment, Pool as Policy, PrefixAffinity};
use criterion::{Criterion, criterion_group, criterion_main};
use pool::{Affinity, Ask, Kind, Outcome, Pool, Tried};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn policy(count: usize, balance: Balance) -> Policy {
    let deployment = |number: usize| Deployment {
        id: format!("d{number}").parse().unwrap(),
        provider: "p".parse().unwrap(),
        upstream_model: "m".to_owned(),
        price_as: None,
        weight: 1,
        slots: None,
        load: None,
        gpu: None,
    };
    Policy { deployments: (0..count).map(deployment).collect(), balance, ..Policy::default() }
}

fn bench(criterion: &mut Criterion) {
    let affinity = PrefixAffinity::default();
    for count in [3, 64] {
        for (name, balance) in [
            ("peak ewma", Balance::LeastOutstandingPeakEwma),
            ("prefix", Balance::PrefixAffinity(affinity.clone())),
        ] {
            let mut now = Instant::now();
            let pool = Pool::new(Arc::new(policy(count, balance)), 1, now).unwrap();
            let prompt = [b'x'; 2_048];
            let ask =
                Ask { affinity: Affinity::of([prompt.as_slice()], &affinity, 0), ..Ask::new(Kind::Streamed) };
            // Others are under way, as they always are.
            let _others: Vec<_> =
                (0..count * 8).map(|_| pool.pick(&ask, &mut Tried::default(), now).unwrap()).collect();
            criterion.bench_function(
                &format!("pick, first byte and finish, {count} deployments, {name}"),
                |b| {
                    b.iter(|| {
                        now += Duration::from_micros(50);
                        let mut lease = pool.pick(black_box(&ask), &mut Tried::default(), now).unwrap();
                        lease.first_byte(now);
                        lease.finish(Outcome::Success, now);
                    });
                },
            );
        }
    }
    let prompt = [b'x'; 2_048];
    criterion.bench_function("affinity of a prompt", |b| {
        b.iter(|| Affinity::of([black_box(prompt.as_slice())], &affinity, 0));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
