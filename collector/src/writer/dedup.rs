//! Which spans were inserted before: known from memory for recent ones, to be asked of ClickHouse for the rest.
//!
//! Memory holds digests of the ids (tenant, trace, span; or tenant and event) of the latest batches: 16 bytes, so that two ids never share one in
//! practice. What it does not hold can have been inserted only before its horizon, the moment at which memory began or from
//! which on it is complete, so only spans that ended before the horizon need a question to ClickHouse. Ends are told by the
//! senders' clocks, so an allowance is made for skew, a small one for our own services, and a span that claims to end in the
//! future is always asked about.
//!
//! That holds as long as this process alone inserts. Where several collectors share the warehouse every span that memory
//! does not know is asked about; so are those of a request that one of our services says it may have sent before.

use crate::record::Sender;
use crate::row::Row;
use contracts::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// A digest of a row's identity.
type Id = [u8; 16];

/// What is taken for certain about spans that memory does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Allowance for the clocks of tenants.
    pub clock_skew: Duration,
    /// Allowance for the clocks of our own services.
    pub service_clock_skew: Duration,
    /// Other collectors insert too: nothing is certain.
    pub several_collectors: bool,
}

/// What a batch's spans are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// Indexes of spans that are repeated in the batch; the first of them counts.
    pub repeated: Vec<usize>,
    /// Indexes of spans that memory knows.
    pub remembered: Vec<usize>,
    /// Indexes of spans that ClickHouse must be asked about.
    pub uncertain: Vec<usize>,
}

/// The latest inserted ids.
#[derive(Debug)]
pub struct Memory {
    ids: HashSet<Id>,
    batches: VecDeque<(Timestamp, Vec<Id>)>,
    capacity: usize,
    horizon: Timestamp,
    trust: Trust,
}

impl Memory {
    /// Empty, and complete from `now` on.
    pub fn new(capacity: usize, trust: Trust, now: Timestamp) -> Self {
        Self { ids: HashSet::new(), batches: VecDeque::new(), capacity, horizon: now, trust }
    }

    /// Sorts the spans of a batch at `now`; `senders` says for each row who sent it.
    pub fn sort(&self, rows: &[Row], senders: &[Sender], now: Timestamp) -> Sorted {
        let mut sorted = Sorted::default();
        let mut seen = HashSet::with_capacity(rows.len());
        for (index, (row, sender)) in rows.iter().zip(senders).enumerate() {
            let id = id(row);
            if !seen.insert(id) {
                sorted.repeated.push(index);
            } else if self.ids.contains(&id) {
                sorted.remembered.push(index);
            } else if self.is_uncertain(row, *sender, now) {
                sorted.uncertain.push(index);
            }
        }
        sorted
    }

    /// Remembers spans that were inserted, and forgets the oldest batches when there are too many.
    pub fn remember<'a>(&mut self, rows: impl IntoIterator<Item = &'a Row>, now: Timestamp) {
        // Each id is in one batch of memory only, or forgetting one would forget the other.
        let ids: Vec<Id> = rows.into_iter().map(id).filter(|id| self.ids.insert(*id)).collect();
        self.batches.push_back((now, ids));
        while self.ids.len() > self.capacity
            && let Some((inserted_at, forgotten)) = self.batches.pop_front()
        {
            for id in &forgotten {
                self.ids.remove(id);
            }
            self.horizon = self.horizon.max(inserted_at);
        }
    }

    fn is_uncertain(&self, row: &Row, sender: Sender, now: Timestamp) -> bool {
        let skew = match sender {
            // The end of one that was moved says nothing of when it was sent first.
            _ if self.trust.several_collectors || row.is_moved(now) => return true,
            Sender::ServiceAgain => return true,
            Sender::Service => self.trust.service_clock_skew,
            Sender::Tenant => self.trust.clock_skew,
        };
        let end = row.end_ns();
        let skew = i64::try_from(skew.as_nanos()).unwrap_or(i64::MAX);
        end <= self.horizon.unix_nanos().saturating_add(skew) || end > now.unix_nanos()
    }
}

fn id(row: &Row) -> Id {
    let mut digest = Sha256::new();
    for text in row.identity() {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    let mut id = Id::default();
    id.copy_from_slice(&digest.finalize()[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use warehouse::SpanRow;

    fn row(tenant: &str, span: u64, end_s: i64) -> Row {
        Row::from(SpanRow {
            tenant_id: tenant.into(),
            trace_id: format!("{:032x}", 1),
            span_id: format!("{span:016x}"),
            start_time: (end_s - 1) * 1_000_000_000,
            duration_ns: 1_000_000_000,
            ..SpanRow::default()
        })
    }

    const fn trust(clock_skew: Duration) -> Trust {
        Trust { clock_skew, service_clock_skew: Duration::from_secs(1), several_collectors: false }
    }

    const TENANT: [Sender; 9] = [Sender::Tenant; 9];

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_repeated_span_is_known_within_a_batch_and_after_it() {
        let mut memory = Memory::new(100, trust(Duration::ZERO), at(1_000));
        let rows = [row("a", 1, 2_000), row("a", 1, 2_000), row("b", 1, 2_000)];
        let sorted = memory.sort(&rows, &TENANT, at(2_000));
        assert_eq!(sorted, Sorted { repeated: vec![1], ..Sorted::default() });
        memory.remember(&rows, at(2_000));
        let again = memory.sort(&rows[..1], &TENANT, at(2_001));
        assert_eq!(again, Sorted { remembered: vec![0], ..Sorted::default() });
    }

    #[test]
    fn only_what_may_have_been_inserted_before_memory_began_is_uncertain() {
        let memory = Memory::new(100, trust(Duration::from_secs(10)), at(1_000));
        let rows = [row("a", 1, 999), row("a", 2, 1_010), row("a", 3, 1_011), row("a", 4, 5_000)];
        assert_eq!(
            memory.sort(&rows, &TENANT, at(2_000)).uncertain,
            [0, 1, 3],
            "the last ends in the future"
        );
    }

    #[test]
    fn our_services_clocks_are_trusted_more_but_not_their_retries() {
        let memory = Memory::new(100, trust(Duration::from_mins(10)), at(1_000));
        let rows = [row("a", 1, 1_002), row("a", 2, 1_002), row("a", 3, 1_002), row("a", 4, 1_001)];
        let senders = [Sender::Tenant, Sender::Service, Sender::ServiceAgain, Sender::Service];
        assert_eq!(memory.sort(&rows, &senders, at(2_000)).uncertain, [0, 2, 3]);
    }

    #[test]
    fn with_several_collectors_only_memory_is_certain() {
        let trust = Trust { several_collectors: true, ..trust(Duration::ZERO) };
        let mut memory = Memory::new(100, trust, at(1_000));
        memory.remember(&[row("a", 1, 2_000)], at(2_000));
        let sorted = memory.sort(&[row("a", 1, 2_000), row("a", 2, 2_000)], &TENANT, at(3_000));
        assert_eq!(sorted, Sorted { remembered: vec![0], uncertain: vec![1], ..Sorted::default() });
    }

    #[test]
    fn forgetting_moves_the_horizon() {
        let mut memory = Memory::new(2, trust(Duration::ZERO), at(1_000));
        for (span, now) in [(1, 2_000), (2, 3_000), (3, 4_000)] {
            memory.remember(&[row("a", span, now)], at(now));
        }
        let sorted =
            memory.sort(&[row("a", 1, 2_000), row("a", 2, 3_000), row("a", 9, 2_001)], &TENANT, at(5_000));
        assert_eq!(sorted, Sorted { remembered: vec![1], uncertain: vec![0], ..Sorted::default() });
    }
}
