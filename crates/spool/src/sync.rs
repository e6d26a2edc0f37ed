//! The thread that puts on disk what was written, and removes what was read, or keeps its file for another segment.
//!
//! It sleeps until something is dirty, waits for the interval or for somebody who is waiting, and then syncs everything
//! at once: all appends that arrive while a sync runs share the next one. Nothing else in a spool calls fsync.

use crate::log::{Log, Synced, Tail, When};
use crate::segment::spare;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Keeps the thread: the last handle of a spool to be dropped stops it, and waits for its final sync.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn start(log: Arc<Log>) -> io::Result<Self> {
        let of_thread = Arc::clone(&log);
        let thread = std::thread::Builder::new().name("spool-sync".into()).spawn(move || run(&of_thread))?;
        Ok(Self { log, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.log.request_sync(&mut self.log.lock(), When::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(spool.dir = %self.log.options.dir.display(), "the sync thread of a spool had died");
        }
    }
}

/// One round of work, taken from under the mutex.
struct Round {
    files: Vec<Arc<File>>,
    directory: bool,
    garbage: Vec<PathBuf>,
    end: u64,
    state: u64,
    state_changed: bool,
    last: bool,
}

fn run(log: &Log) {
    let mut synced = Synced::default();
    loop {
        let round = next_round(log, &synced);
        match sync(log, &round) {
            Ok(()) => {
                (synced.end, synced.state) = (round.end, round.state);
            }
            Err(Failed { path, error, file, unsynced }) => {
                let error_text: &dyn std::error::Error = &error;
                tracing::error!(error = error_text, path = %path.display(), "a spool could not be synced");
                log.counts.sync_errors.fetch_add(1, Ordering::Relaxed);
                synced.failures += 1;
                synced.error = Some(Arc::new((path, error)));
                // After a failed fsync the kernel may count lost pages as clean, so a later success says nothing about this
                // file. What follows goes into another.
                log.put_back(file.as_ref(), unsynced);
            }
        }
        for path in &round.garbage {
            if let Err(error) = let_go(log, path) {
                tracing::warn!(%error, path = %path.display(), "a segment that was read could not be removed");
            }
        }
        log.synced.send_replace(synced.clone());
        if round.last {
            return;
        }
    }
}

/// Keeps the file of a segment that was read, if it is as long as the next will be and none is kept: to write to pages that exist
/// costs half of what new ones do. Any other is removed.
fn let_go(log: &Log, path: &Path) -> io::Result<()> {
    let len = std::fs::metadata(path)?.len();
    let fits = (log.segment_bytes()..=2 * log.segment_bytes()).contains(&len);
    let mut tail = log.lock();
    if tail.spare || !fits || log.is_full(&tail) {
        drop(tail);
        return std::fs::remove_file(path);
    }
    std::fs::rename(path, spare(&log.options.dir))?;
    tail.spare = true;
    Ok(())
}

/// Waits for work.
fn next_round(log: &Log, synced: &Synced) -> Round {
    let idle = |tail: &mut Tail| tail.todo.when == When::Never;
    let tail = log.work.wait_while(log.lock(), idle).unwrap_or_else(PoisonError::into_inner);
    let patient = |tail: &mut Tail| tail.todo.when < When::Now;
    let (tail, _) = log
        .work
        .wait_timeout_while(tail, log.options.fsync_interval, patient)
        .unwrap_or_else(PoisonError::into_inner);
    take_round(tail, synced)
}

/// Takes what changed since the last sync.
fn take_round(mut tail: MutexGuard<'_, Tail>, synced: &Synced) -> Round {
    let mut files = std::mem::take(&mut tail.todo.closed);
    if tail.end != synced.end {
        files.extend(tail.active.clone());
    }
    let when = std::mem::take(&mut tail.todo.when);
    let (end, cursor) = (tail.end, tail.state.cursor.0);
    tail.ages.note(end, cursor, Instant::now());
    Round {
        files,
        directory: std::mem::take(&mut tail.todo.directory),
        garbage: std::mem::take(&mut tail.todo.garbage),
        end: tail.end,
        state: tail.state.sequence,
        state_changed: tail.state.sequence != synced.state,
        last: when == When::Stop,
    }
}

/// A sync that failed.
struct Failed {
    path: PathBuf,
    error: io::Error,
    /// The segment's file that it failed at, if it was one.
    file: Option<Arc<File>>,
    /// What the round did not get to.
    unsynced: Vec<Arc<File>>,
}

fn sync(log: &Log, round: &Round) -> Result<(), Failed> {
    let dir = &log.options.dir;
    for (at, file) in round.files.iter().enumerate() {
        file.sync_data().map_err(|error| Failed {
            path: dir.clone(),
            error,
            file: Some(Arc::clone(file)),
            unsynced: round.files[at + 1..].to_vec(),
        })?;
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Failed { path, error, file: None, unsynced: Vec::new() }
    };
    if round.directory {
        File::open(dir).and_then(|d| d.sync_all()).map_err(failed(dir))?;
    }
    if round.state_changed {
        log.state_file.sync().map_err(failed(log.state_file.path()))?;
    }
    Ok(())
}
