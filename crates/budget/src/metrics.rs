//! What a ledger counts since it was opened: plain numbers, to be registered by whoever exports them.

use contracts::Usd;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// So far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// Adds an amount in picodollars; what does not fit into 64 bits is cut.
    pub(crate) fn add_usd(&self, amount: Usd) {
        self.add(u64::try_from(amount.picos().max(0)).unwrap_or(u64::MAX));
    }
}

/// Counters of a ledger. Amounts are in picodollars.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Reservations made.
    pub reserved: Count,
    /// Refused because a limit would be passed.
    pub exhausted: Count,
    /// Refused because nobody could tell.
    pub unavailable: Count,
    /// Holds whose call was sent.
    pub dispatched: Count,
    /// Holds that were settled.
    pub settled: Count,
    /// Holds that were released.
    pub released: Count,
    /// Holds of calls that were sent and of which nobody knows what they cost, charged in full.
    pub dropped: Count,
    /// Settled for more than was held.
    pub overruns: Count,
    /// By how much altogether.
    pub overrun_picos: Count,
    /// Calls that an earlier process had sent and not settled, each counted on every account that it was charged to.
    pub unaccounted: Count,
    /// What had been reserved for them, summed over accounts.
    pub unaccounted_picos: Count,
    /// Writes and syncs of the journal that failed.
    pub journal_errors: Count,
    /// Records of the journal that were damaged.
    pub journal_damaged: Count,
    /// Snapshots written in place of older records.
    pub compactions: Count,
    /// Times that a group's books were told to Redis anew.
    pub joins: Count,
    /// Round trips to Redis that failed.
    pub redis_errors: Count,
    /// Times that Redis was found restarted or empty.
    pub redis_restarts: Count,
    /// Gateways whose lease had run out and that were swept.
    pub swept: Count,
    /// Reservations made out of a grant while Redis was away.
    pub from_grant: Count,
}
