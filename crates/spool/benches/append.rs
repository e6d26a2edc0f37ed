//! What an append of a 2 KB record costs the caller, alone and with those of other tasks.

#![expect(missing_docs, reason = "the benchmark's macro makes public items")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run should say so and stop")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spool::{FullPolicy, Options, Spool};
use tokio::task::JoinSet;

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
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let shared = Bytes::from(record);
    group.throughput(Throughput::Bytes(32 * shared.len() as u64));
    group.bench_function("32 tasks at once, 2 KB each", |b| {
        b.iter(|| {
            if writer.is_full() {
                let end = writer.append(&shared).expect("appends or drops");
                reader.commit(end).expect("commits");
            }
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for _ in 0..32 {
                    let (writer, record) = (writer.clone(), shared.clone());
                    tasks.spawn(async move { writer.append_grouped(record).await });
                }
                tasks.join_all().await
            })
        });
    });
    group.finish();
    assert_eq!(writer.stats().dropped, 0, "a dropped record costs nothing and measures nothing");
}

criterion_group!(benches, append);
criterion_main!(benches);
