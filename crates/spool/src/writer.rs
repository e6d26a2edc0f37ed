//! The end that takes records.

use crate::error::AppendError;
use crate::group::Group;
use crate::log::{Prepared, Synced, Tail, When};
use crate::sync::Keeper;
use crate::{Position, segment::Segment};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Appends records, from any number of tasks and threads. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Writer {
    keeper: Arc<Keeper>,
    group: Arc<Group>,
}

/// What a spool holds, and what became of records since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of all segments.
    pub bytes: u64,
    /// The bound on `bytes`.
    pub max_bytes: u64,
    /// Bytes that the reader has not committed.
    pub pending_bytes: u64,
    /// How long the oldest of them has waited, to within seconds.
    pub oldest: Duration,
    /// Segment files.
    pub segments: u64,
    /// Records appended.
    pub records: u64,
    /// Records refused because the spool was full.
    pub refused: u64,
    /// Records dropped because the spool was full.
    pub dropped: u64,
    /// Records not taken of which nobody could be told, as their tasks had left; they are among the refused or the write errors, too.
    pub lost: u64,
    /// Damaged stretches that the reader skipped.
    pub corrupt: u64,
    /// Torn ends that were cut off when the spool was opened.
    pub torn: u64,
    /// Appends that the system refused.
    pub write_errors: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// Reads that failed and were tried again.
    pub read_errors: u64,
}

impl Writer {
    pub(crate) fn new(keeper: Arc<Keeper>) -> Self {
        Self { keeper, group: Arc::default() }
    }

    /// Appends a record. When this returns it is in the page cache and survives the end of the process; it reaches the
    /// disk within the fsync interval. Returns the position after it.
    ///
    /// Does not wait for the disk: fit for async code. A record that finds a full spool under [`crate::FullPolicy::DropAndCount`]
    /// is dropped, counted, and reported as a success.
    pub fn append(&self, record: &[u8]) -> Result<Position, AppendError> {
        self.keeper.log.append(record)
    }

    /// As [`Writer::append`], but a record that finds a full spool is refused whatever the policy.
    pub fn append_or_refuse(&self, record: &[u8]) -> Result<Position, AppendError> {
        let log = &self.keeper.log;
        let appended = log.append_all(std::iter::once(Prepared::new(record)), When::Soon);
        appended.inspect_err(|error| log.count_refused(1, error))
    }

    /// As [`Writer::append`], together with what other tasks append in the same turn of the runtime: one write for all of
    /// them. Under load a record costs a fraction of an append of its own; without load it waits for nobody.
    ///
    /// The record is handed over at the first poll, and is appended even if the future is dropped after it; one that is not
    /// taken then is counted in [`Stats::lost`], for nobody is left to be told.
    pub async fn append_grouped(&self, record: Bytes) -> Result<Position, AppendError> {
        self.group.append(&self.keeper.log, record).await
    }

    /// Appends records in a row and returns when they are on the disk, with the position after the last. Concurrent calls
    /// share an fsync. When the records do not all fit, none is taken, whatever the policy.
    ///
    /// An error says that not all are on the disk, not that none will ever be read.
    pub async fn append_durable(&self, records: &[&[u8]]) -> Result<Position, AppendError> {
        let failures = self.keeper.log.synced.borrow().failures;
        let log = &self.keeper.log;
        let end = log
            .append_all(records.iter().map(|record| Prepared::new(record)), When::Now)
            .inspect_err(|error| log.count_refused(records.len(), error))?;
        self.wait(failures, |synced| synced.end >= end.0).await?;
        Ok(end)
    }

    /// Returns when everything that was appended before is on the disk.
    pub async fn sync(&self) -> Result<(), AppendError> {
        let failures = self.keeper.log.synced.borrow().failures;
        let end = {
            let mut tail = self.keeper.log.lock();
            self.keeper.log.request_sync(&mut tail, When::Now);
            tail.end
        };
        self.wait(failures, |synced| synced.end >= end).await
    }

    async fn wait(&self, failures: u64, reached: impl Fn(&Synced) -> bool) -> Result<(), AppendError> {
        let outcome = wait_for(&self.keeper, failures, reached).await;
        outcome.map_err(|(path, source)| AppendError::Io { action: "sync", path, source })
    }

    /// Whether new work should be refused: less than an eighth (at most 64 MiB) of the bound is left, kept for the records of
    /// work that is already under way.
    pub fn is_full(&self) -> bool {
        self.keeper.log.is_full(&self.keeper.log.lock())
    }

    /// Finds out, after an append failed, whether the system takes writes again. Leaves nothing behind; a write of 64 KiB, so
    /// not to be called without need.
    pub fn probe(&self) -> Result<(), AppendError> {
        self.keeper.log.probe()
    }

    /// What the spool holds now.
    pub fn stats(&self) -> Stats {
        let log = &self.keeper.log;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let tail = log.lock();
        Stats {
            bytes: tail.bytes,
            max_bytes: log.options.max_bytes,
            pending_bytes: pending_bytes(&tail),
            oldest: tail.ages.oldest(tail.state.cursor.0).map_or(Duration::ZERO, |since| since.elapsed()),
            segments: tail.segments.len() as u64,
            records: tail.appended,
            refused: of(&log.counts.refused),
            dropped: of(&log.counts.dropped),
            lost: of(&log.counts.lost),
            corrupt: of(&log.counts.corrupt),
            torn: of(&log.counts.torn),
            write_errors: of(&log.counts.write_errors),
            sync_errors: of(&log.counts.sync_errors),
            read_errors: of(&log.counts.read_errors),
        }
    }
}

fn pending_bytes(tail: &Tail) -> u64 {
    let cursor = tail.state.cursor.0;
    let pending = |segment: &Segment| segment.end.saturating_sub(cursor.max(segment.first()));
    tail.segments.iter().map(pending).sum()
}

/// Waits until a sync has `reached` what the caller needs. `failures` is how many had failed before the caller wrote: one more,
/// and what it wrote may have been in it.
pub(crate) async fn wait_for(
    keeper: &Keeper,
    failures: u64,
    reached: impl Fn(&Synced) -> bool,
) -> Result<(), (std::path::PathBuf, io::Error)> {
    let mut synced = keeper.log.synced.subscribe();
    // The sender lives in the log, which the caller keeps: the channel cannot close.
    let Ok(synced) = synced.wait_for(|synced| synced.failures > failures || reached(synced)).await else {
        return Err((keeper.log.options.dir.clone(), io::Error::other("the spool was closed")));
    };
    match &synced.error {
        Some(error) if synced.failures > failures => {
            let (path, error) = error.as_ref();
            Err((path.clone(), io::Error::new(error.kind(), error.to_string())))
        }
        _ => Ok(()),
    }
}
