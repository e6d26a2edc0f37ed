//! What a look-up costs: the key of a request, the same request again, and the nearest of so many questions.
#![expect(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up has nothing to say")]

use cache::{
    Answer, AnswerCache, Asked, CacheOptions, Control, Embed, EmbedError, Facts, Keepable, Place, Protocol,
    Question,
};
use contracts::policy::cache::{Cache, Guard, Semantic};
use contracts::{TenantId, Timestamp, TokenUsage, Usd};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Values of a vector, as of all-MiniLM-L6-v2.
const DIMENSION: usize = 384;

/// Directions by chance: the time of embedding is left out.
#[derive(Debug)]
struct Chance;

impl Embed for Chance {
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let seed =
            text.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let mut random = fastrand::Rng::with_seed(seed);
        Ok(Some((0..DIMENSION).map(|_| random.f32() - 0.5).collect()))
    }
}

fn body(question: usize) -> Vec<u8> {
    let system = "You answer questions of customers of a shop for shoes. Be brief, be kind, and never promise anything.";
    let body = serde_json::json!({
        "model": "support",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": system.repeat(4)},
            {"role": "user", "content": format!("How long may I return a pair of shoes of number {question}?")},
        ],
    });
    body.to_string().into_bytes()
}

fn read(tenant: &TenantId, question: usize, policy: &Cache) -> Question {
    let place =
        Place { tenant, route: "support", protocol: Protocol::Chat, variant: &["1"], embedder: "chance" };
    Question::read(&place, &body(question), policy).unwrap()
}

fn policy() -> Cache {
    let semantic = Semantic { max_entries: 200_000, guard: Guard::Strict, ..Semantic::default() };
    Cache { semantic: Some(semantic), max_bytes: 1 << 34, ..Cache::default() }
}

fn answer() -> Answer {
    Answer {
        body: bytes::Bytes::from(vec![b'x'; 800]),
        content_type: "application/json".to_owned(),
        model: "m".to_owned(),
        usage: TokenUsage::default(),
        cost: Usd::from_picos(1),
    }
}

fn lookups(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tenant: TenantId = "acme".parse().unwrap();
    let (semantic, control) = (policy(), Control::default());
    let exact = Cache { semantic: None, ..policy() };
    criterion.bench_function("read a request of 500 bytes", |bencher| {
        let place = Place {
            tenant: &tenant,
            route: "support",
            protocol: Protocol::Chat,
            variant: &["1"],
            embedder: "chance",
        };
        let body = body(1);
        bencher.iter(|| Question::read(&place, black_box(&body), &semantic));
    });
    criterion.bench_function("facts of a question", |bencher| {
        bencher.iter(|| Facts::of(black_box("How long may I return a pair of shoes of number 11?")));
    });
    for entries in [100, 1_000, 10_000, 100_000] {
        let options = CacheOptions { max_bytes: 1 << 34, ..CacheOptions::default() };
        let cache = runtime
            .block_on(async { AnswerCache::new(options, Some(Arc::new(Chance)), None) })
            .map(|(cache, _)| cache)
            .unwrap();
        runtime.block_on(async {
            for question in 0..entries {
                // Without a look at the others, so that filling takes no quadratic time.
                let control = Control { no_read: true, ..control };
                let asked = cache.ask(read(&tenant, question, &semantic), &semantic, &control, NOW).await;
                let Asked::Call(lead) = asked else { continue };
                lead.keep(answer(), Keepable::Both, NOW);
            }
        });
        let known = read(&tenant, entries / 2, &exact);
        criterion.bench_function(&format!("exact hit of {entries}"), |bencher| {
            bencher.iter(|| runtime.block_on(cache.ask(known.clone(), &exact, &control, NOW)));
        });
        let new = read(&tenant, entries + 1, &semantic);
        criterion.bench_function(&format!("semantic miss of {entries}"), |bencher| {
            bencher.iter(|| runtime.block_on(cache.ask(new.clone(), &semantic, &control, NOW)));
        });
    }
}

criterion_group!(benches, lookups);
criterion_main!(benches);
