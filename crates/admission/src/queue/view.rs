//! How a queue stands, for whoever looks after it.

use super::Reason;
use super::shares::Share;
use super::state::State;
pub use contracts::live::{BandView, QueueView as View, Refusals, TenantView};
use contracts::policy::queue::Band;
use tokio::time::Instant;

/// Counts a call that was refused.
pub(super) fn count(refused: &mut Refusals, reason: Reason) {
    *match reason {
        Reason::Full => &mut refused.full,
        Reason::TenantFull => &mut refused.tenant_full,
        Reason::TooLate { .. } => &mut refused.too_late,
        Reason::TimedOut { .. } => &mut refused.timed_out,
    } += 1;
}

impl State {
    pub(super) fn view(&self, open: u64, now: Instant) -> View {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let bands = Band::ALL.map(|band| {
            let line = &self.lines[band as usize];
            let shares = line.shares.iter().filter(|share| share.running > 0 || !share.waiting.is_empty());
            let longest_wait = |share: &Share| {
                let first = share.waiting.first_key_value();
                first.map(|(_, waiter)| ms(now.saturating_duration_since(waiter.since)))
            };
            let mut tenants: Vec<TenantView> = shares
                .map(|share| TenantView {
                    tenant: share.tenant.clone(),
                    weight: share.weight,
                    running: share.running,
                    waiting: u32::try_from(share.waiting.len()).unwrap_or(u32::MAX),
                    longest_wait_ms: longest_wait(share),
                    charged_tokens: share.served,
                })
                .collect();
            tenants.sort_by(|a, b| b.waiting.cmp(&a.waiting).then_with(|| a.tenant.cmp(&b.tenant)));
            BandView {
                band,
                running: line.running,
                waiting: line.shares.waiting(),
                longest_wait_ms: tenants.iter().filter_map(|tenant| tenant.longest_wait_ms).max(),
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
