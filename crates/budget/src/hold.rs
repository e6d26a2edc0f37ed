//! What a call holds of its accounts, from the reservation to the settlement.

use crate::account::SoftPassed;
use crate::books::{Books, Stake};
use crate::local;
use crate::metrics::Metrics;
use crate::refused::Refused;
use crate::shared;
use contracts::Usd;
use std::sync::Arc;

/// An amount that is reserved for one call.
///
/// [`Hold::dispatch`] before the first byte of the prompt leaves, then [`Hold::settle`], or [`Hold::release`] when nothing was
/// billed. One that is dropped gives back what it holds if nothing was sent; what was sent is charged in full, for nobody knows
/// what it cost.
#[derive(Debug, Default)]
#[must_use = "a hold that is dropped gives back what it holds"]
pub struct Hold {
    /// `None` when nothing is charged to anybody, and while a step is under way.
    pub(crate) live: Option<Live>,
    pub(crate) passed: Vec<SoftPassed>,
}

/// A stake, and whose it is.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) stake: Stake,
    pub(crate) keeper: Holder,
}

#[derive(Debug)]
pub(crate) enum Holder {
    Local(Arc<Books>),
    Shared(Arc<shared::Inner>),
}

/// What settling a hold tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Accounts whose soft limit is passed.
    pub passed: Vec<SoftPassed>,
}

impl Hold {
    /// How much is held.
    pub fn amount(&self) -> Usd {
        self.live.as_ref().map_or(Usd::ZERO, |live| live.stake.amount)
    }

    /// Whether any account is charged.
    pub fn is_charged(&self) -> bool {
        self.live.is_some()
    }

    /// Whether it may have been billed.
    pub fn is_dispatched(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.stake.is_dispatched)
    }

    /// Accounts whose soft limit was passed already when it was reserved.
    pub fn passed(&self) -> &[SoftPassed] {
        &self.passed
    }

    /// The prompt is about to be sent: from here on it may be billed. Does nothing the second time, so that it can stand before
    /// each attempt. When it is refused, nothing may be sent; the hold is as it was.
    pub async fn dispatch(&mut self) -> Result<(), Refused> {
        match &mut self.live {
            Some(live) if !live.stake.is_dispatched => match &live.keeper {
                Holder::Local(books) => Ok(local::dispatch(books, &mut live.stake)?),
                Holder::Shared(inner) => {
                    let inner = Arc::clone(inner);
                    inner.dispatch(&mut self.live).await
                }
            },
            _ => Ok(()),
        }
    }

    /// Holds `more`: a cascade goes on to a dearer model. When it is refused, the hold is as it was.
    pub async fn extend(&mut self, more: Usd) -> Result<(), Refused> {
        match &mut self.live {
            Some(live) if more > Usd::ZERO => match &live.keeper {
                Holder::Local(books) => local::extend(books, &mut live.stake, more),
                Holder::Shared(inner) => {
                    let inner = Arc::clone(inner);
                    inner.extend(&mut self.live, more).await
                }
            },
            _ => Ok(()),
        }
    }

    /// It cost `actual`: usually less than was held. What is more is charged as well, and counted as an overrun.
    ///
    /// Books and journal are changed before the first wait: dropping the future loses nothing but the answer.
    pub async fn settle(mut self, actual: Usd) -> Settled {
        let Some(Live { stake, keeper }) = self.live.take() else { return Settled::default() };
        let actual = actual.max(Usd::ZERO);
        let passed = match keeper {
            Holder::Local(books) => local::settle(&books, stake, actual),
            Holder::Shared(inner) => {
                let step = shared::Inner::settle(&inner, stake, actual);
                step.await
            }
        };
        Settled { passed }
    }

    /// Nothing was billed.
    pub fn release(mut self) {
        if let Some(live) = self.live.take() {
            live.end(Usd::ZERO);
        }
    }
}

impl Live {
    /// Ends it without waiting for an answer.
    pub(crate) fn end(self, actual: Usd) {
        match self.keeper {
            Holder::Local(books) => drop(local::settle(&books, self.stake, actual)),
            // What is told to Redis goes on by itself.
            Holder::Shared(inner) => drop(shared::Inner::settle(&inner, self.stake, actual)),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            let actual = if live.stake.is_dispatched { live.stake.amount } else { Usd::ZERO };
            if live.stake.is_dispatched {
                live.keeper.metrics().dropped.inc();
            }
            live.end(actual);
        }
    }
}

impl Holder {
    fn metrics(&self) -> &Metrics {
        match self {
            Self::Local(books) => &books.metrics,
            Self::Shared(inner) => inner.metrics(),
        }
    }
}
