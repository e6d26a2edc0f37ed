//! Opening a directory: taking its lock, learning who it is, and making sense of what a crash left.
//!
//! Segments of an earlier life are never appended to. The last of them may be torn: what follows its last record is cut
//! off. The stream goes on behind everything that was ever promised (segments, cursor, intent), so no position has two meanings.

use crate::ages::Ages;
use crate::frame::{HEADER_LEN, Header, Identity, read_header};
use crate::log::{Counts, Log, Synced, Tail, When};
use crate::segment::{self, Limits, Records, Segment, spare};
use crate::state::{State, StateFile};
use crate::sync::Keeper;
use crate::{OpenError, Options, Position, Reader, Writer};
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// Records read at a time while the end of the last segment is sought.
const SCAN: Limits = Limits { records: usize::MAX, bytes: 4 << 20 };

pub(crate) fn open(options: Options) -> Result<(Writer, Reader), OpenError> {
    check(&options)?;
    let dir = options.dir.as_path();
    create(dir)?;
    let lock = lock(dir)?;
    let (state_file, state) = StateFile::open(dir)?;
    let mut segments = list(dir)?;
    let identity = match state {
        Some(state) => state.identity,
        None => find_identity(dir, &segments)?,
    };
    let mut state = state.unwrap_or(State { sequence: 0, identity, cursor: Position(0), intent: None });
    let counts = Counts::default();
    recover_last(dir, &mut segments, identity, &counts)?;
    let promised = state.intent.map_or(state.cursor, |(_, to)| to.max(state.cursor));
    let end = segments.back().map_or(0, |segment| segment.end).max(promised.0);
    let ages = ages(dir, &segments, state.cursor);
    let read = segments.iter().take_while(|segment| segment.end <= state.cursor.0).count();
    let garbage: Vec<_> = segments.drain(..read).map(|segment| segment.path(dir)).collect();
    // Whether there was a state or not: from here on there is one, or we could not keep a cursor either.
    state.sequence += 1;
    state_file.write(&state).map_err(OpenError::io("write", state_file.path()))?;
    let log = Arc::new(Log {
        identity,
        tail: Mutex::new(Tail::new(segments, end, state, spare(dir).exists())),
        work: Condvar::new(),
        data: Notify::new(),
        state_file,
        synced: watch::Sender::new(Synced::default()),
        counts,
        _lock: lock,
        options,
    });
    {
        let mut tail = log.lock();
        tail.todo.garbage = garbage;
        tail.ages = ages;
        log.request_sync(&mut tail, When::Soon);
    }
    let keeper =
        Keeper::start(Arc::clone(&log)).map_err(OpenError::io("start a thread for", &log.options.dir))?;
    let keeper = Arc::new(keeper);
    let reader = Reader::new(Arc::clone(&keeper), state.cursor);
    Ok((Writer::new(keeper), reader))
}

/// Creates the directory, and what it lies in. What is created is synced into what holds it: or else the first records could
/// be lost with the directory when the machine loses its power.
fn create(dir: &Path) -> Result<(), OpenError> {
    let holders = holders_of_missing(dir);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(OpenError::io("create", dir))?;
    for holder in holders {
        let synced = File::open(&holder).and_then(|holder| holder.sync_all());
        synced.map_err(OpenError::io("sync", &holder))?;
    }
    Ok(())
}

/// The directories that must be told of a new entry when `dir` is created.
fn holders_of_missing(dir: &Path) -> Vec<PathBuf> {
    let missing = dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let holder = |path: &Path| match path.parent() {
        Some(holder) if !holder.as_os_str().is_empty() => holder.to_owned(),
        _ => PathBuf::from("."),
    };
    missing.map(holder).collect()
}

/// When the records that are there were written, as far as their files tell.
fn ages(dir: &Path, segments: &VecDeque<Segment>, cursor: Position) -> Ages {
    let mut ages = Ages::default();
    for segment in segments {
        let written = std::fs::metadata(segment.path(dir)).and_then(|file| file.modified());
        let age = written.ok().and_then(|written| written.elapsed().ok()).unwrap_or_default();
        let now = Instant::now();
        ages.note(segment.end, cursor.0, now.checked_sub(age).unwrap_or(now));
    }
    ages
}

fn check(options: &Options) -> Result<(), OpenError> {
    let rules = [
        ("max_bytes", options.max_bytes, 64 * 1024, "at least 65536 bytes"),
        ("segment_bytes", options.segment_bytes, 4096, "at least 4096 bytes"),
    ];
    for (field, value, least, expected) in rules {
        if value < least {
            return Err(OpenError::InvalidOption { dir: options.dir.clone(), field, value, expected });
        }
    }
    Ok(())
}

/// Takes the directory's lock; the system frees it when the process ends, however it ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path)(error)),
    }
}

/// The segments by position, each as long as its file.
fn list(dir: &Path) -> Result<VecDeque<Segment>, OpenError> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(OpenError::io("list", dir))? {
        let entry = entry.map_err(OpenError::io("list", dir))?;
        let name = entry.file_name();
        if let Some(base) = name.to_str().and_then(Segment::base_of) {
            let len = entry.metadata().map_err(OpenError::io("inspect", &entry.path()))?.len();
            segments.push(Segment { base, end: base.saturating_add(len.max(HEADER_LEN as u64)) });
        }
    }
    segments.sort_by_key(|segment| segment.base);
    // No stretch of the stream has two files; should names say otherwise, the later one counts.
    for i in 1..segments.len() {
        segments[i - 1].end = segments[i - 1].end.min(segments[i].base);
    }
    Ok(segments.into())
}

/// The identity when the state file does not tell it: from a segment, or else a new one.
fn find_identity(dir: &Path, segments: &VecDeque<Segment>) -> Result<Identity, OpenError> {
    for segment in segments.iter().rev() {
        let path = segment.path(dir);
        let file = File::open(&path).map_err(OpenError::io("open", &path))?;
        if let Some(header) = header_of(&file) {
            return Ok(header.identity);
        }
    }
    getrandom::u64()
        .map(Identity)
        .map_err(|error| OpenError::io("draw an identity for", dir)(std::io::Error::other(error.to_string())))
}

/// The header at the beginning of `file`, if there is a sound one.
fn header_of(file: &File) -> Option<Header> {
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(&mut header, 0).ok()?;
    read_header(&header)
}

/// Cuts off what follows the last record of the last segment: what a crash has torn, or what a file that is used again held before.
fn recover_last(
    dir: &Path,
    segments: &mut VecDeque<Segment>,
    identity: Identity,
    counts: &Counts,
) -> Result<(), OpenError> {
    let Some(last) = segments.back_mut() else { return Ok(()) };
    let path = last.path(dir);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(OpenError::io("open", &path))?;
    let mut end = last.first();
    let mut position = end;
    while position < last.end {
        let mut found = Records::default();
        position = segment::read(&file, *last, identity, position, SCAN, &mut found)
            .map_err(OpenError::io("read", &path))?;
        end = end.max(found.after_last);
    }
    if end < last.end {
        if header_of(&file).is_none_or(|header| !header.is_reused) {
            tracing::warn!(path = %path.display(), bytes = last.end - end, "the torn end of a spool was cut off");
            counts.torn.fetch_add(1, Ordering::Relaxed);
        }
        last.end = end;
        file.set_len(last.len()).map_err(OpenError::io("cut the torn end of", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_that_gets_a_new_entry_is_synced() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dir = root.join("a/b");
        assert_eq!(holders_of_missing(&dir), [root.join("a"), root.to_owned()]);
        create(&dir).unwrap();
        assert!(dir.is_dir() && holders_of_missing(&dir).is_empty());
        assert_eq!(holders_of_missing(Path::new("not/there")), [PathBuf::from("not"), PathBuf::from(".")]);
    }
}
