//! What pricing a call costs: `PriceBook::cost` is on the gateway's hot path and must stay below a microsecond.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]

use contracts::price::{Charge, ModelPrice, PriceBook, Rate, RateCard, Rates, ServiceTier};
use contracts::{Timestamp, TokenUsage};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// As large as an imported public list: 3,000 models at 20 providers, with every tier, a long context and a price change.
fn book() -> PriceBook {
    let rates = |picos| Rates {
        input: Rate::from_picos(picos),
        output: Rate::from_picos(picos * 4),
        cache_read: Rate::from_picos(picos / 10),
        ..Rates::default()
    };
    let cards = ServiceTier::ALL
        .into_iter()
        .flat_map(|tier| [0, 200_000].map(|above| RateCard { tier, above, rates: rates(2_000_000 + above) }));
    let cards: Vec<RateCard> = cards.collect();
    let entry = |number: usize, valid_from| ModelPrice {
        provider: format!("provider-{}", number % 20),
        model: format!("some-model-{number}"),
        aliases: vec![format!("some-model-{number}-latest")],
        prefixes: vec![format!("some-model-{number}")],
        valid_from,
        charge: Charge::Tokens(cards.clone()),
        source: String::new(),
    };
    let change = Some(Timestamp::from_unix_seconds(1_700_000_000));
    let entries = (0..3_000).flat_map(|number| [entry(number, None), entry(number, change)]).collect();
    PriceBook::new("bench", entries).unwrap_or_default()
}

fn cost(criterion: &mut Criterion) {
    let book = book();
    let usage = TokenUsage {
        input: 250_000,
        output: 900,
        cache_read: 100_000,
        reasoning: 500,
        ..TokenUsage::default()
    };
    let at = Timestamp::from_unix_seconds(1_790_000_000);
    let mut group = criterion.benchmark_group("cost");
    for (name, model) in [
        ("own name", "some-model-1234"),
        ("alias", "some-model-1234-latest"),
        ("dated snapshot", "some-model-1234-2026-07-18"),
        ("unknown", "another-model-1234-2026-07-18"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                book.cost(
                    black_box("provider-14"),
                    black_box(model),
                    ServiceTier::Flex,
                    black_box(&usage),
                    black_box(at),
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cost);
criterion_main!(benches);
