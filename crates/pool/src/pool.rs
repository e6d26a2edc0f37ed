//! The pool itself: who is in it, what it is told, and what it hands out.

use crate::breaker::Turn;
use crate::choose::{Ask, Kind, Rank, Unavailable};
use crate::latency::Spread;
use crate::lease::Lease;
use crate::load::Sample;
use crate::outcome::Outcome;
use crate::retry::Tried;
use crate::slot::{Common, Slot};
use crate::waiting::Slab;
use crate::window::Window;
use contracts::policy::InvalidPolicy;
use contracts::policy::pool::{DeploymentId, HedgeAfter, Pool as Policy};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Budgets are counted over this.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// Changes that nobody has taken yet; older ones are forgotten.
const MOST_CHANGES: usize = 256;
/// Fewer first bytes than these say nothing of a percentile.
const ENOUGH_TO_HEDGE: u32 = 100;
/// Fewer than these say nothing of what is usual.
const ENOUGH_FOR_USUAL: u32 = 5;
/// How much the latest call counts in the share that succeeds.
const LATEST: f64 = 0.1;

/// The deployments of one model. Cheap to share; every method takes a moment.
#[derive(Debug)]
pub struct Pool {
    inner: Mutex<Inner>,
}

/// Who told of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The deployment's server.
    Server,
    /// The exporter of its GPUs.
    Gpus,
}

/// A deployment was put out, is back, or backed off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub deployment: DeploymentId,
    /// What.
    pub turn: Turn,
    /// When.
    pub at: Instant,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) policy: Arc<Policy>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) common: Common,
    pub(crate) rng: fastrand::Rng,
    /// Calls, and retries beside them.
    pub(crate) retries: Window,
    /// Calls, and hedges beside them.
    pub(crate) hedges: Window,
    /// Room for a survey's result.
    pub(crate) eligible: Vec<usize>,
    changes: VecDeque<Change>,
}

impl Pool {
    /// A pool in which everybody is in.
    pub fn new(policy: Arc<Policy>, seed: u64, now: Instant) -> Result<Arc<Self>, InvalidPolicy> {
        policy.validate()?;
        let common = Common {
            slab: Slab::default(),
            spread: [Spread::new(now), Spread::new(now)],
            usual: [None; 2],
            mean_pressure: [0.0; 2],
            decay: Duration::ZERO,
            slow_start: Duration::ZERO,
            fresh: Duration::ZERO,
            stale: Duration::ZERO,
        };
        let mut inner = Inner {
            policy,
            slots: Vec::new(),
            common,
            rng: fastrand::Rng::with_seed(seed),
            retries: Window::new(BUDGET_WINDOW, now),
            hedges: Window::new(BUDGET_WINDOW, now),
            eligible: Vec::new(),
            changes: VecDeque::new(),
        };
        inner.settle(now);
        Ok(Arc::new(Self { inner: Mutex::new(inner) }))
    }

    /// Takes a new policy. Deployments that stay keep what is known of them; new ones ramp up; those that went finish their calls.
    pub fn update(&self, policy: Arc<Policy>, now: Instant) -> Result<(), InvalidPolicy> {
        policy.validate()?;
        let mut inner = self.lock();
        inner.policy = policy;
        inner.settle(now);
        Ok(())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.lock().policy.clone()
    }

    /// Chooses a deployment for a call, or for a further try of it. What `tried` holds is avoided, and the choice is added to it.
    pub fn pick(self: &Arc<Self>, ask: &Ask, tried: &mut Tried, now: Instant) -> Result<Lease, Unavailable> {
        let mut inner = self.lock();
        let first = tried.attempts() == 0;
        if first {
            inner.retries.add(1, 0, now);
            inner.hedges.add(1, 0, now);
        }
        let survey = inner.survey(tried, ask.may_panic, now);
        // A trial is for a call's first try, which has others left.
        let trial = survey.trial.filter(|_| first);
        let chosen = match trial {
            Some(number) => Some(number),
            None => inner.balance(ask, now),
        };
        let number = chosen.ok_or_else(|| inner.unavailable(now))?;
        tried.add(number, false);
        let mut lease = inner.lease(self, number, ask.kind, now);
        lease.panicked = survey.panic && !lease.is_trial();
        Ok(lease)
    }

    /// After how long without a first byte a call of `kind` may be sent a second time, if the policy wants that and enough is known.
    pub fn hedge_after(&self, kind: Kind) -> Option<Duration> {
        let inner = self.lock();
        match inner.policy.hedge.as_ref()?.after {
            HedgeAfter::FixedMs(ms) => Some(Duration::from_millis(ms)),
            HedgeAfter::Percentile(percent) => {
                let quantile = f64::from(percent) / 100.0;
                let seconds = inner.common.spread[kind.index()].quantile(quantile, ENOUGH_TO_HEDGE)?;
                Some(Duration::from_secs_f64(seconds))
            }
        }
    }

    /// How long the first byte of an answer of `kind` usually takes: half of the latest took less. `None` where too few came lately.
    pub fn usual(&self, kind: Kind, now: Instant) -> Option<Duration> {
        let inner = self.lock();
        let spread = Some(&inner.common.spread[kind.index()]).filter(|spread| !spread.is_stale(now))?;
        Some(Duration::from_secs_f64(spread.quantile(0.5, ENOUGH_FOR_USUAL)?))
    }

    /// A second try beside one that takes long, at a deployment that is well and that the call has not tried; `None` if there is none
    /// or the budget is spent.
    pub fn hedge(self: &Arc<Self>, ask: &Ask, tried: &mut Tried, now: Instant) -> Option<Lease> {
        let mut inner = self.lock();
        let percent = inner.policy.hedge.as_ref()?.max_percent;
        let sum = inner.hedges.sum(now);
        if (u64::from(sum.some) + 1) * 100 > u64::from(sum.all) * u64::from(percent) {
            return None;
        }
        if inner.survey(tried, false, now).best != Some(Rank::Lively) {
            return None;
        }
        let number = inner.balance(ask, now)?;
        inner.hedges.add(0, 1, now);
        tried.add(number, true);
        let mut lease = inner.lease(self, number, ask.kind, now);
        lease.hedge = true;
        Some(lease)
    }

    /// How long one try of a call of `kind` may go without a first byte.
    pub fn per_try_timeout(&self, kind: Kind) -> Duration {
        let inner = self.lock();
        Duration::from_millis(match kind {
            Kind::Streamed => inner.policy.retries.per_try_timeout_ms,
            Kind::Whole => inner.policy.retries.per_try_timeout_whole_ms,
        })
    }

    /// A probe of a deployment was answered well, or not.
    pub fn probed(&self, deployment: &DeploymentId, well: bool, now: Instant) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(probe) = &inner.policy.probe else { return };
        let Some(slot) = inner.slots.iter_mut().find(|slot| is(slot, deployment)) else { return };
        let breaker = &inner.policy.breaker;
        let turn = slot.breaker.probed(well, probe.failures, breaker, now, &mut inner.rng);
        note(&mut inner.changes, slot, turn, now);
    }

    /// A deployment told how busy it is.
    pub fn told(&self, deployment: &DeploymentId, source: Source, sample: Sample, now: Instant) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(slot) = inner.slots.iter_mut().find(|slot| is(slot, deployment)) else { return };
        let source = source as usize;
        slot.told[source] = Some((sample, now));
        let stale = inner.common.stale;
        let fresh = inner.slots.iter().filter(|slot| slot.is_usable()).filter_map(|slot| {
            let (sample, at) = slot.told[source]?;
            (now.saturating_duration_since(at) < stale).then(|| sample.pressure()).flatten()
        });
        let (sum, count) = fresh.fold((0.0, 0.0), |(sum, count), pressure| (sum + pressure, count + 1.0));
        inner.common.mean_pressure[source] = if count > 0.0 { sum / count } else { 0.0 };
    }

    /// What changed since this was last asked, oldest first, for logs and events.
    pub fn changes(&self) -> Vec<Change> {
        self.lock().changes.drain(..).collect()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(slot: &Slot, deployment: &DeploymentId) -> bool {
    !slot.retired && slot.deployment.id == *deployment
}

fn note(changes: &mut VecDeque<Change>, slot: &mut Slot, turn: Option<Turn>, now: Instant) {
    let Some(turn) = turn else { return };
    if turn == Turn::Back {
        slot.forget();
    }
    if changes.len() >= MOST_CHANGES {
        changes.pop_front();
    }
    changes.push_back(Change { deployment: slot.deployment.id.clone(), turn, at: now });
}

impl Inner {
    /// Makes the slots what the policy says.
    fn settle(&mut self, now: Instant) {
        let policy = Arc::clone(&self.policy);
        let weighing = &policy.weighing;
        self.common.decay = Duration::from_millis(weighing.latency_decay_ms);
        self.common.fresh = Duration::from_millis(weighing.load_fresh_ms);
        self.common.stale = Duration::from_millis(weighing.load_stale_ms);
        self.common.slow_start = Duration::from_millis(policy.slow_start_ms);
        let is_new = !self.slots.is_empty();
        for slot in &mut self.slots {
            let stays = policy.deployments.iter().find(|deployment| {
                let old = &slot.deployment;
                deployment.id == old.id
                    && deployment.provider == old.provider
                    && deployment.upstream_model == old.upstream_model
            });
            // One that comes back before its last call is over is the same as before.
            slot.retired = stays.is_none() || (slot.retired && slot.outstanding == 0);
            match stays {
                Some(deployment) if *deployment == *slot.deployment => {}
                Some(deployment) => slot.deployment = Arc::new(deployment.clone()),
                None => {}
            }
            if policy.probe.is_none() {
                slot.breaker.forget_probes();
            }
        }
        for deployment in &policy.deployments {
            if self.slots.iter().any(|slot| is(slot, &deployment.id)) {
                continue;
            }
            let slot = Slot::new(deployment, &policy.breaker, is_new, now);
            // A place is free once no lease points to it.
            match self.slots.iter_mut().find(|slot| slot.retired && slot.outstanding == 0) {
                Some(free) => *free = slot,
                None => self.slots.push(slot),
            }
        }
    }

    fn lease(&mut self, pool: &Arc<Pool>, number: usize, kind: Kind, now: Instant) -> Lease {
        let slot = &mut self.slots[number];
        slot.outstanding += 1;
        slot.totals.sent += 1;
        let ticket = slot.breaker.begin(now);
        let waiting = slot.waiting[kind.index()].push(&mut self.common.slab, now);
        Lease {
            pool: Arc::clone(pool),
            slot: number,
            deployment: Arc::clone(&slot.deployment),
            started: now,
            kind,
            ticket,
            waiting: Some(waiting),
            panicked: false,
            hedge: false,
            finished: false,
        }
    }

    pub(crate) fn first_byte(&mut self, lease: &mut Lease, now: Instant) {
        let Some(waiting) = lease.waiting.take() else { return };
        let slot = &mut self.slots[lease.slot];
        slot.waiting[lease.kind.index()].remove(&mut self.common.slab, waiting);
        let elapsed = now.saturating_duration_since(lease.started);
        slot.heard(lease.started, &mut self.common.slab);
        let turn = slot.breaker.answered(lease.ticket, &self.policy.breaker, now);
        note(&mut self.changes, slot, turn, now);
        slot.first_byte(lease.kind, elapsed, &mut self.common, now);
    }

    pub(crate) fn finish(&mut self, lease: &mut Lease, outcome: Outcome, now: Instant) {
        let slot = &mut self.slots[lease.slot];
        let unanswered = lease.waiting.is_some();
        let elapsed = now.saturating_duration_since(lease.started);
        if unanswered && matches!(outcome, Outcome::Cancelled | Outcome::Fault(_)) {
            // It would have taken at least so long. A failure that comes fast must not make it look fast.
            slot.latency[lease.kind.index()].at_least(elapsed.as_secs_f64(), now);
        }
        let silent = unanswered && slot.heard.is_none_or(|sent| sent <= lease.started);
        if unanswered && outcome.is_answer() {
            slot.heard(lease.started, &mut self.common.slab);
        }
        let totals = &mut slot.totals;
        let (total, success) = match outcome {
            Outcome::Success => (&mut totals.succeeded, Some(1.0)),
            Outcome::ClientFault => (&mut totals.client_faults, None),
            Outcome::RateLimited { .. } => (&mut totals.rate_limited, None),
            Outcome::Fault(_) => (&mut totals.faults, Some(0.0)),
            Outcome::Cancelled | Outcome::Unfit => (&mut totals.cancelled, None),
        };
        *total += 1;
        if let Some(success) = success {
            slot.success += (success - slot.success) * LATEST;
        }
        let breaker = &self.policy.breaker;
        let turn = slot.breaker.finish(lease.ticket, outcome, silent, breaker, now, &mut self.rng);
        note(&mut self.changes, slot, turn, now);
        self.release(lease);
    }

    /// The call was dropped; when, nobody said.
    pub(crate) fn abandon(&mut self, lease: &mut Lease) {
        let slot = &mut self.slots[lease.slot];
        slot.totals.cancelled += 1;
        slot.breaker.end_trial(lease.ticket);
        self.release(lease);
    }

    fn release(&mut self, lease: &mut Lease) {
        let slot = &mut self.slots[lease.slot];
        if let Some(waiting) = lease.waiting.take() {
            slot.waiting[lease.kind.index()].remove(&mut self.common.slab, waiting);
        }
        slot.outstanding = slot.outstanding.saturating_sub(1);
    }

    /// Takes a retry from the budget, if there is one left.
    pub(crate) fn take_retry(&mut self, now: Instant) -> bool {
        let policy = &self.policy.retries;
        let sum = self.retries.sum(now);
        let floor = u64::from(policy.min_per_second) * self.retries.length().as_secs();
        let allowed = u64::from(sum.all) * u64::from(policy.budget_percent) / 100 + floor;
        let granted = u64::from(sum.some) < allowed;
        if granted {
            self.retries.add(0, 1, now);
        }
        granted
    }
}

#[cfg(test)]
mod tests;
