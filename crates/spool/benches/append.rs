//! What an append of a 2 KB record costs the caller.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should say so and stop")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spool::{FullPolicy, Options, Spool};

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options { max_bytes: 1 << 30, full: FullPolicy::DropAndCount, ..Options::new(dir.path()) };
    let (writer, mut reader) = Spool::open(options).expect("a new spool opens");
    let record = vec![7_u8; 2048];
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Bytes(record.len() as u64));
    group.bench_function("2 KB", |b| {
        b.iter_batched(
            || {
                // Make room now and then, outside of what is measured.
                if writer.is_full() {
                    let end = writer.append(&record).expect("appends or drops");
                    reader.commit(end).expect("commits");
                }
            },
            |()| writer.append(&record),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    assert_eq!(writer.stats().dropped, 0, "a dropped record costs nothing and measures nothing");
}

criterion_group!(benches, append);
criterion_main!(benches);
