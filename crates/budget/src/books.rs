//! What this gateway itself has spent and holds, account by account and window by window.
//!
//! A *bucket* is one account in one window. It knows what was settled (`spent`), what was sent and may be billed
//! (`dispatched`) and what is only reserved (`held`). The first two are in the journal before anybody acts on them; the third is
//! forgotten with the process, which releases it.
//!
//! Buckets of a group share a lock, taken once for each step of a call. The limit of a bucket is never in it: it comes with each
//! reservation.

use crate::account::{Account, Accounts, SoftPassed, Standing};
use crate::journal::record::{BucketState, Define, Shift};
use crate::journal::{Journal, Keeper, NotWritten, Recovered, Source, WhenGatewayDies};
use crate::metrics::Metrics;
use crate::refused::Exhausted;
use crate::{JournalOptions, OpenError};
use contracts::policy::budget::Span;
use contracts::{Timestamp, Usd};
use page::{Bucket, Moment, Slot};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) mod page;

pub(crate) use page::{Group, Page, Stake};

/// The books of a gateway.
#[derive(Debug)]
pub(crate) struct Books {
    pages: Arc<Pages>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) metrics: Arc<Metrics>,
    unaccounted: Vec<Unaccounted>,
    /// Last: it looks through the pages once more when it is dropped.
    _keeper: Keeper,
}

/// All groups.
#[derive(Debug)]
struct Pages {
    groups: RwLock<HashMap<Arc<str>, Arc<Group>>>,
    next: AtomicU64,
    /// The time that a caller told last, nanoseconds. Not the greatest: one clock that was wrong once would be believed for ever.
    now: AtomicI64,
    opened: Instant,
    /// What had passed since then when that was told, nanoseconds.
    passed: AtomicU64,
}

/// What a call that died with its gateway was charged on one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unaccounted {
    /// The account's group.
    pub group: Arc<str>,
    /// The account.
    pub account: Arc<str>,
    /// The window.
    pub span: Span,
    /// How many calls.
    pub calls: u32,
    /// What had been reserved for them: charged, or released if so configured.
    pub amount: Usd,
}

/// What stands in the way of an admission.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check {
    /// The limits: these books are all there is.
    Limits,
    /// What Redis counts as ours.
    Cover,
    /// Nothing: it was admitted elsewhere.
    Nothing,
}

impl Books {
    /// Opens the books that lie in `options.dir`, and closes the accounts of calls that died with an earlier process.
    pub(crate) fn open(
        options: JournalOptions,
        when_gateway_dies: WhenGatewayDies,
    ) -> Result<Self, OpenError> {
        let metrics = Arc::new(Metrics::default());
        let (journal, recovered) = Journal::open(options, Arc::clone(&metrics))?;
        let pages = Pages::new();
        let unaccounted = pages.fill(recovered, when_gateway_dies);
        for one in &unaccounted {
            metrics.unaccounted.add(one.calls.into());
            metrics.unaccounted_picos.add_usd(one.amount);
        }
        let pages = Arc::new(pages);
        let keeper = journal.keep(Arc::clone(&pages))?;
        Ok(Self { pages, journal, metrics, unaccounted, _keeper: keeper })
    }

    pub(crate) fn unaccounted(&self) -> &[Unaccounted] {
        &self.unaccounted
    }

    pub(crate) fn group(&self, name: &Arc<str>) -> Arc<Group> {
        self.pages.group(name)
    }

    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.pages.all()
    }

    /// Forgets groups of which nothing is left.
    pub(crate) fn forget_groups(&self) {
        self.pages.forget();
    }

    /// It is `now`.
    pub(crate) fn is_now(&self, now: Timestamp) {
        self.pages.is_now(now);
    }

    /// The time that a caller told last.
    pub(crate) fn now(&self) -> Timestamp {
        self.moment().now
    }

    /// The same, and how much time has passed whatever clocks said.
    pub(crate) fn moment(&self) -> Moment {
        self.pages.told()
    }

    /// Takes `amount` of every account, or says which of them stands in the way.
    pub(crate) fn admit(
        &self,
        group: Arc<Group>,
        accounts: &Arc<Accounts>,
        amount: Usd,
        now: Timestamp,
        check: Check,
    ) -> Result<(Stake, Vec<SoftPassed>), Box<Exhausted>> {
        let at = self.pages.is_now(now);
        let mut page = group.page();
        let slots: Box<[Slot]> = accounts.list().iter().map(|a| page.slot(a, at, &self.pages.next)).collect();
        page.fits(&slots, accounts, amount, check, now)?;
        for (slot, account) in slots.iter().zip(accounts.list()) {
            let bucket = page.bucket(*slot);
            bucket.held += amount;
            bucket.pins += 1;
            bucket.used = at.passed;
            bucket.limit = account.limit;
        }
        let passed = page.passed(&slots, accounts, Usd::ZERO);
        drop(page);
        let accounts = Arc::clone(accounts);
        Ok((Stake { group, accounts, slots, amount, is_dispatched: false, session: 0, now }, passed))
    }

    /// Takes more.
    pub(crate) fn extend(
        &self,
        page: &mut Page,
        stake: &mut Stake,
        more: Usd,
        check: Check,
    ) -> Result<(), ExtendError> {
        page.fits(&stake.slots, &stake.accounts, more, check, stake.now).map_err(ExtendError::Exhausted)?;
        if stake.is_dispatched {
            let shift = Shift { spent: Usd::ZERO, dispatched: more, calls: 0 };
            page.write(&self.journal, &stake.slots, shift).map_err(ExtendError::NotWritten)?;
        } else {
            page.each(&stake.slots, |bucket| bucket.held += more);
        }
        stake.amount += more;
        Ok(())
    }

    /// From here on it may be billed.
    pub(crate) fn dispatch(&self, page: &mut Page, stake: &mut Stake) -> Result<(), NotWritten> {
        let shift = Shift { spent: Usd::ZERO, dispatched: stake.amount, calls: 1 };
        page.write(&self.journal, &stake.slots, shift)?;
        page.each(&stake.slots, |bucket| bucket.held = bucket.held - stake.amount);
        stake.is_dispatched = true;
        Ok(())
    }

    /// Counts how it ended in [`Metrics`], gives the stake back and charges `actual` in its place. Charges also when the journal does not take it: then a dead
    /// gateway's call would be charged in full.
    pub(crate) fn settle(&self, page: &mut Page, stake: &Stake, actual: Usd) -> Vec<SoftPassed> {
        let shift = if stake.is_dispatched {
            Shift { spent: actual, dispatched: -stake.amount, calls: -1 }
        } else {
            page.each(&stake.slots, |bucket| bucket.held = bucket.held - stake.amount);
            Shift { spent: actual, dispatched: Usd::ZERO, calls: 0 }
        };
        let is_nothing = !stake.is_dispatched && actual == Usd::ZERO;
        if !is_nothing && page.write(&self.journal, &stake.slots, shift).is_err() {
            page.each(&stake.slots, |bucket| bucket.shift(shift));
        }
        let Moment { passed, .. } = self.pages.told();
        page.each(&stake.slots, |bucket| {
            bucket.pins -= 1;
            bucket.used = bucket.used.max(passed);
        });
        let ended = if actual == Usd::ZERO { &self.metrics.released } else { &self.metrics.settled };
        ended.inc();
        if actual > stake.amount {
            self.metrics.overruns.inc();
            self.metrics.overrun_picos.add_usd(actual - stake.amount);
        }
        page.passed(&stake.slots, &stake.accounts, actual)
    }

    /// Every account of `accounts` as these books know it.
    pub(crate) fn read(&self, accounts: &Accounts, now: Timestamp) -> Vec<Standing> {
        let group = self.group(accounts.group());
        let page = group.page();
        let standing = |account: &Account| {
            let span = account.window.span(now);
            let bucket = page.find(account, now);
            let spent = bucket.map_or(Usd::ZERO, |bucket| bucket.spent);
            let held = bucket.map_or(Usd::ZERO, |bucket| bucket.held + bucket.dispatched);
            Standing { account: account.clone(), span, spent, held }
        };
        accounts.list().iter().map(standing).collect()
    }
}

/// Why no more was taken.
#[derive(Debug)]
pub(crate) enum ExtendError {
    Exhausted(Box<Exhausted>),
    NotWritten(NotWritten),
}

impl Pages {
    fn new() -> Self {
        Self {
            groups: RwLock::default(),
            next: AtomicU64::new(0),
            now: AtomicI64::new(0),
            opened: Instant::now(),
            passed: AtomicU64::new(0),
        }
    }

    /// It is `now`.
    fn is_now(&self, now: Timestamp) -> Moment {
        let passed = self.opened.elapsed();
        self.now.store(now.unix_nanos(), Ordering::Relaxed);
        self.passed.store(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Moment { now, passed }
    }

    /// When a caller last told the time.
    fn told(&self) -> Moment {
        Moment {
            now: Timestamp::from_unix_nanos(self.now.load(Ordering::Relaxed)),
            passed: Duration::from_nanos(self.passed.load(Ordering::Relaxed)),
        }
    }

    fn group(&self, name: &Arc<str>) -> Arc<Group> {
        let known = self.groups.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(groups.entry(Arc::clone(name)).or_insert_with(|| Arc::new(Group::new(name))))
        })
    }

    /// Forgets what is long over, and groups that nothing is left of and nobody is about to use.
    fn forget(&self) {
        let at = self.told();
        let is_empty = |group: &Arc<Group>| {
            let mut page = group.page();
            page.forget_all(at);
            page.buckets().next().is_none()
        };
        // Whoever asks for a group has it until the end of its step, and nobody asks while it is looked at.
        let names: Vec<_> =
            self.all().iter().filter(|group| is_empty(group)).map(|g| Arc::clone(&g.name)).collect();
        if names.is_empty() {
            return;
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if groups.get(&name).is_some_and(|group| Arc::strong_count(group) == 1 && is_empty(group)) {
                groups.remove(&name);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Takes over what an earlier process left, and closes what it had sent and not settled.
    fn fill(&self, recovered: Recovered, when_gateway_dies: WhenGatewayDies) -> Vec<Unaccounted> {
        let mut unaccounted = Vec::new();
        for (define, mut state) in recovered.buckets.into_values() {
            self.next.fetch_max(define.id + 1, Ordering::Relaxed);
            if state.dispatched != Usd::ZERO || state.calls > 0 {
                unaccounted.push(Unaccounted {
                    group: Arc::clone(&define.group),
                    account: Arc::clone(&define.account),
                    span: define.span,
                    calls: state.calls,
                    amount: state.dispatched,
                });
                if when_gateway_dies == WhenGatewayDies::Charge {
                    state.spent += state.dispatched;
                }
            }
            self.group(&define.group).page().insert(Bucket::recovered(define, state));
        }
        unaccounted
    }
}

impl Source for Pages {
    fn buckets(&self) -> Box<dyn Iterator<Item = (Define, BucketState)> + '_> {
        self.forget();
        Box::new(self.all().into_iter().flat_map(move |group| {
            let mut page = group.page();
            let buckets: Vec<_> = page.buckets().map(|b| (b.define(&group.name), b.state())).collect();
            buckets
        }))
    }
}
