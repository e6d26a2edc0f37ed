//! How a queue stands, for whoever looks after it.

use super::Reason;
use super::state::State;
use contracts::TenantId;
use contracts::policy::queue::Band;
use serde::Serialize;
use tokio::time::Instant;

/// A queue at one moment. Counters grow from the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// Calls that may run at a time, if that is limited.
    pub concurrency: Option<u32>,
    /// Calls that run.
    pub running: u64,
    /// Calls that wait.
    pub waiting: u32,
    /// How long calls take, in milliseconds: a moving average, once one has ended.
    pub typical_call_ms: Option<u64>,
    /// The bands, the most urgent first.
    pub bands: [BandView; 3],
}

/// One band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BandView {
    /// Which.
    pub band: Band,
    /// Calls that run, without those that came while there was no limit.
    pub running: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Milliseconds from the start of one waiting call to the next: a moving average, once it can be told.
    pub interval_ms: Option<u64>,
    /// Calls that started.
    pub started: u64,
    /// Those of them that waited.
    pub started_after_wait: u64,
    /// Calls whose caller went away while they waited.
    pub cancelled: u64,
    /// Calls refused, by reason.
    pub refused: Refusals,
    /// The tenants with calls that run or wait, those with the most waiting first.
    pub tenants: Vec<TenantView>,
}

/// Calls refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// [`Reason::Full`].
    pub full: u64,
    /// [`Reason::TenantFull`].
    pub tenant_full: u64,
    /// [`Reason::TooLate`].
    pub too_late: u64,
    /// [`Reason::TimedOut`].
    pub timed_out: u64,
}

/// One tenant in one band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantView {
    /// Which.
    pub tenant: TenantId,
    /// Its fair share, relative to others.
    pub weight: u32,
    /// Calls that run.
    pub running: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Tokens it was charged, those of output weighted, since it was last unknown to the queue.
    pub charged_tokens: u64,
}

impl Refusals {
    pub(super) fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::Full => &mut self.full,
            Reason::TenantFull => &mut self.tenant_full,
            Reason::TooLate { .. } => &mut self.too_late,
            Reason::TimedOut { .. } => &mut self.timed_out,
        } += 1;
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.full + self.tenant_full + self.too_late + self.timed_out
    }
}

impl State {
    pub(super) fn view(&self, open: u64, now: Instant) -> View {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bands = Band::ALL.map(|band| {
            let line = &self.lines[band as usize];
            let shares = line.shares.iter().filter(|share| share.running > 0 || !share.waiting.is_empty());
            let mut tenants: Vec<TenantView> = shares
                .map(|share| TenantView {
                    tenant: share.tenant.clone(),
                    weight: share.weight,
                    running: share.running,
                    waiting: u32::try_from(share.waiting.len()).unwrap_or(u32::MAX),
                    charged_tokens: share.served,
                })
                .collect();
            tenants.sort_by(|a, b| b.waiting.cmp(&a.waiting).then_with(|| a.tenant.cmp(&b.tenant)));
            BandView {
                band,
                running: line.running,
                waiting: line.shares.waiting(),
                interval_ms: self.interval(band, now).map(ms),
                started: line.started,
                started_after_wait: line.started_after_wait,
                cancelled: line.cancelled,
                refused: line.refusals,
                tenants,
            }
        });
        View {
            concurrency: self.policy.concurrency.map(std::num::NonZeroU32::get),
            running: open + bands.iter().map(|band| u64::from(band.running)).sum::<u64>(),
            waiting: self.waiting(),
            typical_call_ms: self.typical_call.get().map(ms),
            bands,
        }
    }
}
