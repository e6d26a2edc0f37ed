//! One ledger for callers, whichever keeps it.

use crate::account::{Accounts, Standing};
use crate::books::{Books, Unaccounted};
use crate::hold::Hold;
use crate::journal::{JournalOptions, OpenError, WhenGatewayDies};
use crate::local;
use crate::metrics::Metrics;
use crate::refused::{Refused, Unavailable};
use crate::shared::{Inner, OpenSharedError, RedisOptions};
use contracts::{Timestamp, Usd};
use std::sync::Arc;

/// Keeps accounts. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct Ledger {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Local(Arc<Books>),
    Shared(Arc<Inner>),
}

impl Ledger {
    /// A ledger of this machine alone. Nothing of it ever waits.
    pub fn local(journal: JournalOptions, when_gateway_dies: WhenGatewayDies) -> Result<Self, OpenError> {
        let books = Arc::new(Books::open(journal, when_gateway_dies)?);
        Ok(Self { kind: Kind::Local(books) })
    }

    /// A ledger that several gateways share through Redis. Redis may be away; it is tried again until it is there. `now` is the
    /// time of the gateway's clock. Must be called within a tokio runtime, which does what is to be done beside calls.
    pub async fn shared(
        journal: JournalOptions,
        when_gateway_dies: WhenGatewayDies,
        redis: RedisOptions,
        now: Timestamp,
    ) -> Result<Self, OpenSharedError> {
        let inner = Inner::open(journal, when_gateway_dies, redis, now).await?;
        Ok(Self { kind: Kind::Shared(inner) })
    }

    /// Takes `amount` of every account, or of none. `now` says which windows are charged. The limits of `accounts` hold, whatever
    /// they were before.
    pub async fn reserve(
        &self,
        accounts: &Arc<Accounts>,
        amount: Usd,
        now: Timestamp,
    ) -> Result<Hold, Refused> {
        if accounts.is_empty() {
            return Ok(Hold::default());
        }
        let amount = amount.max(Usd::ZERO);
        match &self.kind {
            Kind::Local(books) => local::reserve(books, accounts, amount, now),
            Kind::Shared(inner) => inner.reserve(accounts, amount, now).await,
        }
    }

    /// How the accounts stand at `now`.
    pub async fn read(&self, accounts: &Accounts, now: Timestamp) -> Result<Vec<Standing>, Unavailable> {
        match &self.kind {
            Kind::Local(books) => Ok(books.read(accounts, now)),
            Kind::Shared(inner) => inner.read(accounts, now).await,
        }
    }

    /// What this gateway itself has of the accounts at `now`, whoever else is charged to them.
    pub fn read_own(&self, accounts: &Accounts, now: Timestamp) -> Vec<Standing> {
        self.books().read(accounts, now)
    }

    /// Whether other gateways are charged to the same accounts.
    pub const fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Shared(_))
    }

    /// Tells the ledger that others share from another: the life of the Redis server that is connected, where one is.
    pub fn shared_id(&self) -> Option<String> {
        match &self.kind {
            Kind::Local(_) => None,
            Kind::Shared(inner) => inner.run_id(),
        }
    }

    /// Before the process ends, when no call is under way any more: gives back what was granted ahead of time. Without it, that is
    /// charged when the lease runs out.
    pub async fn close(&self) {
        match &self.kind {
            Kind::Local(_) => {}
            Kind::Shared(inner) => inner.close().await,
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.books().metrics
    }

    /// What was charged when the ledger was opened, for calls that an earlier process had sent and not settled.
    pub fn unaccounted(&self) -> &[Unaccounted] {
        self.books().unaccounted()
    }

    /// Cuts it off from Redis, or lets it find Redis again.
    #[cfg(test)]
    pub(crate) fn cut(&self, is_cut: bool) {
        if let Kind::Shared(inner) = &self.kind {
            inner.cut(is_cut);
        }
    }

    /// Groups that are known.
    #[cfg(test)]
    pub(crate) fn groups(&self) -> usize {
        self.books().groups().len()
    }

    fn books(&self) -> &Books {
        match &self.kind {
            Kind::Local(books) => books,
            Kind::Shared(inner) => &inner.books,
        }
    }
}
