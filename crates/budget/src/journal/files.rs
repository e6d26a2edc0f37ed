//! The journal's files: opening the directory, and writing a snapshot.

use super::record::{self, BucketId, BucketState, Define, Record, Shift};
use super::{Journal, JournalOptions, OpenError, Tail};
use crate::metrics::Metrics;
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// The first bytes of each file; the digit is the format's version.
const MAGIC: &[u8] = b"CTBUDGT1";
/// Their length.
pub(super) const HEADER_LEN: u64 = MAGIC.len() as u64;

/// What the files tell.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) buckets: HashMap<BucketId, (Define, BucketState)>,
}

/// Reads the directory and begins a new segment in it. The caller writes a snapshot before it takes new calls.
pub(super) fn open(
    options: JournalOptions,
    metrics: Arc<Metrics>,
) -> Result<(Journal, Recovered), OpenError> {
    let dir = options.dir.as_path();
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(OpenError::io("create", dir))?;
    let lock = lock(dir)?;
    let instance = instance(dir)?;
    let (recovered, end) = recover(&options, &metrics)?;
    let base = end + 1;
    let file = prepare_segment(dir).and_then(|file| name_segment(dir, base).map(|()| file));
    let file = file.map_err(OpenError::io("create a segment in", dir))?;
    let tail = Tail {
        file: Arc::new(file),
        base,
        end: base + HEADER_LEN,
        is_dirty: false,
        is_stopped: false,
        is_broken: false,
        buffer: Vec::new(),
    };
    let journal =
        Journal { options, instance, tail: Mutex::new(tail), work: Condvar::new(), metrics, _lock: lock };
    Ok((journal, recovered))
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = private(&path).map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path)(error)),
    }
}

/// Who this gateway is: drawn once for a directory. Another directory is another gateway, for it does not know what this one spent.
fn instance(dir: &Path) -> Result<Arc<str>, OpenError> {
    let path = dir.join("instance");
    if let Ok(text) = std::fs::read_to_string(&path)
        && text.len() == 16
    {
        return Ok(text.into());
    }
    let random = getrandom::u64()
        .map_err(|error| OpenError::io("name", &path)(io::Error::other(error.to_string())))?;
    let text = format!("{random:016x}");
    let new = dir.join("instance.new");
    let written = private(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    });
    written.map_err(OpenError::io("write", &path))?;
    Ok(text.into())
}

fn path_of(dir: &Path, kind: &str, position: u64) -> PathBuf {
    dir.join(format!("{kind}.{position:020}"))
}

/// A segment that has no name yet.
pub(super) fn prepare_segment(dir: &Path) -> io::Result<File> {
    let mut file = private(&dir.join("journal.new"))?;
    file.write_all(MAGIC)?;
    Ok(file)
}

/// Names the prepared segment. Its name reaches the disk with that of the snapshot that follows.
pub(super) fn name_segment(dir: &Path, base: u64) -> io::Result<()> {
    std::fs::rename(dir.join("journal.new"), path_of(dir, "journal", base))
}

/// The positions of the files of a kind, in order.
fn list(dir: &Path, kind: &str) -> io::Result<Vec<u64>> {
    let mut positions = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let position: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix(kind)?.strip_prefix('.')?.parse().ok());
        positions.extend(position);
    }
    positions.sort_unstable();
    Ok(positions)
}

/// What the newest snapshot and the segments after it tell, and where the stream ends.
fn recover(options: &JournalOptions, metrics: &Metrics) -> Result<(Recovered, u64), OpenError> {
    let dir = options.dir.as_path();
    let damaged = |path: PathBuf, what: &str| {
        metrics.journal_damaged.inc();
        tracing::error!(path = %path.display(), "{what}");
        if options.opens_damaged { Ok(()) } else { Err(OpenError::Damaged(path)) }
    };
    let mut recovered = Recovered::default();
    let mut from = 0;
    let snapshots = list(dir, "snapshot").map_err(OpenError::io("list", dir))?;
    for &position in snapshots.iter().rev() {
        let path = path_of(dir, "snapshot", position);
        let bytes = std::fs::read(&path).map_err(OpenError::io("read", &path))?;
        if let Some(snapshot) = read_snapshot(&bytes) {
            (recovered, from) = (snapshot, position);
            break;
        }
        damaged(path, "a snapshot of budgets is damaged")?;
    }
    let mut end = from;
    let segments = list(dir, "journal").map_err(OpenError::io("list", dir))?;
    // A snapshot is written after the segment that goes on from it has its name, and before anything is written to that.
    if from > 0 && !segments.contains(&from) {
        damaged(path_of(dir, "journal", from), "a journal of budgets is missing")?;
    }
    for (at, &base) in segments.iter().enumerate() {
        let path = path_of(dir, "journal", base);
        let bytes = std::fs::read(&path).map_err(OpenError::io("read", &path))?;
        end = end.max(base + bytes.len() as u64);
        if base < from {
            continue;
        }
        let whole = replay(&mut recovered, &bytes, base);
        if snapshots.is_empty() && whole as u64 > HEADER_LEN {
            damaged(path_of(dir, "snapshot", base), "a snapshot of budgets is missing")?;
        }
        // The next one goes on where this one ended, or was begun by a process that found this one as the last: the kill of a process
        // can tear the last record of the last segment, and no other.
        if let Some(&next) = segments.get(at + 1)
            && next != base + whole as u64
            && next != end + 1
        {
            damaged(path, "a journal of budgets is damaged")?;
        }
    }
    Ok((recovered, end))
}

fn read_snapshot(bytes: &[u8]) -> Option<Recovered> {
    let mut snapshot = Recovered::default();
    let mut at = bytes.starts_with(MAGIC).then_some(MAGIC.len())?;
    for count in 0.. {
        let (record, len) = record::take(&bytes[at..], at as u64)?;
        if let Record::End(records) = record {
            return (records == count).then_some(snapshot);
        }
        snapshot.take(record, 0);
        at += len;
    }
    None
}

/// Returns how many bytes were records.
fn replay(recovered: &mut Recovered, bytes: &[u8], base: u64) -> usize {
    if !bytes.starts_with(MAGIC) {
        return 0;
    }
    let mut at = MAGIC.len();
    while let Some((record, len)) = record::take(&bytes[at..], base + at as u64) {
        at += len;
        recovered.take(record, base + at as u64);
    }
    at
}

impl Recovered {
    /// Counts a record in that ends at `end`.
    fn take(&mut self, record: Record, end: u64) {
        match record {
            Record::Define(define) => {
                let state = BucketState {
                    id: define.id,
                    spent: contracts::Usd::ZERO,
                    dispatched: contracts::Usd::ZERO,
                    calls: 0,
                    at: 0,
                };
                self.buckets.entry(define.id).or_insert((define, state));
            }
            Record::State(state) => {
                if let Some((_, known)) = self.buckets.get_mut(&state.id) {
                    *known = state;
                }
            }
            Record::Shift(shift, buckets) => {
                for bucket in buckets {
                    // One that is not known was over and done with when the snapshot was taken.
                    if let Some((_, state)) = self.buckets.get_mut(&bucket)
                        && state.at < end
                    {
                        state.shift(shift);
                        state.at = end;
                    }
                }
            }
            Record::End(_) => {}
        }
    }
}

impl BucketState {
    fn shift(&mut self, shift: Shift) {
        self.spent += shift.spent;
        self.dispatched += shift.dispatched;
        self.calls = self.calls.saturating_add_signed(i32::from(shift.calls));
    }
}

/// Writes a snapshot that counts with the segments from `position` on, and removes what it takes the place of.
pub(super) fn write_snapshot(
    dir: &Path,
    position: u64,
    buckets: impl Iterator<Item = (Define, BucketState)>,
) -> io::Result<()> {
    let new = dir.join("snapshot.new");
    let mut file = BufWriter::new(private(&new)?);
    file.write_all(MAGIC)?;
    let (mut at, mut count) = (MAGIC.len() as u64, 0);
    let mut buffer = Vec::new();
    for (define, state) in buckets {
        buffer.clear();
        record::put_define(&mut buffer, at, &define);
        record::put_state(&mut buffer, at, &state);
        file.write_all(&buffer)?;
        at += buffer.len() as u64;
        count += 2;
    }
    buffer.clear();
    record::put_end(&mut buffer, at, count);
    file.write_all(&buffer)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&new, path_of(dir, "snapshot", position))?;
    File::open(dir)?.sync_all()?;
    for kind in ["journal", "snapshot"] {
        for old in list(dir, kind)?.into_iter().filter(|old| *old < position) {
            std::fs::remove_file(path_of(dir, kind, old))?;
        }
    }
    Ok(())
}
