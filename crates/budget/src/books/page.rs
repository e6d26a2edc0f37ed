//! One group's buckets, and the stakes that calls have in them.

use super::Check;
use crate::account::{Account, Accounts, SoftPassed};
use crate::journal::record::{BucketId, BucketState, Define, Shift};
use crate::journal::{Journal, NotWritten};
use crate::refused::Exhausted;
use crate::shared::{Link, Told};
use contracts::policy::budget::{Span, Window};
use contracts::{Timestamp, Usd};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Accounts that are charged together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    page: Mutex<Page>,
    /// How the group stands with Redis.
    pub(crate) link: Link,
}

/// The buckets of a group.
#[derive(Debug)]
pub(crate) struct Page {
    group: Arc<str>,
    accounts: HashMap<Arc<str>, Vec<Slot>>,
    buckets: Vec<Option<Bucket>>,
    free: Vec<Slot>,
    /// How the buckets are told to Redis.
    pub(crate) told: Told,
}

pub(super) type Slot = usize;

/// A bucket is kept so long after its window, as it is in Redis: for calls that end late, and for callers whose clock is behind. To
/// them one that is gone too early would be a budget that nobody has touched.
const KEPT_AFTER: Duration = Duration::from_hours(1);

/// The latest bucket of an account is kept so long, for a clock that is wrong may tell that its window is over.
const LATEST_KEPT_AFTER: Duration = Duration::from_hours(32 * 24);

/// When a step is taken: as its caller's clock tells, which may be wrong, and as time has passed since the books were opened, which no
/// clock that is set changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(super) now: Timestamp,
    pub(super) passed: Duration,
}

/// One account in one window, as far as this gateway is concerned.
#[derive(Debug)]
pub(crate) struct Bucket {
    id: BucketId,
    pub(crate) account: Arc<str>,
    pub(crate) window: Window,
    pub(crate) span: Span,
    pub(crate) spent: Usd,
    pub(crate) dispatched: Usd,
    pub(super) held: Usd,
    pub(super) calls: u32,
    /// Changes up to this position of the journal are counted in.
    at: u64,
    is_defined: bool,
    /// Stakes that name the bucket.
    pub(super) pins: u32,
    /// When one last did, by what has passed since the books were opened.
    pub(super) used: Duration,
    /// What Redis counts as ours for certain, whatever may become of us: settled, sent and granted. At least.
    pub(crate) cover: Usd,
    /// The limit that came with the last reservation.
    pub(crate) limit: Usd,
    /// What the other gateways had spent, sent and been granted when they were last seen.
    pub(crate) peers: Vec<(Arc<str>, Usd)>,
}

/// A part of every bucket that a call is charged to. Whoever has it must give it back.
#[derive(Debug)]
pub(crate) struct Stake {
    pub(crate) group: Arc<Group>,
    pub(crate) accounts: Arc<Accounts>,
    pub(super) slots: Box<[Slot]>,
    pub(crate) amount: Usd,
    pub(crate) is_dispatched: bool,
    /// The session with Redis in which it was reserved; 0 when Redis does not know of it.
    pub(crate) session: u64,
    /// When it was admitted.
    pub(crate) now: Timestamp,
}

impl Stake {
    /// The buckets, in the order of the accounts.
    pub(crate) fn each(&self, page: &mut Page, change: impl FnMut(&mut Bucket)) {
        page.each(&self.slots, change);
    }
}

impl Group {
    pub(super) fn new(name: &Arc<str>) -> Self {
        let page = Page {
            group: Arc::clone(name),
            accounts: HashMap::new(),
            buckets: Vec::new(),
            free: Vec::new(),
            told: Told::default(),
        };
        Self { name: Arc::clone(name), page: Mutex::new(page), link: Link::default() }
    }

    pub(crate) fn page(&self) -> MutexGuard<'_, Page> {
        // Nothing under the mutex panics half-way through a change.
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    pub(crate) fn buckets(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.buckets.iter_mut().flatten()
    }

    /// Whether a call has a stake in a bucket.
    pub(crate) fn is_pinned(&self) -> bool {
        self.buckets.iter().flatten().any(|bucket| bucket.pins > 0)
    }

    pub(super) fn find(&self, account: &Account, now: Timestamp) -> Option<&Bucket> {
        let slots = self.accounts.get(&account.id)?;
        slots
            .iter()
            .filter_map(|slot| self.buckets.get(*slot)?.as_ref())
            .find(|bucket| bucket.window == account.window && bucket.span.contains(now))
    }

    /// The slot of the account's bucket at `now`; made when there is none.
    pub(super) fn slot(&mut self, account: &Account, at: Moment, next: &AtomicU64) -> Slot {
        let Moment { now, .. } = at;
        let buckets = &self.buckets;
        let is_it = |slot: &&Slot| {
            let bucket = buckets.get(**slot).and_then(Option::as_ref);
            bucket.is_some_and(|bucket| bucket.window == account.window && bucket.span.contains(now))
        };
        if let Some(slot) = self.accounts.get(&account.id).and_then(|slots| slots.iter().rev().find(is_it)) {
            return *slot;
        }
        self.forget(&account.id, at);
        let span = account.window.span(now);
        let id = next.fetch_add(1, Ordering::Relaxed);
        self.insert(Bucket::new(id, Arc::clone(&account.id), account.window, span))
    }

    pub(super) fn insert(&mut self, bucket: Bucket) -> Slot {
        let account = Arc::clone(&bucket.account);
        let slot = if let Some(slot) = self.free.pop() {
            self.buckets[slot] = Some(bucket);
            slot
        } else {
            self.buckets.push(Some(bucket));
            self.buckets.len() - 1
        };
        self.accounts.entry(account).or_default().push(slot);
        slot
    }

    /// Forgets the account's windows that have long been over.
    fn forget(&mut self, account: &str, at: Moment) {
        let Some(slots) = self.accounts.get_mut(account) else { return };
        let (buckets, free) = (&mut self.buckets, &mut self.free);
        let latest = slots.iter().filter_map(|slot| buckets[*slot].as_ref()).map(|b| b.span.start).max();
        slots.retain(|slot| {
            let is_done = buckets[*slot].as_ref().is_none_or(|b| {
                let kept = if Some(b.span.start) < latest { KEPT_AFTER } else { LATEST_KEPT_AFTER };
                b.is_over(kept, at)
            });
            if is_done {
                buckets[*slot] = None;
                free.push(*slot);
            }
            !is_done
        });
        if slots.is_empty() {
            self.accounts.remove(account);
        }
    }

    pub(super) fn forget_all(&mut self, at: Moment) {
        let is_done = |bucket: &&Bucket| bucket.is_past(at);
        let done: Vec<_> =
            self.buckets.iter().flatten().filter(is_done).map(|b| Arc::clone(&b.account)).collect();
        for account in done {
            self.forget(&account, at);
        }
    }

    pub(super) fn bucket(&mut self, slot: Slot) -> &mut Bucket {
        // A slot is given out for a bucket that exists, and a pinned bucket stays: so it is always there.
        self.buckets[slot].get_or_insert_with(|| {
            Bucket::new(u64::MAX, "".into(), Window::Total, Window::Total.span(Timestamp::default()))
        })
    }

    pub(super) fn each(&mut self, slots: &[Slot], mut change: impl FnMut(&mut Bucket)) {
        for slot in slots {
            change(self.bucket(*slot));
        }
    }

    pub(crate) fn fits(
        &mut self,
        slots: &[Slot],
        accounts: &Accounts,
        amount: Usd,
        check: Check,
        now: Timestamp,
    ) -> Result<(), Box<Exhausted>> {
        for (slot, account) in slots.iter().zip(accounts.list()) {
            let bucket = self.bucket(*slot);
            let most = match check {
                Check::Limits => account.limit,
                Check::Cover => account.limit.min(bucket.cover),
                Check::Nothing => return Ok(()),
            };
            if bucket.spent + bucket.dispatched + bucket.held + amount > most {
                return Err(Box::new(Exhausted {
                    account: account.clone(),
                    spent: bucket.spent,
                    held: bucket.dispatched + bucket.held,
                    asked: amount,
                    now,
                    ends: bucket.span.end,
                }));
            }
        }
        Ok(())
    }

    /// Whether the cover holds what the stake takes, beside what was spent and sent.
    pub(crate) fn covers(&mut self, stake: &Stake) -> bool {
        let mut is_covered = true;
        self.each(&stake.slots, |bucket| {
            is_covered &= bucket.spent + bucket.dispatched + stake.amount <= bucket.cover.min(bucket.limit);
        });
        is_covered
    }

    /// Tells the journal, then changes the buckets.
    pub(super) fn write(
        &mut self,
        journal: &Journal,
        slots: &[Slot],
        shift: Shift,
    ) -> Result<(), NotWritten> {
        let get = |slot: &Slot| self.buckets.get(*slot).and_then(Option::as_ref);
        let unknown = slots.iter().filter_map(get).filter(|bucket| !bucket.is_defined);
        let ids = slots.iter().map(|slot| get(slot).map_or(BucketId::MAX, |bucket| bucket.id));
        let at = journal.append(unknown.map(|bucket| bucket.define(&self.group)), shift, ids)?;
        self.each(slots, |bucket| {
            bucket.shift(shift);
            bucket.is_defined = true;
            bucket.at = at;
        });
        Ok(())
    }

    /// The accounts whose soft limit is passed after `added` was added to each.
    pub(super) fn passed(&mut self, slots: &[Slot], accounts: &Accounts, added: Usd) -> Vec<SoftPassed> {
        let mut passed = Vec::new();
        for (slot, account) in slots.iter().zip(accounts.list()) {
            if account.soft.is_some() {
                let bucket = self.bucket(*slot);
                passed.extend(SoftPassed::judge(account, bucket.span, bucket.spent, added));
            }
        }
        passed
    }
}

impl Bucket {
    pub(super) fn new(id: BucketId, account: Arc<str>, window: Window, span: Span) -> Self {
        Self {
            id,
            account,
            window,
            span,
            spent: Usd::ZERO,
            dispatched: Usd::ZERO,
            held: Usd::ZERO,
            calls: 0,
            at: 0,
            is_defined: false,
            pins: 0,
            used: Duration::ZERO,
            cover: Usd::ZERO,
            limit: Usd::ZERO,
            peers: Vec::new(),
        }
    }

    /// One that an earlier process left.
    pub(super) fn recovered(define: Define, state: BucketState) -> Self {
        let bucket = Self::new(define.id, define.account, define.window, define.span);
        Self { spent: state.spent, is_defined: true, ..bucket }
    }

    /// Whether its window has been over for so long that nobody is told of it any more.
    pub(crate) fn is_past(&self, at: Moment) -> bool {
        self.is_over(KEPT_AFTER, at)
    }

    /// Whether its window has been over for so long, and nothing is under way in it, nor was lately: of a window in use a clock is wrong
    /// that says otherwise.
    fn is_over(&self, kept: Duration, at: Moment) -> bool {
        self.pins == 0 && self.is_over_for(kept, at.now) && at.passed.saturating_sub(self.used) >= KEPT_AFTER
    }

    fn is_over_for(&self, kept: Duration, now: Timestamp) -> bool {
        self.span.end.is_some_and(|end| u128::from(now.nanos_since(end)) >= kept.as_nanos())
    }

    pub(super) fn shift(&mut self, shift: Shift) {
        self.spent += shift.spent;
        self.dispatched += shift.dispatched;
        self.calls = self.calls.saturating_add_signed(i32::from(shift.calls));
    }

    pub(super) fn define(&self, group: &Arc<str>) -> Define {
        Define {
            id: self.id,
            window: self.window,
            span: self.span,
            group: Arc::clone(group),
            account: Arc::clone(&self.account),
        }
    }

    pub(super) fn state(&self) -> BucketState {
        BucketState {
            id: self.id,
            spent: self.spent,
            dispatched: self.dispatched,
            calls: self.calls,
            at: self.at,
        }
    }
}
