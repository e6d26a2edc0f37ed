//! Records of many tasks in one write.
//!
//! The first task to come leads: it lets all others that are ready run first, and then writes what has gathered. A busy runtime
//! has tens of calls ending in one turn; each would otherwise pay for a system call of its own.

use crate::Position;
use crate::log::{Log, Prepared, When, rows};
use bytes::Bytes;
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
    done: oneshot::Sender<Option<Position>>,
}

/// Writes the group when it is dropped, be it that the leader's turn came or that the leader was cancelled.
struct Leader<'a> {
    group: &'a Group,
    log: &'a Log,
}

impl Group {
    /// Returns the position after the group, or `None` when the log did not take it.
    pub(crate) async fn append(&self, log: &Log, record: Bytes) -> Option<Position> {
        let (done, written) = oneshot::channel();
        let leads = {
            let mut waiting = self.lock();
            waiting.push(Waiting { record, done });
            waiting.len() == 1
        };
        if leads {
            let leader = Leader { group: self, log };
            tokio::task::yield_now().await;
            drop(leader);
        }
        written.await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let group = std::mem::take(&mut *self.group.lock());
        let mut group = group.into_iter().map(|one| (one.record, one.done)).unzip::<_, _, Vec<_>, Vec<_>>();
        let mut done = group.1.drain(..);
        for row in rows(&group.0, Bytes::len) {
            let end = self.log.append_all(row.iter().map(Prepared::shared), When::Soon).ok();
            for done in done.by_ref().take(row.len()) {
                // A task that has left meanwhile has its record in the log all the same.
                let _ = done.send(end);
            }
        }
    }
}
