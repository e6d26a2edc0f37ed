//! One subject's buckets and running calls, under its lock.

use super::bucket::Bucket;
use super::{LimitKind, Standing, Window};
use contracts::policy::Named;
use contracts::policy::plan::{Limit, Plan};
use std::num::NonZeroU64;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// A guess at when a call ends while none has.
const UNKNOWN_CALL: u64 = SECOND;

/// The state of one subject.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    plan: Arc<Named<Plan>>,
    per_second: Pair,
    per_minute: Pair,
    tokens: Pair,
    running: u32,
    /// How long calls take, in nanoseconds: a moving average, 0 while none has ended.
    usual_call: u64,
}

/// The buckets of one limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pair {
    hard: Option<Bucket>,
    soft: Option<Bucket>,
}

/// What a call took of tokens; it takes of all else just one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    /// False when there was no such limit when it began, so that it owes all of its tokens if there is one now.
    hard: bool,
    soft: bool,
    /// It did not fit under the soft limit, whose bucket has no part in it.
    is_over_soft: bool,
}

/// A limit that does not let a call pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    pub(super) limit: LimitKind,
    pub(super) size: u64,
    /// In nanoseconds; None for ever.
    pub(super) wait: Option<u64>,
}

impl Meter {
    pub(super) fn new(plan: &Arc<Named<Plan>>, now: u64) -> Self {
        let none = Pair::default();
        let mut meter = Self {
            plan: plan.clone(),
            per_second: none,
            per_minute: none,
            tokens: none,
            running: 0,
            usual_call: 0,
        };
        meter.resize(now);
        meter
    }

    /// The plan that it goes by.
    pub(super) const fn plan(&self) -> &Arc<Named<Plan>> {
        &self.plan
    }

    /// Takes on `plan` if it is another one.
    pub(super) fn adopt(&mut self, plan: &Arc<Named<Plan>>, now: u64) {
        if Arc::ptr_eq(&self.plan, plan) {
            return;
        }
        let is_same = *self.plan == **plan;
        self.plan = plan.clone();
        if !is_same {
            self.refill(now);
            self.resize(now);
        }
    }

    fn resize(&mut self, now: u64) {
        let requests = |limit: Limit<std::num::NonZeroU32>| Limit {
            hard: limit.hard.map(NonZeroU64::from),
            soft: limit.soft.map(NonZeroU64::from),
        };
        self.per_second.resize(self.plan.requests_per_second.map(requests), SECOND, now);
        self.per_minute.resize(self.plan.requests_per_minute.map(requests), MINUTE, now);
        self.tokens.resize(self.plan.tokens_per_minute, MINUTE, now);
    }

    pub(super) fn refill(&mut self, now: u64) {
        for pair in [&mut self.per_second, &mut self.per_minute, &mut self.tokens] {
            for bucket in [&mut pair.hard, &mut pair.soft].into_iter().flatten() {
                bucket.refill(now);
            }
        }
    }

    /// The limit that keeps a call of `tokens` waiting longest, if any does.
    pub(super) fn blocked(&mut self, tokens: u64, now: u64) -> Option<Blocked> {
        self.refill(now);
        let of = |pair: &Pair, limit, needed| {
            let bucket = pair.hard?;
            let wait = bucket.wait_for(needed, now);
            (wait != Some(0)).then_some(Blocked { limit, size: bucket.size(), wait })
        };
        let waits = [
            of(&self.per_second, LimitKind::RequestsPerSecond, 1),
            of(&self.per_minute, LimitKind::RequestsPerMinute, 1),
            of(&self.tokens, LimitKind::TokensPerMinute, tokens),
            self.too_many_running(),
        ];
        waits.into_iter().flatten().max_by_key(|blocked| blocked.wait.unwrap_or(u64::MAX))
    }

    fn too_many_running(&self) -> Option<Blocked> {
        let most = self.plan.concurrent_requests?.hard?.get();
        (self.running >= most).then(|| {
            let call = if self.usual_call == 0 { UNKNOWN_CALL } else { self.usual_call };
            // So many calls, of which one is to end.
            let wait = (call / u64::from(self.running)).max(1);
            Blocked { limit: LimitKind::ConcurrentRequests, size: most.into(), wait: Some(wait) }
        })
    }

    /// A call of `tokens` that is not blocked starts; `tell` hears of the soft limits that it goes beyond.
    pub(super) fn take(&mut self, tokens: u64, mut tell: impl FnMut(LimitKind, u64)) -> Took {
        self.per_second.take(1, LimitKind::RequestsPerSecond, &mut tell);
        self.per_minute.take(1, LimitKind::RequestsPerMinute, &mut tell);
        let took = self.tokens.take(tokens, LimitKind::TokensPerMinute, &mut tell);
        self.running += 1;
        if let Some(soft) = self.plan.concurrent_requests.and_then(|limit| limit.soft)
            && self.running > soft.get()
        {
            tell(LimitKind::ConcurrentRequests, soft.get().into());
        }
        took
    }

    /// The tokens of a call, `before` until now, come to `after`.
    pub(super) fn settle(&mut self, took: &mut Took, before: u64, after: u64, now: u64) {
        if let Some(hard) = &mut self.tokens.hard {
            hard.refill(now);
            hard.settle(if took.hard { before } else { 0 }, after);
            took.hard = true;
        }
        if let Some(soft) = &mut self.tokens.soft
            && !took.is_over_soft
        {
            soft.refill(now);
            soft.settle(if took.soft { before } else { 0 }, after);
            took.soft = true;
        }
    }

    /// A call ends, after so many nanoseconds.
    pub(super) fn end(&mut self, length: u64) {
        self.running = self.running.saturating_sub(1);
        let usual = self.usual_call;
        self.usual_call = if usual == 0 { length } else { (usual - usual / 8).saturating_add(length / 8) };
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    /// Where it stands, as of the last refill.
    pub(super) fn standing(&self) -> Standing {
        let window = |pair: &Pair| {
            let bucket = pair.hard?;
            let reset = std::time::Duration::from_nanos(bucket.until_full());
            Some(Window { limit: bucket.size(), remaining: bucket.remaining(), reset })
        };
        let second = Standing { requests: window(&self.per_second), tokens: window(&self.tokens) };
        second.tighter(&Standing { requests: window(&self.per_minute), tokens: None })
    }

    /// Whether it is as good as new.
    pub(super) fn is_at_rest(&mut self, now: u64) -> bool {
        self.refill(now);
        let pairs = [&self.per_second, &self.per_minute, &self.tokens];
        let mut buckets = pairs.into_iter().flat_map(|pair| [pair.hard, pair.soft]).flatten();
        self.running == 0 && buckets.all(|bucket| bucket.until_full() == 0)
    }
}

impl Pair {
    fn resize(&mut self, limit: Option<Limit<NonZeroU64>>, period: u64, now: u64) {
        for (bucket, size) in [
            (&mut self.hard, limit.and_then(|limit| limit.hard)),
            (&mut self.soft, limit.and_then(|limit| limit.soft)),
        ] {
            match (bucket.as_mut(), size) {
                (Some(bucket), Some(size)) => bucket.resize(size.get()),
                (None, Some(size)) => *bucket = Some(Bucket::new(size.get(), period, now)),
                (_, None) => *bucket = None,
            }
        }
    }

    fn take(&mut self, tokens: u64, limit: LimitKind, tell: &mut impl FnMut(LimitKind, u64)) -> Took {
        let mut took = Took { hard: self.hard.is_some(), soft: self.soft.is_some(), is_over_soft: false };
        if let Some(hard) = &mut self.hard {
            hard.take(tokens);
        }
        if let Some(soft) = &mut self.soft {
            if soft.has(tokens) {
                soft.take(tokens);
            } else {
                took.is_over_soft = true;
                tell(limit, soft.size());
            }
        }
        took
    }
}
