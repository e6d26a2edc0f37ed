//! The queue before a pool: bounded concurrency, three bands, and a fair share for every tenant.
//!
//! A call [enters](Queue::enter) with a [`Ticket`] and gets a [`Slot`], at once or after a wait, or is refused with a time after
//! which it is worth trying again. The slot ends when it is dropped, and the next call starts.
//!
//! - Within a band, tenants share by tokens: each has a virtual counter of the tokens that it was served, divided by its weight,
//!   and the one with the least goes next ("Fairness in Serving Large Language Models", Sheng et al., OSDI 2024). A tenant that
//!   comes back is lifted to the least of those that wait, so that nobody saves up. Input is charged when a call starts,
//!   together with the output that is expected; what it came to corrects the charge.
//! - Between bands the more urgent goes first. It keeps a few slots free from the more patient ones, whose long calls it would
//!   otherwise wait for, and they are sure of a few tokens, so that it cannot starve them.
//! - Without a limit of concurrency a call costs an atomic increment.
//!
//! A caller may stop waiting at any moment by dropping the future: it leaves no trace, and a slot that was on its way to it goes
//! to the next.

mod pace;
mod shares;
mod state;
mod view;

pub use view::{BandView, Refusals, TenantView, View};

use contracts::TenantId;
use contracts::policy::queue::{Band, Queue as Policy};
use state::{Arrival, Grant, Seat, State};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The queue of one pool; a clone is the same queue.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether there is no limit of concurrency.
    is_open: AtomicBool,
    /// Calls that came in while there was none.
    open_running: AtomicU64,
    state: Mutex<State>,
}

/// A call that wants to start.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Whose call it is.
    pub tenant: TenantId,
    /// The tenant's fair share, relative to others.
    pub weight: NonZeroU32,
    /// How urgent it is.
    pub band: Band,
    /// Tokens of input, counted or estimated.
    pub input_tokens: u64,
    /// Tokens of output that are expected; what the tenant's calls came to lately when it is not known. `max_tokens` is a poor
    /// guess: nearly all answers are far shorter.
    pub expected_output_tokens: Option<u64>,
    /// When it is no longer worth starting.
    pub deadline: Option<Instant>,
}

/// Why a call may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// As many calls wait as may wait.
    #[error("the queue is full")]
    Full,
    /// As many calls of the tenant wait as may wait.
    #[error("too many of the tenant's calls are waiting")]
    TenantFull,
    /// Its turn would come too late, as far as can be told when it comes.
    #[error("the wait would be about {} ms, longer than the call may wait", .expected.as_millis())]
    TooLate {
        /// How long it would have to wait.
        expected: Duration,
    },
    /// It waited for as long as it may.
    #[error("no slot became free within {} ms", .waited.as_millis())]
    TimedOut {
        /// How long it waited.
        waited: Duration,
    },
}

/// A call that may not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When the same call would get further if nothing else came: a place in the queue, or a slot in time. By the pace at which
    /// calls have been starting, so it is an estimate.
    pub retry_after: Duration,
}

impl Refused {
    /// Whether the tenant's own calls are in the way (429) rather than the pool's load (503).
    pub const fn is_own_fault(&self) -> bool {
        matches!(self.reason, Reason::TenantFull)
    }
}

/// The right to use the pool, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping a slot ends the call's turn"]
pub struct Slot {
    queue: Arc<Inner>,
    held: Held,
    /// Tokens of output so far, once any are known.
    output: Option<u64>,
}

/// What a slot gives back when it ends.
#[derive(Debug)]
enum Held {
    /// One of any number: the queue had no limit.
    Open,
    /// One of a limited number.
    Granted(Grant),
    /// It was given back already.
    Nothing,
}

/// How many tokens beyond what was expected may be charged together: counters need not follow every token.
const CHARGED_TOGETHER: u64 = 128;

impl Queue {
    /// A queue under `policy`.
    pub fn new(policy: &Policy) -> Self {
        Self(Arc::new(Inner {
            is_open: AtomicBool::new(policy.concurrency.is_none()),
            open_running: AtomicU64::new(0),
            state: Mutex::new(State::new(policy)),
        }))
    }

    /// Takes another policy. Calls that run and calls that wait stay; a lower concurrency is reached as calls end.
    pub fn update(&self, policy: &Policy) {
        let inner = &self.0;
        {
            let mut state = inner.state();
            state.set_policy(policy);
            inner.is_open.store(policy.concurrency.is_none(), Ordering::SeqCst);
        }
        inner.start_waiting(Instant::now());
    }

    /// Waits for a slot.
    pub async fn enter(&self, ticket: Ticket) -> Result<Slot, Refused> {
        let inner = &self.0;
        if inner.enter_open() {
            return Ok(Slot { queue: inner.clone(), held: Held::Open, output: None });
        }
        let now = Instant::now();
        let (seat, mut slot, until) = match inner.arrive(&ticket, now)? {
            Arrival::Starts(grant) => {
                return Ok(Slot { queue: inner.clone(), held: Held::Granted(grant), output: None });
            }
            Arrival::Waits { seat, slot, until } => (Waiting { queue: inner, seat: Some(seat) }, slot, until),
        };
        // What others leave free for a band ends with time, so there may be a slot that nobody was told of.
        inner.start_waiting(now);
        if let Ok(handed) = timeout_at(until, &mut slot).await {
            return seat.took(handed, now);
        }
        match seat.give_up(now) {
            Some(refused) => Err(refused),
            // It was called just now: the slot is on its way.
            None => Waiting { queue: inner, seat: None }.took(slot.await, now),
        }
    }

    /// How things stand.
    pub fn view(&self) -> View {
        let inner = &self.0;
        inner.state().view(inner.open_running.load(Ordering::SeqCst), Instant::now())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call in, unless concurrency is limited. In this order, so that either this call sees a limit that is being set
    /// or who sets it sees this call.
    fn enter_open(self: &Arc<Self>) -> bool {
        if !self.is_open.load(Ordering::Relaxed) {
            return false;
        }
        self.open_running.fetch_add(1, Ordering::SeqCst);
        if self.is_open.load(Ordering::SeqCst) {
            return true;
        }
        self.leave_open();
        false
    }

    fn leave_open(self: &Arc<Self>) {
        self.open_running.fetch_sub(1, Ordering::SeqCst);
        if !self.is_open.load(Ordering::SeqCst) {
            self.start_waiting(Instant::now());
        }
    }

    fn arrive(&self, ticket: &Ticket, now: Instant) -> Result<Arrival, Refused> {
        let mut state = self.state();
        state.arrive(ticket, self.open_running.load(Ordering::SeqCst), now)
    }

    /// Hands out slots for as long as there is one, and somebody who may have it.
    fn start_waiting(self: &Arc<Self>, now: Instant) {
        loop {
            let next = self.state().next(self.open_running.load(Ordering::SeqCst), now);
            let Some((waiter, grant)) = next else { return };
            let slot = Slot { queue: self.clone(), held: Held::Granted(grant), output: None };
            // Not under the lock: this wakes a task, and a slot that nobody takes any more comes back here.
            if let Err(mut unwanted) = waiter.send(slot)
                && let Held::Granted(grant) = std::mem::replace(&mut unwanted.held, Held::Nothing)
            {
                self.state().take_back(grant);
            }
        }
    }
}

/// A caller that waits; it gets up when it is dropped.
struct Waiting<'a> {
    queue: &'a Arc<Inner>,
    seat: Option<Seat>,
}

impl Waiting<'_> {
    fn took(
        mut self,
        handed: Result<Slot, oneshot::error::RecvError>,
        since: Instant,
    ) -> Result<Slot, Refused> {
        self.seat = None;
        // A waiter is only ever dropped by its caller, so this cannot fail.
        handed.map_err(|_closed| Refused {
            reason: Reason::TimedOut { waited: since.elapsed() },
            retry_after: Duration::ZERO,
        })
    }

    /// The refusal, unless a slot is on its way.
    fn give_up(mut self, since: Instant) -> Option<Refused> {
        let seat = self.seat.take()?;
        self.queue.state().time_out(&seat, since, Instant::now())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.queue.state().cancel(&seat);
        }
    }
}

impl Slot {
    /// How long the call waited for it.
    pub fn waited(&self) -> Duration {
        match &self.held {
            Held::Granted(grant) => grant.waited,
            Held::Open | Held::Nothing => Duration::ZERO,
        }
    }

    /// Tells of `output_tokens` more tokens of output. What goes beyond the expected is charged as it comes; at the end the
    /// charge becomes what was told, or stays what was expected when nothing was told.
    pub fn charge(&mut self, output_tokens: u64) {
        let output = self.output.unwrap_or(0).saturating_add(output_tokens);
        self.output = Some(output);
        if let Held::Granted(grant) = &mut self.held
            && output >= grant.charged_output.saturating_add(CHARGED_TOGETHER)
        {
            self.queue.state().charge(grant, output);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Open => self.queue.leave_open(),
            Held::Granted(grant) => {
                let now = Instant::now();
                let somebody_waits = self.queue.state().finish(grant, self.output, now);
                if somebody_waits {
                    self.queue.start_waiting(now);
                }
            }
            Held::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests;
