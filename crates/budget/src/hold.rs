//! What a call holds of its accounts, from the reservation to the settlement.

use crate::account::SoftPassed;
use crate::books::{Books, Stake};
use crate::local;
use crate::metrics::Metrics;
use crate::refused::Refused;
use crate::shared::{self, Lent};
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
    /// The step that is under way, or whose end nobody waited for.
    pub(crate) lent: Option<Lent>,
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
        self.live.is_some() || self.lent.is_some()
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
        self.ready().await;
        match self.live.take_if(|live| !live.stake.is_dispatched) {
            None => Ok(()),
            Some(Live { mut stake, keeper: Holder::Local(books) }) => {
                let outcome = local::dispatch(&books, &mut stake);
                self.live = Some(Live { stake, keeper: Holder::Local(books) });
                Ok(outcome?)
            }
            Some(Live { stake, keeper: Holder::Shared(inner) }) => {
                self.lent = Some(inner.dispatch(stake));
                self.take_back().await
            }
        }
    }

    /// Holds `more`: a cascade goes on to a dearer model. When it is refused, the hold is as it was.
    pub async fn extend(&mut self, more: Usd) -> Result<(), Refused> {
        self.ready().await;
        match self.live.take_if(|_| more > Usd::ZERO) {
            None => Ok(()),
            Some(Live { mut stake, keeper: Holder::Local(books) }) => {
                let outcome = local::extend(&books, &mut stake, more);
                self.live = Some(Live { stake, keeper: Holder::Local(books) });
                outcome
            }
            Some(Live { stake, keeper: Holder::Shared(inner) }) => {
                self.lent = Some(inner.extend(stake, more));
                self.take_back().await
            }
        }
    }

    /// Waits for a step whose caller left before its end, however it ended.
    async fn ready(&mut self) {
        if self.lent.is_some() {
            let _nobody_asks = self.take_back().await;
        }
    }

    /// Waits for the step that is under way, and takes back what was lent to it. Who leaves meanwhile leaves it where it is.
    async fn take_back(&mut self) -> Result<(), Refused> {
        let Some(lent) = &mut self.lent else { return Ok(()) };
        let (live, outcome) = lent.back().await;
        (self.live, self.lent) = (live, None);
        outcome
    }

    /// It cost `actual`: usually less than was held. What is more is charged as well, and counted as an overrun.
    ///
    /// Books and journal are changed before the first wait: dropping the future loses nothing but the answer.
    pub async fn settle(mut self, actual: Usd) -> Settled {
        if let Some(lent) = self.lent.take() {
            lent.end(actual.max(Usd::ZERO));
        }
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

    /// Nobody knows what it cost: as when it is dropped, all that is held is charged if it may have been billed, and nothing otherwise.
    pub async fn settle_unknown(mut self) -> Settled {
        self.ready().await;
        let all = if self.is_dispatched() { self.amount() } else { Usd::ZERO };
        if let Some(live) = self.live.as_ref().filter(|live| live.stake.is_dispatched) {
            live.keeper.metrics().dropped.inc();
        }
        self.settle(all).await
    }

    /// Nothing was billed.
    pub fn release(mut self) {
        if let Some(lent) = self.lent.take() {
            lent.end(Usd::ZERO);
        }
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
