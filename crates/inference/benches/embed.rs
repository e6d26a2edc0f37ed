//! What a batch of sentences costs on one thread, at three lengths, and what one short prompt does.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should say so and stop")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use inference::{Embedder, EmbedderOptions, models};

fn embed(c: &mut Criterion) {
    let dir = models::find(None, None).expect("`cargo xtask models` puts the weights into the cache");
    let embedder = Embedder::load(&dir, &EmbedderOptions::default()).expect("the default model loads");
    let mut group = c.benchmark_group("embed");
    group.sample_size(20);
    for (tokens, sentences) in [(16, 64), (64, 32), (256, 8), (16, 1)] {
        // One token a word, and two marks.
        let texts: Vec<String> = (0..sentences)
            .map(|n| {
                (0..tokens - 2)
                    .map(|word| ["cost", "of", "each", "call"][(word + n) % 4])
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        group.throughput(Throughput::Elements(sentences as u64));
        group
            .bench_function(format!("{sentences} of {tokens} tokens"), |b| b.iter(|| embedder.embed(&texts)));
    }
    group.finish();
}

criterion_group!(benches, embed);
criterion_main!(benches);
