//! A call under way at a deployment.

use crate::breaker::Ticket;
use crate::choose::Kind;
use crate::outcome::Outcome;
use crate::pool::Pool;
use contracts::policy::pool::Deployment;
use std::sync::Arc;
use std::time::Instant;

/// A call at a deployment, counted as outstanding until it is finished. Dropped without, it counts as cancelled.
#[derive(Debug)]
#[must_use = "a lease that is dropped is a call that was cancelled"]
pub struct Lease {
    pub(crate) pool: Arc<Pool>,
    pub(crate) slot: usize,
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) started: Instant,
    pub(crate) kind: Kind,
    pub(crate) ticket: Ticket,
    /// Its place among those that wait for a first byte.
    pub(crate) waiting: Option<u32>,
    pub(crate) panicked: bool,
    pub(crate) hedge: bool,
    pub(crate) finished: bool,
}

impl Lease {
    /// Where the call goes.
    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// When it was sent.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether it tries a deployment that is out.
    pub fn is_trial(&self) -> bool {
        self.ticket.trial
    }

    /// Whether it was chosen while too many were out, so that all counted as in.
    pub fn is_panic(&self) -> bool {
        self.panicked
    }

    /// Whether it is a second try beside another.
    pub fn is_hedge(&self) -> bool {
        self.hedge
    }

    /// The first byte of the body of a good answer came; a status that is an error is for [`finish`](Self::finish).
    pub fn first_byte(&mut self, now: Instant) {
        let pool = Arc::clone(&self.pool);
        pool.lock().first_byte(self, now);
    }

    /// The call is over. A success without a first byte had it now.
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        self.finished = true;
        let pool = Arc::clone(&self.pool);
        let mut inner = pool.lock();
        if outcome == Outcome::Success {
            inner.first_byte(&mut self, now);
        }
        inner.finish(&mut self, outcome, now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.finished {
            let pool = Arc::clone(&self.pool);
            pool.lock().abandon(self);
        }
    }
}
