//! The end that hands out records.

use crate::Position;
use crate::error::CommitError;
use crate::log::{Log, Tail, When};
use crate::segment::{self, Limits, Records, Segment};
use crate::state::State;
use crate::sync::Keeper;
use crate::writer::wait_for;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long to wait before a failed read is tried again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Records in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// In the order in which they were appended.
    pub records: Vec<Bytes>,
    /// Where the batch begins.
    pub from: Position,
    /// Where it ends: what to commit once it has been dealt with.
    pub to: Position,
}

/// Reads a spool, in order. There is one for each spool.
///
/// The reader runs ahead of its cursor: each [`Reader::next_batch`] follows on the one before, committed or not. After a
/// restart, or a [`Reader::rewind`], it begins again at the cursor.
#[derive(Debug)]
pub struct Reader {
    pub(crate) keeper: Arc<Keeper>,
    /// Where the next batch begins.
    position: Position,
    /// Damage before this position has been counted.
    counted: u64,
    /// Value of `Tail::appended` up to which records have been handed out, as far as that is known.
    seen: u64,
}

impl Reader {
    pub(crate) fn new(keeper: Arc<Keeper>, cursor: Position) -> Self {
        Self { keeper, position: cursor, counted: 0, seen: 0 }
    }

    /// The spool's random identity, the same for the life of the directory. Together with the positions of a batch it names
    /// the batch for ever, as a deduplication token must.
    pub fn identity(&self) -> u64 {
        self.log().identity.0
    }

    /// Waits for records, and returns at most `max_records` of them and `max_bytes` of content (but at least one record). When
    /// there are fewer, it waits up to `linger` for more to come. Safe to cancel: no record is lost.
    ///
    /// When the extent of a batch was persisted with [`Reader::set_intent`] and not committed, exactly that batch comes first.
    pub async fn next_batch(&mut self, max_records: usize, max_bytes: usize, linger: Duration) -> Batch {
        let limits = Limits { records: max_records, bytes: max_bytes };
        loop {
            let intent = self.pending_intent().filter(|(from, _)| *from == self.position);
            if intent.is_none() {
                self.wait_for_data(limits, linger).await;
            }
            let (limits, until) = match intent {
                Some((_, to)) => (Limits::NONE, to.0),
                None => (limits, u64::MAX),
            };
            match self.read(limits, until).await {
                Ok((batch, mut records)) => {
                    self.position = batch.to;
                    if intent.is_some() && batch.records.is_empty() && batch.to.0 < until {
                        // Of what was promised nothing is left, and what came later lies behind it.
                        records.damaged.push(batch.to.0);
                        self.position = Position(until);
                    }
                    self.count_damage(&records.damaged);
                    self.note_seen(batch.records.len());
                    if !batch.records.is_empty() {
                        return batch;
                    }
                }
                Err(error) => {
                    self.note_failed_read(&error);
                    sleep(READ_RETRY).await;
                }
            }
        }
    }

    /// Whether there is something that [`Reader::next_batch`] would return at once.
    pub fn has_data(&self) -> bool {
        has_data(&self.log().lock(), self.position)
    }

    /// Where the next batch begins.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Up to where records have been dealt with.
    pub fn cursor(&self) -> Position {
        self.log().lock().state.cursor
    }

    /// Goes back to the cursor: what was handed out and not committed is handed out again.
    pub fn rewind(&mut self) {
        self.position = self.cursor();
        self.seen = 0;
    }

    /// Moves the cursor: everything before `to` has been dealt with and is not handed out again. Clears an intent that ends
    /// there, and gives back the disk space of whole segments.
    ///
    /// The cursor survives the process at once and the machine after the fsync interval. One that is lost with the machine only
    /// repeats records. Moving it backwards does nothing.
    pub fn commit(&mut self, to: Position) -> Result<(), CommitError> {
        let log = self.log();
        let mut guard = log.lock();
        let tail = &mut *guard;
        let to = to.min(Position(tail.end));
        if to <= tail.state.cursor {
            return Ok(());
        }
        let intent = tail.state.intent.filter(|(_, end)| *end > to);
        put_state(log, tail, State { cursor: to, intent, ..tail.state })?;
        // What was read to its end and is wanted by nobody goes, even the active segment once space is short.
        if tail.end <= to.0 && log.is_full(tail) {
            tail.close_active();
        }
        let closed = tail.segments.len() - usize::from(tail.active.is_some());
        let done = tail.segments.iter().take(closed).take_while(|segment| segment.end <= to.0).count();
        for segment in tail.segments.drain(..done) {
            tail.bytes -= segment.len();
            tail.todo.garbage.push(segment.path(&log.options.dir));
        }
        log.request_sync(tail, When::Soon);
        Ok(())
    }

    /// The extent of the batch that was about to be sent when the process ended, if it was not committed.
    pub fn pending_intent(&self) -> Option<(Position, Position)> {
        self.log().lock().state.intent
    }

    /// Puts on disk that the batch `from..to` is about to be sent, so that after a crash [`Reader::next_batch`] returns exactly
    /// this batch again and whoever receives it can tell that it is the same. Returns when it is durable.
    pub async fn set_intent(&mut self, from: Position, to: Position) -> Result<(), CommitError> {
        let log = self.log();
        let failures = log.synced.borrow().failures;
        let sequence = {
            let mut tail = log.lock();
            let state = State { intent: Some((from, to)), ..tail.state };
            put_state(log, &mut tail, state)?;
            log.request_sync(&mut tail, When::Now);
            tail.state.sequence
        };
        wait_for(&self.keeper, failures, |synced| synced.state >= sequence)
            .await
            .map_err(|(path, source)| CommitError { path, source })
    }

    fn log(&self) -> &Log {
        &self.keeper.log
    }

    /// Returns when there is data, and then either enough of it or after `linger`.
    async fn wait_for_data(&self, limits: Limits, linger: Duration) {
        let log = self.log();
        loop {
            {
                let mut tail = log.lock();
                if has_data(&tail, self.position) {
                    break;
                }
                tail.wake_at = (tail.end + 1, u64::MAX);
            }
            log.data.notified().await;
        }
        let enough_bytes = self.position.0.saturating_add(limits.bytes as u64);
        let enough_records = self.seen.saturating_add(limits.records as u64);
        let enough = async {
            loop {
                {
                    let mut tail = log.lock();
                    if tail.end >= enough_bytes || tail.appended >= enough_records {
                        break;
                    }
                    tail.wake_at = (enough_bytes, enough_records);
                }
                log.data.notified().await;
            }
        };
        // Either is fine: enough, or as much as there is.
        let _ = timeout(linger, enough).await;
    }

    /// Takes what is in memory from the position on, or else reads, off the async threads. To `until` at most.
    async fn read(&self, limits: Limits, until: u64) -> io::Result<(Batch, Records)> {
        let keeper = Arc::clone(&self.keeper);
        let from = self.position;
        let recent = if until == u64::MAX { keeper.log.lock().recent.take(from.0, limits) } else { None };
        let (mut records, to) = match recent {
            Some(taken) => taken,
            None => tokio::task::spawn_blocking(move || read_batch(&keeper.log, from.0, limits, until))
                .await
                .map_err(io::Error::other)??,
        };
        let batch = Batch { records: std::mem::take(&mut records.contents), from, to: Position(to) };
        Ok((batch, records))
    }

    fn note_failed_read(&self, error: &io::Error) {
        let dir = self.log().options.dir.display();
        tracing::error!(%error, spool.dir = %dir, "a spool could not be read; trying again");
        self.log().counts.read_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts damage once, however often it is read.
    fn count_damage(&mut self, damaged: &[u64]) {
        let new = damaged.iter().filter(|position| **position >= self.counted).count() as u64;
        if new > 0 {
            let dir = self.log().options.dir.display();
            tracing::error!(spool.dir = %dir, stretches = new, "damaged records of a spool were skipped");
            self.log().counts.corrupt.fetch_add(new, Ordering::Relaxed);
        }
        self.counted = self.counted.max(self.position.0);
    }

    /// Keeps count of records handed out. What was there when the spool was opened was never counted, so the count is set right
    /// whenever the reader has caught up.
    fn note_seen(&mut self, records: usize) {
        let (caught_up, appended) = {
            let tail = self.log().lock();
            (!has_data(&tail, self.position), tail.appended)
        };
        let seen = self.seen.saturating_add(records as u64).min(appended);
        self.seen = if caught_up { appended } else { seen };
    }
}

/// Writes the next state, and takes it over once it is written.
fn put_state(log: &Log, tail: &mut Tail, state: State) -> Result<(), CommitError> {
    let state = State { sequence: tail.state.sequence + 1, ..state };
    log.state_file
        .write(&state)
        .map_err(|source| CommitError { path: log.state_file.path().to_owned(), source })?;
    tail.state = state;
    Ok(())
}

fn has_data(tail: &Tail, position: Position) -> bool {
    tail.segments.back().is_some_and(|last| last.end > position.0.max(last.first()))
        || tail.segments.iter().rev().skip(1).any(|segment| segment.end > position.0.max(segment.first()))
}

/// Reads a batch across segments; says where it ends.
fn read_batch(log: &Log, from: u64, limits: Limits, until: u64) -> io::Result<(Records, u64)> {
    let mut out = Records::default();
    let mut position = from;
    while position < until && !limits.reached(&out, 0) {
        let Some(segment) = segment_at(log, position).filter(|segment| segment.base < until) else { break };
        let part = Segment { end: segment.end.min(until), ..segment };
        let path = segment.path(&log.options.dir);
        position = match File::open(&path) {
            Ok(file) => segment::read(&file, part, log.identity, position, limits, &mut out)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody removed it; waiting would not bring it back.
                out.damaged.push(position);
                part.end
            }
            Err(error) => return Err(error),
        };
        if position < part.end {
            break;
        }
    }
    Ok((out, position))
}

/// The first segment with something at or after `position`.
fn segment_at(log: &Log, position: u64) -> Option<Segment> {
    let tail = log.lock();
    let next = tail.segments.partition_point(|segment| segment.end <= position);
    tail.segments.get(next).copied()
}
