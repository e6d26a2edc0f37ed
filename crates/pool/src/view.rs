//! The pool as an operator sees it.

use crate::breaker::Standing;
use crate::choose::Kind;
use crate::load::Sample;
use crate::pool::Pool;
use crate::slot::{Common, Slot};
use contracts::ProviderId;
use contracts::policy::pool::DeploymentId;
use serde::Serialize;
use std::time::{Duration, Instant};

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolView {
    /// Its deployments, those that are finishing their last calls included.
    pub deployments: Vec<DeploymentView>,
    /// Whether so many are out that all count as in.
    pub panic: bool,
    /// Calls of the last ten seconds.
    pub calls: u32,
    /// Retries among them.
    pub retries: u32,
    /// Hedges among them.
    pub hedges: u32,
    /// The middle of the times to first byte of streamed calls over the last minutes, in milliseconds.
    pub first_byte_p50_ms: Option<f64>,
    /// The 99th percentile of them.
    pub first_byte_p99_ms: Option<f64>,
}

/// A deployment at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentView {
    /// Its id.
    pub id: DeploymentId,
    /// Its provider.
    pub provider: ProviderId,
    /// The name that the provider knows the model by.
    pub upstream_model: String,
    /// How it stands.
    pub state: State,
    /// Why it is out, or was last.
    pub why: Option<String>,
    /// For how long it gets no calls, in milliseconds, if that is so.
    pub ready_in_ms: Option<u64>,
    /// Calls under way.
    pub outstanding: u32,
    /// Calls among them that have no first byte.
    pub waiting: u32,
    /// How long they have waited while nobody was answered, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Peak-sensitive average of the time to first byte of streamed calls, in milliseconds.
    pub first_byte_ms: Option<f64>,
    /// The same of answers that come whole.
    pub whole_ms: Option<f64>,
    /// What the balance compares; lower is better.
    pub cost: f64,
    /// Its weight.
    pub weight: u32,
    /// The share of its weight that counts while it ramps up.
    pub ramp: f64,
    /// Calls within the breaker's window.
    pub recent_calls: u32,
    /// Faults among them.
    pub recent_faults: u32,
    /// Faults one after the other, up to now.
    pub faults_in_a_row: u32,
    /// Times that it was put out.
    pub ejections: u64,
    /// Calls sent since the beginning.
    pub sent: u64,
    /// Those that were answered to the end.
    pub succeeded: u64,
    /// Those that were bad requests.
    pub client_faults: u64,
    /// Those that were too many for it.
    pub rate_limited: u64,
    /// Those that it failed.
    pub faults: u64,
    /// Those that nobody waited for any more.
    pub cancelled: u64,
    /// What its server and its GPUs told last.
    pub load: Option<Sample>,
    /// How old that is, in milliseconds; of two, the younger.
    pub load_age_ms: Option<u64>,
    /// How much it counts as busier than idle, age and the pool's mean considered.
    pub pressure: f64,
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It gets its share.
    In,
    /// It came back, or is new, and gets a growing share.
    SlowStart,
    /// It seems to hang and gets calls only if there is no other.
    Stalled,
    /// It asked to be left alone.
    BackingOff,
    /// It failed and gets none.
    Out,
    /// It failed, and calls try it one by one.
    Trial,
    /// Its weight is 0, or it is no longer in the policy: it finishes what it has.
    Draining,
}

impl Pool {
    /// What is known of everybody.
    pub fn view(&self, now: Instant) -> PoolView {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let retries = inner.retries.sum(now);
        let hedges = inner.hedges.sum(now);
        let spread = &inner.common.spread[Kind::Streamed.index()];
        let first_byte = |quantile| spread.quantile(quantile, 1).map(|seconds| seconds * 1_000.0);
        let (first_byte_p50_ms, first_byte_p99_ms) = (first_byte(0.5), first_byte(0.99));
        let shown = inner.slots.iter_mut().filter(|slot| !slot.retired || slot.outstanding > 0);
        let deployments = shown.map(|slot| slot.view(&inner.common, now)).collect();
        PoolView {
            deployments,
            panic: inner.in_panic(),
            calls: retries.all,
            retries: retries.some,
            hedges: hedges.some,
            first_byte_p50_ms,
            first_byte_p99_ms,
        }
    }
}

impl Slot {
    fn state(&self, common: &Common, now: Instant) -> State {
        if !self.is_usable() {
            return State::Draining;
        }
        match self.breaker.standing(now) {
            Standing::BackingOff => State::BackingOff,
            Standing::Trial => State::Trial,
            Standing::Out if self.breaker.ready_at().is_none_or(|at| at <= now) => State::Trial,
            Standing::Out => State::Out,
            Standing::In if self.is_stalled(common, now) => State::Stalled,
            Standing::In if self.breaker.ramp(common.slow_start, now) < 1.0 => State::SlowStart,
            Standing::In => State::In,
        }
    }

    fn view(&mut self, common: &Common, now: Instant) -> DeploymentView {
        let (recent_calls, recent_faults) = self.breaker.counts(now);
        let latency = |kind: Kind| {
            let at = kind.index();
            self.latency[at].read(common.usual[at], now, common.decay).map(|seconds| seconds * 1_000.0)
        };
        let silence = Kind::ALL.into_iter().filter_map(|kind| self.silence(kind, &common.slab, now)).max();
        let [server, gpus] = self.told;
        let load = match (server, gpus) {
            (Some((server, _)), Some((gpus, _))) => Some(server.or(gpus)),
            (one, other) => one.or(other).map(|(sample, _)| sample),
        };
        let told_at = server.map(|(_, at)| at).max(gpus.map(|(_, at)| at));
        let ready_in =
            self.breaker.ready_at().filter(|at| *at > now).map(|at| at.saturating_duration_since(now));
        DeploymentView {
            id: self.deployment.id.clone(),
            provider: self.deployment.provider.clone(),
            upstream_model: self.deployment.upstream_model.clone(),
            state: self.state(common, now),
            why: self.breaker.why.map(|why| why.to_string()),
            ready_in_ms: ready_in.map(millis),
            outstanding: self.outstanding,
            waiting: self.waiting.iter().map(crate::waiting::List::count).sum(),
            silent_ms: silence.map(millis),
            first_byte_ms: latency(Kind::Streamed),
            whole_ms: latency(Kind::Whole),
            cost: self.cost(Kind::Streamed, common, now),
            weight: self.deployment.weight,
            ramp: self.breaker.ramp(common.slow_start, now),
            recent_calls,
            recent_faults,
            faults_in_a_row: self.breaker.in_a_row(),
            ejections: self.breaker.ejections,
            sent: self.totals.sent,
            succeeded: self.totals.succeeded,
            client_faults: self.totals.client_faults,
            rate_limited: self.totals.rate_limited,
            faults: self.totals.faults,
            cancelled: self.totals.cancelled,
            load,
            load_age_ms: told_at.map(|at| millis(now.saturating_duration_since(at))),
            pressure: self.busy(common, now) - 1.0,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
