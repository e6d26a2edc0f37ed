//! Why nothing was reserved.

use crate::Account;
use contracts::{Timestamp, Usd};
use std::time::Duration;

/// Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A limit would be passed.
    #[error(transparent)]
    Exhausted(Box<Exhausted>),
    /// Nobody can tell, and what nobody can tell is refused.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The account that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} of {}: {} of {} dollars left, expected at least {asked}",
    account.limit_name().replace('_', " "),
    account.subject,
    (account.limit - *spent - *held).max(Usd::ZERO),
    account.limit
)]
pub struct Exhausted {
    /// Which, with its limit.
    pub account: Account,
    /// Settled in this window.
    pub spent: Usd,
    /// Reserved for calls that are under way.
    pub held: Usd,
    /// What was asked for.
    pub asked: Usd,
    /// When it was asked.
    pub now: Timestamp,
    /// When the window ends.
    pub ends: Option<Timestamp>,
}

impl Exhausted {
    /// How long it takes until the window ends; `None` when it never does.
    pub fn wait(&self) -> Option<Duration> {
        self.ends.map(|ends| Duration::from_nanos(ends.nanos_since(self.now)))
    }
}

/// Why nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The journal on disk takes no records.
    #[error("the budget journal cannot be written")]
    Journal,
    /// Redis does not answer, and what was granted ahead of time (if anything) does not suffice.
    #[error("the shared budget ledger cannot be reached")]
    Redis,
    /// Redis lost its state or is new: it waits until every gateway that lives has said what it spent.
    #[error("the shared budget ledger was restarted and opens in {} ms", .0.as_millis())]
    Closed(Duration),
}

impl From<Box<Exhausted>> for Refused {
    fn from(exhausted: Box<Exhausted>) -> Self {
        Self::Exhausted(exhausted)
    }
}
