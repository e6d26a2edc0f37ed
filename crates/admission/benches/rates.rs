//! What it costs to hold a call to its tenant's plan and its key's: admission, headers and settlement.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot start has nothing to say")]

use admission::rates::{Rates, Subject};
use contracts::policy::Named;
use contracts::policy::plan::{Limit, Plan};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use tokio::time::Instant;

fn rates(criterion: &mut Criterion) {
    let rates = Rates::new(Instant::now());
    let spec = Plan {
        requests_per_second: Some(Limit::hard(NonZeroU32::MAX)),
        requests_per_minute: Some(Limit::hard(NonZeroU32::MAX)),
        tokens_per_minute: Some(Limit::hard(NonZeroU64::MAX)),
        concurrent_requests: Some(Limit::hard(NonZeroU32::MAX)),
        ..Plan::default()
    };
    let name = "gold".parse().expect("a name");
    let plan = Arc::new(Named { tenant: None, name, revision: 1, spec });
    let tenant = Subject::Tenant("acme".parse().expect("an id"));
    let key = Subject::Key("key-1".parse().expect("an id"));
    let mut group = criterion.benchmark_group("rates");
    for (name, subjects) in
        [("one plan", &[(&tenant, &plan)][..]), ("two plans", &[(&tenant, &plan), (&key, &plan)])]
    {
        group.bench_function(format!("{name}: admit, settle, end"), |bencher| {
            bencher.iter(|| {
                if let Ok(mut permit) = rates.admit(black_box(subjects), 1_000, Instant::now()) {
                    permit.settle(900);
                }
            });
        });
    }
    let permit = rates.admit(&[(&tenant, &plan)], 1_000, Instant::now());
    group.bench_function("headers", |bencher| {
        bencher.iter(|| {
            permit.as_ref().map_or(0, |permit| permit.headers().map(|(_, value)| value.len()).sum())
        });
    });
    group.finish();
}

criterion_group!(benches, rates);
criterion_main!(benches);
