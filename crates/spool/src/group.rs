//! Records of many tasks in one write.
//!
//! The first task to come leads: it lets all others that are ready run first, and then writes what has gathered. A busy runtime
//! has tens of calls ending in one turn; each would otherwise pay for a system call of its own.

use crate::Position;
use crate::error::AppendError;
use crate::log::{Log, Prepared, When, rows};
use bytes::Bytes;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What has gathered since the last write.
#[derive(Debug, Default)]
pub(crate) struct Group {
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    record: Bytes,
    done: oneshot::Sender<Result<Position, AppendError>>,
}

/// Writes the group when it is dropped, be it that the leader's turn came or that the leader was cancelled.
struct Leader<'a> {
    group: &'a Group,
    log: &'a Log,
    /// Nobody is left to take the leader's own answer.
    has_left: bool,
}

impl Group {
    /// Returns the position after the group or, when the log did not take the group as a whole, what became of the record alone.
    pub(crate) async fn append(&self, log: &Log, record: Bytes) -> Result<Position, AppendError> {
        let (done, written) = oneshot::channel();
        let leads = {
            let mut waiting = self.lock();
            waiting.push(Waiting { record, done });
            waiting.len() == 1
        };
        if leads {
            let mut leader = Leader { group: self, log, has_left: true };
            tokio::task::yield_now().await;
            leader.has_left = false;
            drop(leader);
        }
        // The leader answers each before it is gone, unless it dies at it.
        let died =
            |_| Err(AppendError::io("append to", &log.options.dir)(io::Error::other("its writer died")));
        written.await.unwrap_or_else(died)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let group = std::mem::take(&mut *self.group.lock());
        let mut group = group.into_iter().map(|one| (one.record, one.done)).unzip::<_, _, Vec<_>, Vec<_>>();
        // The first record is the leader's own.
        let mut has_left = self.has_left;
        let mut done = group.1.drain(..);
        for row in rows(&group.0, Bytes::len) {
            let written = self.log.append_all(row.iter().map(Prepared::shared), When::Soon);
            for (record, done) in row.iter().zip(done.by_ref()) {
                // Of a row that was not taken as a whole, each gets the answer that is its own, here and now: its task may have
                // left, and then nobody else would count what became of it.
                let outcome = match &written {
                    Ok(end) => Ok(*end),
                    Err(_) => self.log.append(record),
                };
                // A task that has left meanwhile has its record in the log all the same, or its loss counted.
                let is_taken = outcome.is_ok();
                if (done.send(outcome).is_err() || std::mem::take(&mut has_left)) && !is_taken {
                    self.log.counts.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
