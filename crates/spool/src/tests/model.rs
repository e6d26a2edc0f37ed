//! Random schedules against a model of what was written and committed, and random damage to the bytes on disk.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    AppendDurable(Vec<usize>),
    /// Of as many tasks.
    AppendGrouped(Vec<usize>),
    Read {
        records: usize,
        bytes: usize,
    },
    Commit,
    Intend,
    Rewind,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_usize..600).prop_map(Step::Append),
        2 => vec(0_usize..600, 1..4).prop_map(Step::AppendDurable),
        4 => vec(0_usize..600, 1..6).prop_map(Step::AppendGrouped),
        6 => (1_usize..10, 1_usize..2000).prop_map(|(records, bytes)| Step::Read { records, bytes }),
        3 => Just(Step::Commit),
        1 => Just(Step::Intend),
        1 => Just(Step::Rewind),
        1 => Just(Step::Reopen),
    ]
}

/// A record that says which it is.
fn record(number: usize, len: usize) -> Vec<u8> {
    let mut record = format!("{number}:").into_bytes();
    record.resize(record.len() + len, b'.');
    record
}

fn number(text: &str) -> usize {
    text.split_once(':').unwrap().0.parse().unwrap()
}

fn options_of_model(dir: &Path) -> Options {
    Options { max_bytes: 64 << 20, segment_bytes: 4096, ..options(dir) }
}

/// A spool and what must be true of it.
struct Model {
    dir: tempfile::TempDir,
    open: Option<(Writer, Reader)>,
    written: Vec<Vec<u8>>,
    /// Numbers of the next record to be read, and of the first that is not committed.
    next: usize,
    committed: usize,
    /// The last batch: the number after its last record, and its extent.
    batch: Option<(usize, Position, Position)>,
    /// The number after the last record of the intended batch.
    intent: Option<usize>,
}

impl Model {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = Some(Spool::open(options_of_model(dir.path())).unwrap());
        Self { dir, open, written: Vec::new(), next: 0, committed: 0, batch: None, intent: None }
    }

    async fn step(&mut self, step: Step) {
        let (writer, reader) = self.open.as_mut().unwrap();
        match step {
            Step::Append(len) => {
                let record = record(self.written.len(), len);
                writer.append(&record).unwrap();
                self.written.push(record);
            }
            Step::AppendDurable(lens) => {
                let first = self.written.len();
                let records: Vec<_> = lens.iter().zip(first..).map(|(len, i)| record(i, *len)).collect();
                let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                writer.append_durable(&slices).await.unwrap();
                self.written.extend(records);
            }
            Step::AppendGrouped(lens) => {
                let first = self.written.len();
                let mut tasks = tokio::task::JoinSet::new();
                for (len, i) in lens.into_iter().zip(first..) {
                    let (writer, record) = (writer.clone(), record(i, len));
                    self.written.push(record.clone());
                    tasks.spawn(async move { writer.append_grouped(record.into()).await.unwrap() });
                }
                tasks.join_all().await;
            }
            Step::Read { records, bytes } => self.read(records, bytes).await,
            Step::Commit => {
                if let Some((end, _, to)) = self.batch {
                    reader.commit(to).unwrap();
                    self.committed = self.committed.max(end);
                    self.intent = self.intent.filter(|intended| *intended > end);
                }
            }
            Step::Intend => {
                // As a consumer does: the batch that begins at the cursor.
                if let Some((end, from, to)) = self.batch
                    && from == reader.cursor()
                {
                    reader.set_intent(from, to).await.unwrap();
                    self.intent = Some(end);
                }
            }
            Step::Rewind => {
                reader.rewind();
                (self.next, self.batch) = (self.committed, None);
            }
            Step::Reopen => {
                self.open = None;
                self.open = Some(Spool::open(options_of_model(self.dir.path())).unwrap());
                (self.next, self.batch) = (self.committed, None);
            }
        }
    }

    async fn read(&mut self, records: usize, bytes: usize) {
        let (_, reader) = self.open.as_mut().unwrap();
        assert_eq!(reader.has_data(), self.next < self.written.len());
        if !reader.has_data() {
            return;
        }
        let repeated = self.intent.filter(|_| self.next == self.committed);
        let batch = reader.next_batch(records, bytes, NO_LINGER).await;
        let end = self.next + batch.records.len();
        assert_eq!(&batch.records[..], &self.written[self.next..end]);
        if let Some(intended) = repeated {
            assert_eq!(end, intended, "an intended batch comes again exactly");
        } else {
            let size: usize = batch.records.iter().map(bytes::Bytes::len).sum();
            assert!(batch.records.len() <= records && (size <= bytes || batch.records.len() == 1));
        }
        self.next = end;
        self.batch = Some((end, batch.from, batch.to));
    }
}

#[derive(Debug, Clone)]
enum Damage {
    /// Cuts a file at this share of its length.
    Truncate(usize),
    /// Changes the byte at this share of a file.
    Flip(usize, u8),
    /// Garbage after the end.
    Extend(Vec<u8>),
}

/// Shares are parts in so many.
const WHOLE: usize = 10_000;

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..WHOLE).prop_map(Damage::Truncate),
        ((0..WHOLE), 1_u8..).prop_map(|(at, xor)| Damage::Flip(at, xor)),
        vec(any::<u8>(), 1..100).prop_map(Damage::Extend),
    ]
}

/// Damages a file; returns which of its bytes may be lost with it.
fn hurt(path: &Path, damage: &Damage) -> std::ops::Range<usize> {
    let mut bytes = std::fs::read(path).unwrap();
    let len = bytes.len();
    let lost = match damage {
        Damage::Truncate(at) => {
            bytes.truncate(len * at / WHOLE);
            bytes.len()..len
        }
        Damage::Flip(at, xor) => {
            let at = len * at / WHOLE;
            bytes[at] ^= xor;
            at..at + 1
        }
        Damage::Extend(garbage) => {
            bytes.extend(garbage);
            len..len
        }
    };
    std::fs::write(path, bytes).unwrap();
    lost
}

/// Whatever happens to the bytes of a file: the spool opens and goes on, what it yields was written and comes in order,
/// and only records with a damaged byte are missing.
async fn survive(lens: Vec<usize>, committed: usize, file: usize, damage: Damage) {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    let committed = committed.min(lens.len());
    {
        let (writer, mut reader) = Spool::open(options_of_model(dir.path())).unwrap();
        for (i, len) in lens.iter().enumerate() {
            ends.push(writer.append_durable(&[&record(i, *len)]).await.unwrap().as_u64());
        }
        if committed > 0 {
            let batch = reader.next_batch(committed, usize::MAX, NO_LINGER).await;
            reader.commit(batch.to).unwrap();
        }
    }
    let mut files = segments(dir.path());
    files.push(dir.path().join("state"));
    let path = &files[file % files.len()];
    let lost = hurt(path, &damage);
    // Positions that were damaged. Damage to the state loses no record: at worst, committed ones come again.
    let lost = match Segment::base_of(path.file_name().unwrap().to_str().unwrap()) {
        Some(base) => base + lost.start as u64..base + lost.end as u64,
        None => 0..0,
    };

    let (writer, mut reader) = Spool::open(options_of_model(dir.path())).unwrap();
    writer.append(&record(lens.len(), 5)).unwrap();
    let read: Vec<usize> = drain(&mut reader).await.iter().map(|text| number(text)).collect();
    assert!(read.is_sorted() && read.windows(2).all(|pair| pair[0] != pair[1]), "in order, once: {read:?}");
    assert_eq!(read.last(), Some(&lens.len()), "the spool goes on");
    for i in committed..lens.len() {
        let start = ends[i] - (12 + record(i, lens[i]).len() as u64);
        let damaged = start < lost.end && lost.start < ends[i];
        assert_eq!(read.contains(&i), !damaged, "record {i} at {start}..{}, damage {lost:?}", ends[i]);
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_keeps_to_the_model(steps in vec(step(), 1..120)) {
        block_on(async {
            let mut model = Model::new();
            for step in steps {
                model.step(step).await;
            }
            let stats = model.open.unwrap().0.stats();
            assert_eq!((stats.corrupt, stats.torn), (0, 0));
        });
    }

    #[test]
    fn any_damage_is_survived(
        lens in vec(0_usize..900, 1..40),
        committed in 0_usize..40,
        file in 0_usize..20,
        damage in damage(),
    ) {
        block_on(survive(lens, committed, file, damage));
    }

    #[test]
    fn any_bytes_can_be_opened(segment in vec(any::<u8>(), 0..300), state in vec(any::<u8>(), 0..200)) {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("00000000000000000000.segment"), segment).unwrap();
            std::fs::write(dir.path().join("state"), state).unwrap();
            let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
            writer.append(b"new").unwrap();
            assert_eq!(drain(&mut reader).await, ["new"]);
        });
    }
}
