//! How a queue stands, for whoever looks after it.

use crate::TenantId;
use crate::policy::queue::Band;
use serde::{Deserialize, Serialize};

/// A queue at one moment. Counters grow from the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandView {
    /// Which.
    pub band: Band,
    /// Calls that run, without those that came while there was no limit.
    pub running: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// How long the first of them has waited, in milliseconds.
    pub longest_wait_ms: Option<u64>,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// The queue was full.
    pub full: u64,
    /// The tenant's part of it was.
    pub tenant_full: u64,
    /// The wait would have been too long for the call.
    pub too_late: u64,
    /// It was.
    pub timed_out: u64,
}

/// One tenant in one band.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantView {
    /// Which.
    pub tenant: TenantId,
    /// Its fair share, relative to others.
    pub weight: u32,
    /// Calls that run.
    pub running: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// How long the first of them has waited, in milliseconds.
    pub longest_wait_ms: Option<u64>,
    /// Tokens it was charged, those of output weighted, since it was last unknown to the queue.
    pub charged_tokens: u64,
}

impl QueueView {
    /// How long the call that waits longest has waited, in milliseconds.
    pub fn longest_wait_ms(&self) -> Option<u64> {
        self.bands.iter().filter_map(|band| band.longest_wait_ms).max()
    }
}

impl Refusals {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.full + self.tenant_full + self.too_late + self.timed_out
    }
}
