//! Whether a call that failed is tried again, and when.
//!
//! The budget is Finagle's and linkerd's: over the last ten seconds, retries are at most a share of the calls and a few a second
//! beside. When everything fails that share is all that retries add, and once the breakers have put everybody out not even that:
//! there is nobody to turn to. The wait grows exponentially with full jitter (Brooker, "Exponential Backoff And Jitter", 2015), but only
//! where the same deployment must be asked again; another one is asked at once.

use crate::choose::Rank;
use crate::outcome::Outcome;
use crate::pool::Pool;
use std::time::{Duration, Instant};

const MOST: usize = 16;

/// The deployments that a call has tried. One a call, handed to each of its picks.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    attempts: u32,
    slots: [u16; MOST],
    count: usize,
}

impl Tried {
    /// Tries so far, hedges not counted.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn has(&self, slot: usize) -> bool {
        self.slots.iter().take(self.count).any(|tried| usize::from(*tried) == slot)
    }

    pub(crate) fn add(&mut self, slot: usize, hedge: bool) {
        self.attempts += u32::from(!hedge);
        if !self.has(slot)
            && let (Some(place), Ok(slot)) = (self.slots.get_mut(self.count), u16::try_from(slot))
        {
            *place = slot;
            self.count += 1;
        }
    }
}

/// What becomes of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Pick again after this wait; what it tried is avoided.
    After(Duration),
    /// Let the client know, or fall back to another model.
    GiveUp(GiveUp),
}

/// Why a call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// Another try cannot help, or none is needed.
    Final,
    /// The client has the beginning of an answer already.
    Released,
    /// It has had its tries.
    Attempts,
    /// The pool has had its retries.
    Budget,
    /// It would come too late.
    Deadline,
    /// Nobody else is in, and asking those that are out would only add to their load.
    PoolDown,
    /// Everybody is to be left alone for longer than may be waited.
    RateLimited {
        /// For how long.
        retry_in: Duration,
    },
}

impl Pool {
    /// What becomes of a call whose last try ended as `outcome`. `released` says whether its client has seen any of an answer.
    pub fn after(
        &self,
        outcome: Outcome,
        tried: &Tried,
        released: bool,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Retry {
        if !outcome.may_retry() {
            return Retry::GiveUp(GiveUp::Final);
        }
        if released {
            return Retry::GiveUp(GiveUp::Released);
        }
        let mut inner = self.lock();
        let retries = &inner.policy.retries;
        if tried.attempts >= retries.max_attempts {
            return Retry::GiveUp(GiveUp::Attempts);
        }
        let doubled = retries.base_ms.saturating_mul(1 << tried.attempts.saturating_sub(1).min(16));
        let backoff = Duration::from_millis(doubled.min(retries.max_ms)).mul_f64(inner.rng.f64());
        let delay = match inner.survey(tried, true, now).best {
            Some(Rank::Lively) => Duration::ZERO,
            Some(Rank::Tried | Rank::Stalled | Rank::StalledTried) => backoff,
            Some(Rank::Out) => return Retry::GiveUp(GiveUp::PoolDown),
            None => {
                let most = Duration::from_millis(inner.policy.retries.honour_retry_after_ms);
                match inner.unavailable(now).retry_in() {
                    Some(retry_in) if retry_in <= most => retry_in + backoff,
                    Some(retry_in) => return Retry::GiveUp(GiveUp::RateLimited { retry_in }),
                    None => return Retry::GiveUp(GiveUp::PoolDown),
                }
            }
        };
        if deadline.is_some_and(|deadline| now + delay >= deadline) {
            return Retry::GiveUp(GiveUp::Deadline);
        }
        if inner.take_retry(now) { Retry::After(delay) } else { Retry::GiveUp(GiveUp::Budget) }
    }
}
