//! Rate plans, held.
//!
//! A call is [admitted](Rates::admit) under the plans of all its subjects, such as its tenant and its key, or refused; a refusal has
//! taken nothing from any of them. Each limit is a bucket that holds a second's or a minute's worth and fills evenly. So the whole
//! minute's quota may come at once, as at OpenAI, and over any longer time the rate holds; this is the generic cell rate algorithm,
//! kept as a level instead of as a time. It is our own rather than a crate's because limits are taken all or none, tokens are
//! corrected when a call ends, and a bucket changes its size without forgetting.
//!
//! Tokens are estimated before the call and settled after it. A call that came to more than was estimated may leave its bucket in
//! debt, which is paid back before the next call.

mod bucket;
mod headers;
mod meter;

pub use headers::{Standing, Window};

use contracts::policy::Named;
use contracts::policy::plan::Plan;
use contracts::{KeyId, TenantId};
use meter::{Meter, Took};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// Who has a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A tenant.
    Tenant(TenantId),
    /// A key.
    Key(KeyId),
}

/// Which limit of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// `requests_per_second`
    RequestsPerSecond,
    /// `requests_per_minute`
    RequestsPerMinute,
    /// `tokens_per_minute`
    TokensPerMinute,
    /// `concurrent_requests`
    ConcurrentRequests,
}

/// Why a call may not start now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} is over its limit of {size} {limit}")]
pub struct Refusal {
    /// Whose limit.
    pub subject: Subject,
    /// Which limit: of all that refuse, the one that does so longest.
    pub limit: LimitKind,
    /// Its size.
    pub size: u64,
    /// When the same call would be admitted if nothing else came; None when it never would, being larger than the limit. Exact for
    /// rates; for concurrent calls, whose end nobody knows, from how long they took lately.
    pub retry_after: Option<Duration>,
    /// Where the subjects stand.
    pub standing: Standing,
}

/// A soft limit that a call went beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftLimit {
    /// Whose limit.
    pub subject: Subject,
    /// Which limit.
    pub limit: LimitKind,
    /// Its size.
    pub size: u64,
}

/// The state of all plans.
#[derive(Debug)]
pub struct Rates {
    shards: [RwLock<HashMap<Subject, Arc<Account>>>; 16],
    hasher: RandomState,
    epoch: Instant,
}

/// One subject's state.
#[derive(Debug)]
struct Account(Mutex<Meter>);

/// The right to run one call; it counts as running until it is dropped. Unless [settled](Self::settle), it costs what was estimated.
#[derive(Debug)]
#[must_use = "dropping a permit ends the call"]
pub struct Permit {
    holds: Vec<Hold>,
    standing: Standing,
    over_soft: Vec<SoftLimit>,
    epoch: Instant,
    began: u64,
    /// What is charged now.
    tokens: u64,
}

#[derive(Debug)]
struct Hold {
    account: Arc<Account>,
    took: Took,
}

/// A subject of a call, with its plan.
pub type Planned<'a> = (&'a Subject, &'a Arc<Named<Plan>>);

impl Rates {
    /// Nobody has used anything; times given later are no earlier than `now`.
    pub fn new(now: Instant) -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), epoch: now }
    }

    /// Admits a call that is estimated to need `tokens`, input and output, if the plans of all `subjects` allow it. Subjects without
    /// a plan are left out. A plan that differs from the subject's last one is taken on: what was used under the old one counts.
    pub fn admit(&self, subjects: &[Planned<'_>], tokens: u64, now: Instant) -> Result<Permit, Refusal> {
        let is_in_order = subjects.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_in_order {
            // Locks are taken in this order, each once.
            let mut sorted = subjects.to_vec();
            sorted.sort_by_key(|(subject, _)| *subject);
            sorted.dedup_by_key(|(subject, _)| *subject);
            return self.admit(&sorted, tokens, now);
        }
        let began = self.nanos(now);
        let mut permit = Permit {
            holds: Vec::with_capacity(subjects.len()),
            standing: Standing::default(),
            over_soft: Vec::new(),
            epoch: self.epoch,
            began,
            tokens,
        };
        match self.admit_rest(subjects, tokens, began, None, &mut permit) {
            None => Ok(permit),
            Some(blocked) => Err(Refusal { standing: std::mem::take(&mut permit.standing), ..blocked }),
        }
    }

    /// Checks the first of `subjects` and, with its lock held, the others; takes when none objects.
    fn admit_rest(
        &self,
        subjects: &[Planned<'_>],
        tokens: u64,
        now: u64,
        blocked: Option<Refusal>,
        permit: &mut Permit,
    ) -> Option<Refusal> {
        let Some(((subject, plan), rest)) = subjects.split_first() else { return blocked };
        if !plan.limits_calls() {
            return self.admit_rest(rest, tokens, now, blocked, permit);
        }
        let account = self.account(subject, plan, now);
        let mut meter = account.meter();
        meter.adopt(plan, now);
        let own = meter.blocked(tokens, now).map(|own| Refusal {
            subject: (*subject).clone(),
            limit: own.limit,
            size: own.size,
            retry_after: own.wait.map(Duration::from_nanos),
            standing: Standing::default(),
        });
        let refusal = self.admit_rest(rest, tokens, now, longest(blocked, own), permit);
        if refusal.is_none() {
            let took = meter.take(tokens, |limit, size| {
                permit.over_soft.push(SoftLimit { subject: (*subject).clone(), limit, size });
            });
            permit.holds.push(Hold { account: account.clone(), took });
        }
        permit.standing = permit.standing.tighter(&meter.standing());
        refusal
    }

    /// Where a subject stands, and how many of its calls run; None when it has not called for a while.
    pub fn standing(&self, subject: &Subject, now: Instant) -> Option<(Standing, u32)> {
        let account = read(self.shard(subject)).get(subject).cloned()?;
        let mut meter = account.meter();
        meter.refill(self.nanos(now));
        Some((meter.standing(), meter.running()))
    }

    /// Everybody who is remembered: the plan, where it stands, and how many calls run.
    pub fn all(&self, now: Instant) -> Vec<(Subject, Arc<Named<Plan>>, Standing, u32)> {
        let now = self.nanos(now);
        let mut all = Vec::new();
        for shard in &self.shards {
            let accounts: Vec<_> =
                read(shard).iter().map(|(s, account)| (s.clone(), account.clone())).collect();
            all.extend(accounts.into_iter().map(|(subject, account)| {
                let mut meter = account.meter();
                meter.refill(now);
                (subject, meter.plan().clone(), meter.standing(), meter.running())
            }));
        }
        all
    }

    /// Forgets subjects of which nothing is left to remember: no call runs and every bucket is full. Call it now and then.
    pub fn sweep(&self, now: Instant) {
        let now = self.nanos(now);
        for shard in &self.shards {
            let mut accounts = shard.write().unwrap_or_else(PoisonError::into_inner);
            // Who holds an account besides the map took it under this lock, so nobody takes it meanwhile.
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.meter().is_at_rest(now));
        }
    }

    /// Subjects that are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn account(&self, subject: &Subject, plan: &Arc<Named<Plan>>, now: u64) -> Arc<Account> {
        let shard = self.shard(subject);
        if let Some(known) = read(shard).get(subject) {
            return known.clone();
        }
        let mut accounts = shard.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Account(Mutex::new(Meter::new(plan, now))));
        accounts.entry(subject.clone()).or_insert_with(new).clone()
    }

    fn shard(&self, subject: &Subject) -> &RwLock<HashMap<Subject, Arc<Account>>> {
        let hash = self.hasher.hash_one(subject);
        &self.shards[usize::from(hash.to_le_bytes()[0]) % self.shards.len()]
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(self.epoch, now)
    }
}

impl Permit {
    /// Where the subjects stand now that this call is counted: the tightest of their limits.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// `x-ratelimit-*` for the answer.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.standing.headers()
    }

    /// The soft limits that this call went beyond: those that would have refused it had they been hard.
    pub fn over_soft(&self) -> &[SoftLimit] {
        &self.over_soft
    }

    /// The call needed `tokens`, input and output. May be told again when more is known; a call that was never sent is settled
    /// with 0.
    pub fn settle(&mut self, tokens: u64) {
        if tokens == self.tokens {
            return;
        }
        let now = nanos(self.epoch, Instant::now());
        for hold in &mut self.holds {
            hold.account.meter().settle(&mut hold.took, self.tokens, tokens, now);
        }
        self.tokens = tokens;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.holds.is_empty() {
            return;
        }
        let took = nanos(self.epoch, Instant::now()).saturating_sub(self.began);
        for hold in &self.holds {
            hold.account.meter().end(took);
        }
    }
}

impl Account {
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

/// The refusal that lasts longer.
fn longest(one: Option<Refusal>, other: Option<Refusal>) -> Option<Refusal> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let length = |refusal: &Refusal| refusal.retry_after.unwrap_or(Duration::MAX);
            Some(if length(&other) > length(&one) { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

impl LimitKind {
    /// Its name in plans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests_per_second",
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::ConcurrentRequests => "concurrent_requests",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestsPerSecond => "requests per second",
            Self::RequestsPerMinute => "requests per minute",
            Self::TokensPerMinute => "tokens per minute",
            Self::ConcurrentRequests => "concurrent requests",
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant {id}"),
            Self::Key(id) => write!(f, "key {id}"),
        }
    }
}

#[cfg(test)]
mod tests;
