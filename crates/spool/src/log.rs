//! The shared middle of a spool: the segments, the end of the stream, and appending to it.
//!
//! One short mutex guards it. An append is one `write(2)` at a known offset under that mutex; a write that fails leaves
//! nothing behind that counts, for the end does not move.

use crate::ages::Ages;
use crate::error::AppendError;
use crate::frame::{FRAME_LEN, HEADER_LEN, Identity};
use crate::recent::Recent;
use crate::segment::{Segment, spare};
use crate::state::{State, StateFile};
use crate::{FullPolicy, MAX_RECORD_BYTES, Options, Position};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Contents up to this many bytes together are written with one call, from one buffer; a longer one is not copied.
const COPY_LIMIT: usize = 128 * 1024;

/// Bytes of a probe: more than a usual record, so that a disk with room for a last small write does not pass.
const PROBE: usize = 64 * 1024;

/// What writers, the reader and the sync thread share.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) tail: Mutex<Tail>,
    /// Wakes the sync thread.
    pub(crate) work: Condvar,
    /// Wakes the reader.
    pub(crate) data: Notify,
    pub(crate) state_file: StateFile,
    pub(crate) synced: watch::Sender<Synced>,
    pub(crate) counts: Counts,
    /// Held as long as the spool is open.
    pub(crate) _lock: File,
}

/// Counters since the spool was opened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) torn: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) sync_errors: AtomicU64,
    pub(crate) read_errors: AtomicU64,
}

/// How far the disk has got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Synced {
    /// Every byte before this position is on the disk.
    pub(crate) end: u64,
    /// The state of this sequence number is on the disk.
    pub(crate) state: u64,
    /// Failed attempts, and what the last of them said.
    pub(crate) failures: u64,
    pub(crate) error: Option<Arc<(PathBuf, std::io::Error)>>,
}

/// What the mutex guards.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Oldest first; `active`, if there is one, is the last of them.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) active: Option<Arc<File>>,
    /// Position of the next frame or, without an active segment, of the next segment.
    pub(crate) end: u64,
    /// Of all segments.
    pub(crate) bytes: u64,
    /// Since the spool was opened.
    pub(crate) appended: u64,
    pub(crate) state: State,
    /// The reader sleeps until the end reaches this position, or the count of appended records this number.
    pub(crate) wake_at: (u64, u64),
    pub(crate) todo: Todo,
    pub(crate) recent: Recent,
    pub(crate) ages: Ages,
    /// Whether there is a file to be used again.
    pub(crate) spare: bool,
    buffer: Vec<u8>,
}

/// What the sync thread is asked to do.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) when: When,
    /// A segment was created.
    pub(crate) directory: bool,
    /// Segments that were closed since the last sync.
    pub(crate) closed: Vec<Arc<File>>,
    /// Segments that nobody needs.
    pub(crate) garbage: Vec<PathBuf>,
}

/// When the sync thread is to work. The greater wish wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum When {
    /// There is nothing to do.
    #[default]
    Never,
    /// Within the interval.
    Soon,
    /// Somebody waits for it.
    Now,
    /// A last time, and then end.
    Stop,
}

impl Tail {
    pub(crate) fn new(segments: VecDeque<Segment>, end: u64, state: State, spare: bool) -> Self {
        let bytes = segments.iter().map(Segment::len).sum();
        Self {
            segments,
            active: None,
            end,
            bytes,
            appended: 0,
            state,
            wake_at: (u64::MAX, u64::MAX),
            todo: Todo::default(),
            recent: Recent::default(),
            ages: Ages::default(),
            spare,
            buffer: Vec::new(),
        }
    }

    /// Ends the active segment; the next append begins another.
    pub(crate) fn close_active(&mut self) {
        let Some(file) = self.active.take() else { return };
        // A file that is used again may be longer than what was written to it this time.
        let len = self.segments.back().map_or(0, Segment::len);
        if file.metadata().is_ok_and(|file| file.len() > len)
            && let Err(error) = file.set_len(len)
        {
            // The reader stops where the segment ends, and after a restart where the next one begins.
            tracing::warn!(%error, "a segment keeps what its file held before");
        }
        self.todo.closed.push(file);
    }
}

impl Log {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tail> {
        // Nothing under the mutex panics half-way through a change: the state is whole even if a holder died.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether new work should be refused: an eighth, at most 64 MiB, stays free for records of work that is under way.
    pub(crate) fn is_full(&self, tail: &Tail) -> bool {
        let reserve = (self.options.max_bytes / 8).min(64 << 20);
        tail.bytes.saturating_add(reserve) >= self.options.max_bytes
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.options.segment_bytes.min(self.options.max_bytes / 4)
    }

    /// Counts records that were refused because the spool is full.
    pub(crate) fn count_refused(&self, records: usize, error: &AppendError) {
        if matches!(error, AppendError::Full { .. }) {
            self.counts.refused.fetch_add(records as u64, Ordering::Relaxed);
        }
    }

    /// Appends one record. It is in the page cache when this returns, and will be synced within the interval.
    pub(crate) fn append(&self, record: &[u8]) -> Result<Position, AppendError> {
        // The checksum of the content is the costly part; it is taken before the mutex is.
        let record = Prepared::new(record)?;
        let mut tail = self.lock();
        if self.overflows(&tail, record.frame_len()) {
            let end = tail.end;
            let full = self.full_error(&tail);
            drop(tail);
            return match self.options.full {
                FullPolicy::Refuse => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    Err(full)
                }
                FullPolicy::DropAndCount => {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                    Ok(Position(end))
                }
            };
        }
        let appended = self.write(&mut tail, std::slice::from_ref(&record));
        self.announce(tail, When::Soon);
        appended
    }

    /// Appends records in a row, all or, when they do not all fit, none, whatever the policy: the caller wants to know, and
    /// counts. A single row of [`rows`] is written in full or not at all.
    pub(crate) fn append_all<'a>(
        &self,
        records: impl Iterator<Item = Result<Prepared<'a>, AppendError>>,
        sync: When,
    ) -> Result<Position, AppendError> {
        let prepared = records.collect::<Result<Vec<_>, _>>()?;
        let total = prepared.iter().map(Prepared::frame_len).sum();
        let mut tail = self.lock();
        if self.overflows(&tail, total) {
            return Err(self.full_error(&tail));
        }
        let mut appended = Ok(Position(tail.end));
        for row in rows(&prepared, |record| record.content.len()) {
            appended = self.write(&mut tail, row);
            if appended.is_err() {
                break;
            }
        }
        self.announce(tail, sync);
        appended
    }

    /// Whether `more` bytes of frames would go beyond the bound, a new segment's header included.
    fn overflows(&self, tail: &Tail, more: u64) -> bool {
        tail.bytes.saturating_add(more + HEADER_LEN as u64) > self.options.max_bytes
    }

    fn full_error(&self, tail: &Tail) -> AppendError {
        AppendError::Full {
            dir: self.options.dir.clone(),
            bytes: tail.bytes,
            max_bytes: self.options.max_bytes,
        }
    }

    /// Writes records at the end, in a new segment when the active one has grown enough.
    fn write(&self, tail: &mut Tail, row: &[Prepared<'_>]) -> Result<Position, AppendError> {
        let written = self.try_write(tail, row);
        if written.is_err() {
            self.counts.write_errors.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn try_write(&self, tail: &mut Tail, row: &[Prepared<'_>]) -> Result<Position, AppendError> {
        let mut from = tail.end;
        let (file, base) = self.active_segment(tail)?;
        let position = tail.end;
        let offset = position - base;
        let written = match row {
            [long] if long.content.len() > COPY_LIMIT => {
                let frame = self.identity.frame(position, long.len, long.hasher.clone());
                // The content first: a frame that begins with zeros is no frame, should we die in between.
                file.write_all_at(long.content, offset + FRAME_LEN as u64)
                    .and_then(|()| file.write_all_at(&frame, offset))
            }
            row => {
                tail.buffer.clear();
                for record in row {
                    let here = position + tail.buffer.len() as u64;
                    let frame = self.identity.frame(here, record.len, record.hasher.clone());
                    tail.buffer.extend_from_slice(&frame);
                    tail.buffer.extend_from_slice(record.content);
                }
                file.write_all_at(&tail.buffer, offset)
            }
        };
        if let Err(error) = written {
            // What was written in part lies beyond the end, where nobody reads; giving it back helps a full disk.
            if let Err(error) = file.set_len(offset) {
                tracing::warn!(%error, spool.dir = %self.options.dir.display(), "a failed write was not undone");
            }
            return Err(AppendError::io(
                "append to",
                &Segment { base, end: position }.path(&self.options.dir),
            )(error));
        }
        for record in row {
            tail.end += record.frame_len();
            if let Some(shared) = record.shared {
                tail.recent.push(from, tail.end, shared.clone());
            }
            from = tail.end;
        }
        tail.bytes += tail.end - position;
        tail.appended += row.len() as u64;
        if let Some(segment) = tail.segments.back_mut() {
            segment.end = tail.end;
        }
        Ok(Position(tail.end))
    }

    /// Writes beyond the end, where nobody reads, and takes it back. `Ok` means that an append of this size would do.
    pub(crate) fn probe(&self) -> Result<(), AppendError> {
        let mut tail = self.lock();
        let (file, base) = self.active_segment(&mut tail)?;
        let offset = tail.end - base;
        let written = file.write_all_at(&vec![0; PROBE], offset);
        let path = Segment { base, end: tail.end }.path(&self.options.dir);
        let undone = file.set_len(offset);
        // It may have begun a segment.
        self.request_sync(&mut tail, When::Soon);
        drop(tail);
        written.and(undone).map_err(AppendError::io("append to", &path))
    }

    /// The segment to append to, and its base; creates one when there is none with room.
    fn active_segment(&self, tail: &mut Tail) -> Result<(Arc<File>, u64), AppendError> {
        if let (Some(file), Some(segment)) = (&tail.active, tail.segments.back()) {
            if segment.len() < self.segment_bytes() {
                return Ok((Arc::clone(file), segment.base));
            }
            tail.close_active();
        }
        let base = tail.end;
        let segment = Segment { base, end: base + HEADER_LEN as u64 };
        let path = segment.path(&self.options.dir);
        let is_reused =
            std::mem::take(&mut tail.spare) && std::fs::rename(spare(&self.options.dir), &path).is_ok();
        // Otherwise truncated, for an attempt on a full disk may have left a piece of it.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!is_reused)
            .mode(0o600)
            .open(&path)
            .map_err(AppendError::io("create", &path))?;
        file.write_all_at(&self.identity.header(base, is_reused), 0)
            .map_err(AppendError::io("begin", &path))?;
        let file = Arc::new(file);
        tail.active = Some(Arc::clone(&file));
        tail.segments.push_back(segment);
        tail.end = segment.end;
        tail.bytes += segment.len();
        tail.todo.directory = true;
        Ok((file, base))
    }

    /// Tells the sync thread and, if it waits for this, the reader.
    fn announce(&self, mut tail: MutexGuard<'_, Tail>, sync: When) {
        let reader = tail.end >= tail.wake_at.0 || tail.appended >= tail.wake_at.1;
        if reader {
            tail.wake_at = (u64::MAX, u64::MAX);
        }
        self.request_sync(&mut tail, sync);
        drop(tail);
        if reader {
            self.data.notify_one();
        }
    }

    /// Ends the active segment after a failed sync. The file that it failed at is not to be synced again; the others are, and so
    /// is the directory, for the failure may have been its own.
    pub(crate) fn put_back(&self, failed: Option<&Arc<File>>, unsynced: Vec<Arc<File>>) {
        let mut tail = self.lock();
        tail.todo.directory = true;
        let active =
            tail.active.take().filter(|file| !failed.is_some_and(|failed| Arc::ptr_eq(failed, file)));
        let is_more = !unsynced.is_empty();
        tail.todo.closed.splice(0..0, unsynced);
        tail.todo.closed.extend(active);
        if is_more {
            self.request_sync(&mut tail, When::Soon);
        }
    }

    /// Asks for a sync.
    pub(crate) fn request_sync(&self, tail: &mut Tail, when: When) {
        if tail.todo.when < when {
            tail.todo.when = when;
            self.work.notify_one();
        }
    }
}

/// Cuts records into rows that are written with one call each: up to [`COPY_LIMIT`] bytes, or one longer record alone.
pub(crate) fn rows<T>(records: &[T], len: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = rest.iter().take_while(|record| {
            bytes += len(record);
            bytes <= COPY_LIMIT
        });
        let (row, after) = rest.split_at(fit.count().max(1).min(rest.len()));
        rest = after;
        (!row.is_empty()).then_some(row)
    })
}

/// A record of acceptable length, and the checksum of its content.
pub(crate) struct Prepared<'a> {
    content: &'a [u8],
    /// The same, if it can be kept for the reader.
    shared: Option<&'a Bytes>,
    len: u32,
    hasher: crc32fast::Hasher,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(content: &'a [u8]) -> Result<Self, AppendError> {
        let too_large = AppendError::TooLarge { len: content.len(), max: MAX_RECORD_BYTES };
        let len = u32::try_from(content.len()).ok().filter(|_| content.len() <= MAX_RECORD_BYTES);
        let Some(len) = len else { return Err(too_large) };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(content);
        Ok(Self { content, shared: None, len, hasher })
    }

    pub(crate) fn shared(content: &'a Bytes) -> Result<Self, AppendError> {
        Ok(Self { shared: Some(content), ..Self::new(content)? })
    }

    fn frame_len(&self) -> u64 {
        FRAME_LEN as u64 + u64::from(self.len)
    }
}
