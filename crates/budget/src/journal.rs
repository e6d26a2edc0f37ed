//! What was spent, on disk: a snapshot, and the changes since.
//!
//! In the directory: `lock` (one process a directory), `instance` (who this gateway is, for as long as the directory lives),
//! `snapshot.POSITION`, and `journal.POSITION`, segments of one endless stream, named by the position of their first byte. A
//! snapshot counts with all segments from its position on.
//!
//! A change is one `write(2)` at a known offset: it outlives the process at once, and the machine from the next sync on. A
//! write that fails leaves nothing behind that counts, for the end does not move.
//!
//! A snapshot is taken while changes go on: each bucket is written with the position up to which changes are in it, and when it is
//! read, changes before that position are passed over. Only a reservation that was sent is in the journal: one that was not is
//! released by forgetting it.

mod files;
mod keeper;
pub(crate) mod record;

pub(crate) use files::Recovered;
pub(crate) use keeper::{Keeper, Source};

use crate::metrics::Metrics;
use record::{Define, Shift};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the journal lies and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOptions {
    /// The directory; created, for its owner only, when missing.
    pub dir: PathBuf,
    /// Changes reach the disk at the latest so much later: what a loss of power may cost. The end of the process costs nothing.
    pub fsync_interval: Duration,
    /// A snapshot takes the place of changes when they have grown beyond this many bytes.
    pub compact_bytes: u64,
    /// Whether books that are damaged are opened with what can be read of them: limits may be passed by what cannot.
    pub opens_damaged: bool,
}

impl JournalOptions {
    /// A journal in `dir`, with an fsync every 100 ms and a snapshot every 16 MiB (about 200,000 calls).
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            fsync_interval: Duration::from_millis(100),
            compact_bytes: 16 << 20,
            opens_damaged: false,
        }
    }
}

/// What became of calls whose gateway died before it knew what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenGatewayDies {
    /// They are charged in full: the provider may have billed them.
    #[default]
    Charge,
    /// They are released: limits may be passed by what they did cost.
    Release,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("budget journal {} is used by another process", .0.display())]
    InUse(PathBuf),
    /// Something of it is missing or is not what was written: nobody knows what was spent.
    #[error(
        "budget journal {} is damaged, so that nobody knows what was spent: expected what was written there; put back a copy, or set gateway.budgets.open_damaged for one start to go on with what can be read",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The system said no.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    options: JournalOptions,
    instance: Arc<str>,
    tail: Mutex<Tail>,
    /// Wakes the thread that syncs and compacts.
    work: Condvar,
    metrics: Arc<Metrics>,
    /// Held as long as the journal is open.
    _lock: File,
}

#[derive(Debug)]
struct Tail {
    file: Arc<File>,
    /// Position of the file's first byte.
    base: u64,
    /// Position of the next record.
    end: u64,
    is_dirty: bool,
    is_stopped: bool,
    /// The last write failed: the end of the disk, as a rule.
    is_broken: bool,
    buffer: Vec<u8>,
}

/// A change that could not be written.
#[derive(Debug)]
pub(crate) struct NotWritten;

impl Journal {
    /// Who this gateway is.
    pub(crate) fn instance(&self) -> &Arc<str> {
        &self.instance
    }

    /// Writes what buckets that the journal does not know yet are, then how `buckets` change. Returns the position up to which the
    /// journal now counts.
    pub(crate) fn append(
        &self,
        defines: impl Iterator<Item = Define>,
        shift: Shift,
        buckets: impl ExactSizeIterator<Item = record::BucketId>,
    ) -> Result<u64, NotWritten> {
        let mut guard = self.tail();
        let tail = &mut *guard;
        tail.buffer.clear();
        for define in defines {
            record::put_define(&mut tail.buffer, tail.end, &define);
        }
        record::put_shift(&mut tail.buffer, tail.end, shift, buckets);
        if let Err(error) = tail.file.write_all_at(&tail.buffer, tail.end - tail.base) {
            self.metrics.journal_errors.inc();
            if !std::mem::replace(&mut tail.is_broken, true) {
                tracing::error!(%error, dir = %self.options.dir.display(), "the budget journal cannot be written");
            }
            return Err(NotWritten);
        }
        tail.is_broken = false;
        tail.end += tail.buffer.len() as u64;
        if !std::mem::replace(&mut tail.is_dirty, true) {
            self.work.notify_one();
        }
        Ok(tail.end)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Nothing under the mutex panics half-way through a change.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
