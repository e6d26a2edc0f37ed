//! The pool as an operator sees it.

use crate::breaker::Standing;
use crate::choose::Kind;
use crate::pool::Pool;
use crate::slot::{Common, Slot};
pub use contracts::live::{DeploymentState as State, DeploymentView, PoolView};
use std::time::{Duration, Instant};

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
            // JSON has no infinity.
            cost: self.cost(Kind::Streamed, common, now).min(f64::MAX),
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
            load: load.map(Into::into),
            load_age_ms: told_at.map(|at| millis(now.saturating_duration_since(at))),
            pressure: self.busy(common, now) - 1.0,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
