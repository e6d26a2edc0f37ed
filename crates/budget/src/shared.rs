//! The ledger of several gateways: each keeps its own books, and Redis adds them up.
//!
//! In Redis, a bucket (one account in one window) is a hash: `spent` and `held` are the sums over all gateways, and for each
//! gateway G there are `s:G` settled, `d:G` sent, `u:G` reserved and not sent, `g:G` granted ahead of time. A reservation is one
//! script that compares the sums with the limits and adds to `u:G`; sending moves it to `d:G`, settling to `s:G`. All keys of a
//! group share a hash tag. Amounts are pairs of dollars and picodollars, which Lua's doubles hold exactly.
//!
//! Only the gateway itself changes what is its own, and its books say what that must be. So whenever there is doubt (an answer
//! was lost, the lease ran out, Redis came back with an older state or with none) it **joins** again: it puts all that is in its
//! books in the place of all that Redis knows of it, under a new session number. Steps of an older session that are still under
//! way are refused, and what was reserved in it must be reserved again before it is sent. What was settled while Redis was away
//! is told in the same way, also by a gateway that was killed meanwhile: its journal knows.
//!
//! **A gateway dies.** It renews a lease; when that runs out, others release what it had reserved and charge what it had sent
//! or been granted. When it comes back with its journal, its own numbers take the place of that.
//!
//! **Redis loses its state.** Its run id tells another life of the server (or another server, after a failover). Then everything
//! is refused for one lease, in which every gateway that lives joins again. Gateways see each other's numbers with every renewal
//! (a quarter of a lease), and bring back the share of those that do not join. What a gateway spent after it was last seen by
//! others, and before it died together with Redis' state, is in its journal only: until it comes back, limits may be passed by
//! that much. Where that must not be, Redis needs `appendonly yes`. A server that is new keeps closed for a lease as well.
//!
//! **Redis is away.** Everything is refused, or a gateway spends what it was granted ahead of time, until that or its lease is
//! used up. A grant of a gateway that does not come back is charged, for nobody knows whether it was spent.

mod beat;
mod client;
mod join;
mod keys;
mod steps;
mod wire;

use crate::OpenError;
use crate::account::{Accounts, Standing};
use crate::books::{Books, Stake};
use crate::hold::{Hold, Holder, Live};
use crate::journal::{JournalOptions, WhenGatewayDies};
use crate::metrics::Metrics;
use crate::refused::{Refused, Unavailable};
pub use client::redis_client;
use contracts::{Timestamp, Usd};
use keys::Keys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::Wire;

/// How several gateways share a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://HOST:PORT`, or `rediss://HOST:PORT` for TLS.
    pub url: String,
    /// PEM of the authorities that its certificate must come from; a public one without it.
    pub ca: Option<Box<[u8]>>,
    /// What all keys begin with.
    pub prefix: String,
    /// After so long a gateway that says nothing is taken for dead, and so long everything is refused after Redis lost its
    /// state. The same for all gateways.
    pub lease: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// What to do without Redis.
    pub when_redis_is_away: WhenRedisIsAway,
}

impl RedisOptions {
    /// Keys beginning with `ct:`, a lease of 10 s, answers within 500 ms, and nothing is spent without Redis.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca: None,
            prefix: "ct".to_owned(),
            lease: Duration::from_secs(10),
            timeout: Duration::from_millis(500),
            when_redis_is_away: WhenRedisIsAway::Refuse,
        }
    }
}

/// What a gateway does when Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenRedisIsAway {
    /// It refuses.
    #[default]
    Refuse,
    /// It spends what it was granted ahead of time, for three quarters of a lease at most.
    SpendGrant {
        /// Most that a gateway is granted of an account in a window, and an eighth of what is left at a time. Others cannot
        /// spend it.
        per_account: Usd,
    },
}

/// How a group stands with Redis.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Held while the group joins.
    joining: tokio::sync::Mutex<()>,
}

/// How a group's buckets are told to Redis. Under the lock of the group, together with the buckets.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The session in which they are told; 0 while there is none.
    session: u64,
    /// The connection that it was begun on.
    generation: u64,
    /// How often the books were read to be told as a whole.
    joins: u64,
    /// They were read, and Redis has not answered yet.
    is_joining: bool,
    /// Redis does not know of something that was sent out of a grant: it must be told as a whole.
    is_ahead: bool,
    /// When Redis was last asked to renew the lease, and did.
    renewed: Option<Instant>,
    /// Renewals since the group was last used.
    idle: u32,
}

/// What all users of a shared ledger share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) books: Arc<Books>,
    options: RedisOptions,
    when_gateway_dies: WhenGatewayDies,
    keys: Keys,
    wire: Wire,
    /// The number of the last session.
    sessions: AtomicU64,
    /// It takes no more calls, and no more grants.
    is_closing: AtomicBool,
    runtime: Handle,
}

/// Why a shared ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSharedError {
    /// Its books cannot.
    #[error(transparent)]
    Books(#[from] OpenError),
    /// The address is none.
    #[error("could not use the address of Redis")]
    Url(#[source] redis::RedisError),
}

impl Inner {
    /// Opens the books and tries to connect. Redis may be away: it is tried again and again, in a task that ends with the ledger.
    pub(crate) async fn open(
        journal: JournalOptions,
        when_gateway_dies: WhenGatewayDies,
        options: RedisOptions,
        now: Timestamp,
    ) -> Result<Arc<Self>, OpenSharedError> {
        let books = Arc::new(Books::open(journal, when_gateway_dies)?);
        books.is_now(now);
        let client = redis_client(&options.url, options.ca.as_deref()).map_err(OpenSharedError::Url)?;
        let wire = Wire::new(client, options.timeout, Arc::clone(&books.metrics));
        let keys = Keys::new(&options.prefix, books.journal.instance());
        // Sessions of a later life of this gateway are greater than those of an earlier one, if its clock does not go back; if it
        // does, Redis tells the last number.
        let sessions = AtomicU64::new(u64::try_from(now.unix_millis()).unwrap_or_default() * 1000);
        let (is_closing, runtime) = (AtomicBool::new(false), Handle::current());
        let inner =
            Arc::new(Self { books, options, when_gateway_dies, keys, wire, sessions, is_closing, runtime });
        inner.connect().await;
        inner.runtime.spawn(beat::run(Arc::downgrade(&inner), inner.options.lease));
        Ok(inner)
    }

    #[cfg(test)]
    pub(crate) fn cut(&self, is_cut: bool) {
        self.wire.cut(is_cut);
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.books.metrics
    }

    /// What this gateway is granted of an account, at most.
    fn grant(&self) -> Usd {
        match self.options.when_redis_is_away {
            WhenRedisIsAway::SpendGrant { per_account } if !self.is_closing.load(Ordering::Relaxed) => {
                per_account
            }
            WhenRedisIsAway::SpendGrant { .. } | WhenRedisIsAway::Refuse => Usd::ZERO,
        }
    }

    /// In a task of its own, so that a caller who leaves does not leave a step half done.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        accounts: &Arc<Accounts>,
        amount: Usd,
        now: Timestamp,
    ) -> Result<Hold, Refused> {
        let (inner, accounts) = (Arc::clone(self), Arc::clone(accounts));
        let task = self.runtime.spawn(async move { inner.reserve_now(&accounts, amount, now).await });
        let outcome = task.await.unwrap_or_else(|_ended| Err(Unavailable::Redis.into()));
        let metrics = self.metrics();
        match &outcome {
            Ok(_) => metrics.reserved.inc(),
            Err(refused) => count(metrics, refused),
        }
        outcome
    }

    /// In a task of its own, as [`Inner::reserve`].
    pub(crate) fn dispatch(self: &Arc<Self>, stake: Stake) -> Lent {
        let mut step = Step(Some(self.live(stake)), false);
        let inner = Arc::clone(self);
        self.lend(async move {
            let Some(live) = &mut step.0 else { return (step, Ok(())) };
            let outcome = inner.dispatch_now(&mut live.stake).await;
            if outcome.is_ok() {
                inner.metrics().dispatched.inc();
            }
            (step, outcome)
        })
    }

    /// In a task of its own, as [`Inner::reserve`].
    pub(crate) fn extend(self: &Arc<Self>, stake: Stake, more: Usd) -> Lent {
        let was_dispatched = stake.is_dispatched;
        let mut step = Step(Some(self.live(stake)), was_dispatched);
        let inner = Arc::clone(self);
        self.lend(async move {
            let Some(live) = &mut step.0 else { return (step, Ok(())) };
            let outcome = inner.extend_now(&mut live.stake, more).await;
            (step, outcome)
        })
    }

    fn live(self: &Arc<Self>, stake: Stake) -> Live {
        Live { stake, keeper: Holder::Shared(Arc::clone(self)) }
    }

    fn lend(self: &Arc<Self>, step: impl Future<Output = Ended> + Send + 'static) -> Lent {
        let inner = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let ended = step.await;
            if let Err(refused) = &ended.1 {
                count(inner.metrics(), refused);
            }
            ended
        });
        Lent { task, runtime: self.runtime.clone() }
    }

    /// The life of the server that is connected.
    pub(crate) fn run_id(&self) -> Option<String> {
        Some(self.wire.get()?.run.clone())
    }

    /// How the accounts stand for all gateways.
    pub(crate) async fn read(
        &self,
        accounts: &Accounts,
        now: Timestamp,
    ) -> Result<Vec<Standing>, Unavailable> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let connected = self.wire.get().ok_or(Unavailable::Redis)?;
        let spans = accounts.list().iter().map(|account| (account, account.window.span(now)));
        let keys = spans
            .clone()
            .map(|(account, span)| self.keys.bucket(accounts.group(), &account.id, account.window, span));
        let call = wire::Call { keys: keys.collect(), args: Vec::new() };
        let reply = self.wire.look(&connected, &self.wire.scripts.read, &call).await;
        let reply = reply.map_err(|_failed| Unavailable::Redis)?;
        let standing = |(i, (account, span)): (usize, (&crate::Account, _))| Standing {
            account: account.clone(),
            span,
            spent: wire::amount(reply.get(2 * i + 1)),
            held: wire::amount(reply.get(2 * i + 2)),
        };
        Ok(spans.enumerate().map(standing).collect())
    }
}

fn count(metrics: &Metrics, refused: &Refused) {
    match refused {
        Refused::Exhausted(_) => metrics.exhausted.inc(),
        Refused::Unavailable(_) => metrics.unavailable.inc(),
    }
}

/// How a step ended, and what was lent to it.
type Ended = (Step, Result<(), Refused>);

/// A stake that is lent to a step.
#[derive(Debug)]
pub(crate) struct Lent {
    task: JoinHandle<Ended>,
    runtime: Handle,
}

impl Lent {
    /// Waits for the end of the step. Not to be asked again after that.
    pub(crate) async fn back(&mut self) -> (Option<Live>, Result<(), Refused>) {
        match (&mut self.task).await {
            Ok((mut step, outcome)) => (step.0.take(), outcome),
            Err(_ended) => (None, Err(Unavailable::Redis.into())),
        }
    }

    /// The call has ended and cost `actual`: it is settled when the step is over.
    pub(crate) fn end(mut self, actual: Usd) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            if let (Some(live), _) = self.back().await {
                live.end(actual);
            }
        });
    }
}

/// What is lent to a step; nobody may be left to take it back. Then nothing was sent that had not been sent before.
#[derive(Debug)]
struct Step(Option<Live>, bool);

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(live) = self.0.take() {
            let actual = if self.1 { live.stake.amount } else { Usd::ZERO };
            live.end(actual);
        }
    }
}
