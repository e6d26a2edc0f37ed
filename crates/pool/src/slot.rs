//! One deployment: everything that is known of it.

use crate::affinity;
use crate::breaker::Breaker;
use crate::choose::Kind;
use crate::latency::{PeakEwma, Spread};
use crate::load::{Sample, confidence};
use crate::waiting::{List, Slab};
use contracts::policy::pool::{Breaker as BreakerPolicy, Deployment};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewer times than these say nothing of how they are spread.
const ENOUGH: u32 = 50;
/// What is less likely than this, of a deployment that works, means that it hangs.
const UNLIKELY: f64 = 0.002;

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) deployment: Arc<Deployment>,
    /// What stands for it in rendezvous scores.
    pub(crate) key: u64,
    /// No longer in the policy: finishes what it has, then its place is free.
    pub(crate) retired: bool,
    pub(crate) outstanding: u32,
    /// Calls without a first byte, by kind.
    pub(crate) waiting: [List; 2],
    /// When the last-sent of the calls was sent that were answered anything.
    pub(crate) heard: Option<Instant>,
    pub(crate) latency: [PeakEwma; 2],
    pub(crate) spread: [Spread; 2],
    /// Share of the latest calls that it is not to blame for.
    pub(crate) success: f64,
    pub(crate) breaker: Breaker,
    /// What its server and its GPUs told, and when.
    pub(crate) told: [Option<(Sample, Instant)>; 2],
    pub(crate) totals: Totals,
}

/// Calls since the beginning, by how they ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) client_faults: u64,
    pub(crate) rate_limited: u64,
    pub(crate) faults: u64,
    pub(crate) cancelled: u64,
}

/// What the pool's deployments have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) slab: Slab,
    /// How first bytes are spread over the whole pool, and the middle of it, by kind.
    pub(crate) spread: [Spread; 2],
    pub(crate) usual: [Option<f64>; 2],
    /// What the pool's deployments tell on average, by source.
    pub(crate) mean_pressure: [f64; 2],
    pub(crate) decay: Duration,
    pub(crate) slow_start: Duration,
    pub(crate) fresh: Duration,
    pub(crate) stale: Duration,
}

impl Slot {
    pub(crate) fn new(deployment: &Deployment, policy: &BreakerPolicy, new: bool, now: Instant) -> Self {
        Self {
            deployment: Arc::new(deployment.clone()),
            key: affinity::key(deployment.id.as_str()),
            retired: false,
            outstanding: 0,
            waiting: [List::default(); 2],
            heard: None,
            latency: [PeakEwma::default(); 2],
            spread: [Spread::new(now), Spread::new(now)],
            success: 1.0,
            breaker: Breaker::new(policy, new, now),
            told: [None; 2],
            totals: Totals::default(),
        }
    }

    /// Whether calls may go to it at all.
    pub(crate) fn is_usable(&self) -> bool {
        !self.retired && self.deployment.weight > 0
    }

    /// How long a call of `kind` has been waiting while neither it nor any that was sent later was answered.
    pub(crate) fn silence(&self, kind: Kind, slab: &Slab, now: Instant) -> Option<Duration> {
        let since = self.waiting[kind.index()].unheard_since(slab)?;
        Some(now.saturating_duration_since(since))
    }

    /// A call that was sent at `sent` was answered, well or not: the deployment took calls then.
    pub(crate) fn heard(&mut self, sent: Instant, slab: &mut Slab) {
        self.heard = self.heard.max(Some(sent));
        for list in &mut self.waiting {
            list.heard(slab, sent);
        }
    }

    /// Whether it seems to hang: it is silent for so long as a deployment that works hardly ever is.
    ///
    /// After Hayashibara's accrual failure detector (2004): the longer the silence, the less likely it is of one that works. With
    /// `S(t)` the share of first bytes that take longer than `t`, one call waits `t` with probability `S(t)`; of `n` that came one
    /// after the other, half have waited at least `t/2`, which has a probability of at most `S(t/2)^(n/2)`.
    pub(crate) fn is_stalled(&self, common: &Common, now: Instant) -> bool {
        Kind::ALL.into_iter().any(|kind| self.is_stalled_at(kind, common, now))
    }

    fn is_stalled_at(&self, kind: Kind, common: &Common, now: Instant) -> bool {
        let Some(silence) = self.silence(kind, &common.slab, now) else { return false };
        let silence = silence.as_secs_f64();
        let at = kind.index();
        let Some(usual) = common.usual[at] else { return false };
        if silence <= usual {
            return false;
        }
        let spread = [&self.spread[at], &common.spread[at]].into_iter().find(|s| s.count() >= ENOUGH);
        let Some(spread) = spread else {
            let average = self.latency[at].read(Some(usual), now, common.decay).unwrap_or(usual);
            return silence > 5.0 * average.max(usual);
        };
        let half = f64::from(self.waiting[at].unheard()) / 2.0;
        spread.longer(silence / 2.0).powf(half) < UNLIKELY
            || spread.longer(silence) < UNLIKELY
            || spread.quantile(0.99, ENOUGH).is_some_and(|slow| silence > 2.0 * slow)
    }

    /// What a call may expect here: lower is better. In seconds, give or take factors that all deployments share.
    ///
    /// Peak EWMA or the present silence, whichever is longer, times the calls that would be outstanding (Finagle's load), over
    /// the share of calls; over the share of calls that succeed, for who is failed tries again; and more for a long queue.
    pub(crate) fn cost(&self, kind: Kind, common: &Common, now: Instant) -> f64 {
        let at = kind.index();
        let usual = common.usual[at];
        let average = self.latency[at].read(usual, now, common.decay).or(usual).unwrap_or(1.0);
        let silence = self.silence(kind, &common.slab, now).map_or(0.0, |silence| silence.as_secs_f64());
        let calls = f64::from(self.outstanding) + 1.0;
        let full = self.deployment.slots.is_some_and(|slots| self.outstanding >= slots);
        let queue = if full { 4.0 } else { 1.0 };
        average.max(silence).max(0.001) * calls * queue * self.busy(common, now)
            / (self.share(common, now) * self.success.max(0.05))
    }

    /// Its weight, less while it ramps up.
    pub(crate) fn share(&self, common: &Common, now: Instant) -> f64 {
        f64::from(self.deployment.weight.max(1)) * self.breaker.ramp(common.slow_start, now)
    }

    /// 1 and the pressure that it tells of, as far as that still counts; for the rest, the pool's mean.
    pub(crate) fn busy(&self, common: &Common, now: Instant) -> f64 {
        let of = |(told, mean): (&Option<(Sample, Instant)>, &f64)| {
            let known = told.and_then(|(sample, at)| Some((sample.pressure()?, at)));
            known.map_or(*mean, |(pressure, at)| {
                let age = now.saturating_duration_since(at);
                let confidence = confidence(age, common.fresh, common.stale);
                pressure * confidence + mean * (1.0 - confidence)
            })
        };
        1.0 + self.told.iter().zip(&common.mean_pressure).map(of).sum::<f64>()
    }

    /// A first byte came, `elapsed` after the call was sent.
    pub(crate) fn first_byte(&mut self, kind: Kind, elapsed: Duration, common: &mut Common, now: Instant) {
        let (at, seconds) = (kind.index(), elapsed.as_secs_f64());
        self.latency[at].observe(seconds, now, common.decay);
        self.spread[at].record(seconds, now);
        common.spread[at].record(seconds, now);
        let count = common.spread[at].count();
        if count < 32 || count.is_multiple_of(16) {
            common.usual[at] = common.spread[at].quantile(0.5, 1);
        }
    }

    /// It came back: what it was like before it was out says little.
    pub(crate) fn forget(&mut self) {
        self.latency = [PeakEwma::default(); 2];
        self.success = 1.0;
    }
}
