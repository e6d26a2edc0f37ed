//! A durable first-in-first-out queue of byte records on disk, with one reader.
//!
//! The gateway spools what it must tell the collector, the collector what it must write to ClickHouse; both can then be
//! killed at any moment. [`Writer::append`] puts a record into the page cache, which outlives the process;
//! [`Writer::append_durable`] also waits for an fsync, which outlives the machine. The [`Reader`] hands out batches and
//! moves a durable cursor when the batch has been dealt with: every record is delivered at least once, in order.
//!
//! On disk: `DIR/lock` (one process a directory), `DIR/state` (identity, cursor, intent), segments named by the position of
//! their first byte, and `DIR/spare`, a segment's file that was read and will be used again. A position is an offset into one
//! endless stream. One that was promised (read past, or named in an intent) or that is on the disk is never used twice, not even
//! after a crash; one of records that a loss of power took before they were synced may be, as nobody knows of it.
//!
//! A record carries a checksum over its content, its position and the spool's random identity: a damaged record is skipped
//! and counted, and bytes inside of a record can never pass for a record.
//!
//! The life of a directory: [`Spool::open`] recovers it (module `recovery`), writers append to its newest segment (`log`),
//! many tasks with one write (`group`), a thread syncs and removes files (`sync`), the reader takes what is still in memory
//! (`recent`) or walks the segments (`reader`, `segment`, `frame`).

mod ages;
mod error;
mod frame;
mod group;
mod log;
mod metrics;
mod reader;
mod recent;
mod recovery;
mod segment;
mod state;
mod sync;
mod writer;

pub use error::{AppendError, CommitError, OpenError};
pub use metrics::Metrics;
pub use reader::{Batch, Reader};
pub use writer::{Stats, Writer};

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The longest record that is accepted, bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;

/// Where a spool lies and how large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory; created, for its owner only, when missing.
    pub dir: PathBuf,
    /// Most bytes of all segments together. The file of one that was read may be kept beside them, to be used again.
    pub max_bytes: u64,
    /// A segment is closed when it has grown beyond this many bytes; at most a quarter of `max_bytes` is used. Disk space is
    /// given back a segment at a time.
    pub segment_bytes: u64,
    /// Appended records reach the disk at the latest so much later: what a loss of power may cost.
    pub fsync_interval: Duration,
    /// What [`Writer::append`] does when `max_bytes` is reached.
    pub full: FullPolicy,
}

impl Options {
    /// A spool in `dir` with 4 GiB, segments of 64 MiB, an fsync every 100 ms, refusing when full.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 4 << 30,
            segment_bytes: 64 << 20,
            fsync_interval: Duration::from_millis(100),
            full: FullPolicy::Refuse,
        }
    }
}

/// What to do with a record that no longer fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FullPolicy {
    /// Tell the caller: [`AppendError::Full`].
    #[default]
    Refuse,
    /// Drop the record, count it in [`Stats::dropped`] and report success.
    DropAndCount,
}

/// A place in the stream of a spool: between two records. Later records have greater positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position(u64);

impl Position {
    /// The position as a number, to be put into names and tokens.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Opens spools.
#[derive(Debug)]
pub struct Spool;

impl Spool {
    /// Opens the spool in `options.dir`, and creates it when there is none. What a crash left behind is recovered: a torn
    /// end is cut off, and the reader stands at the last committed position.
    ///
    /// Blocks for the time of reading at most one segment. The last of the returned handles to be dropped syncs once more and
    /// frees the directory.
    pub fn open(options: Options) -> Result<(Writer, Reader), OpenError> {
        recovery::open(options)
    }
}

#[cfg(test)]
mod tests;
