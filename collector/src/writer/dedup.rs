//! Which spans were inserted before: known from memory for recent ones, to be asked of ClickHouse for the rest.
//!
//! Memory holds the full ids (tenant, 16 bytes of trace, 8 of span) of the latest batches. What it does not hold can have been
//! inserted only before its horizon, the moment at which memory began or from which on it is complete, so only spans that
//! ended before the horizon need a question to ClickHouse. Ends are told by the senders' clocks, so an allowance is made
//! for skew, and a span that claims to end in the future is always asked about.

use contracts::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use warehouse::SpanRow;

/// A span's identity, with the tenant as a number of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id {
    tenant: u32,
    trace: [u8; 16],
    span: [u8; 8],
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
    tenants: HashMap<String, u32>,
    ids: HashSet<Id>,
    batches: VecDeque<(Timestamp, Vec<Id>)>,
    capacity: usize,
    horizon: Timestamp,
    skew: Duration,
}

impl Memory {
    /// Empty, and complete from `now` on.
    pub fn new(capacity: usize, skew: Duration, now: Timestamp) -> Self {
        Self {
            tenants: HashMap::new(),
            ids: HashSet::new(),
            batches: VecDeque::new(),
            capacity,
            horizon: now,
            skew,
        }
    }

    /// Sorts the spans of a batch at `now`.
    pub fn sort(&mut self, rows: &[SpanRow], now: Timestamp) -> Sorted {
        let mut sorted = Sorted::default();
        let mut seen = HashSet::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            // A row without ids cannot be spooled by us; were there one, it is nobody's repetition.
            let Some(id) = self.id(row) else { continue };
            if !seen.insert(id) {
                sorted.repeated.push(index);
            } else if self.ids.contains(&id) {
                sorted.remembered.push(index);
            } else if self.is_uncertain(row, now) {
                sorted.uncertain.push(index);
            }
        }
        sorted
    }

    /// Remembers spans that were inserted, and forgets the oldest batches when there are too many.
    pub fn remember(&mut self, rows: &[SpanRow], now: Timestamp) {
        let mut ids: Vec<Id> = rows.iter().filter_map(|row| self.id(row)).collect();
        // Each id is in one batch of memory only, or forgetting one would forget the other.
        ids.retain(|id| self.ids.insert(*id));
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

    fn is_uncertain(&self, row: &SpanRow, now: Timestamp) -> bool {
        let duration = i64::try_from(row.duration_ns).unwrap_or(i64::MAX);
        let end = row.start_time.saturating_add(duration);
        let skew = i64::try_from(self.skew.as_nanos()).unwrap_or(i64::MAX);
        end <= self.horizon.unix_nanos().saturating_add(skew) || end > now.unix_nanos()
    }

    fn id(&mut self, row: &SpanRow) -> Option<Id> {
        let mut id = Id { tenant: 0, trace: [0; 16], span: [0; 8] };
        hex::decode_to_slice(&row.trace_id, &mut id.trace).ok()?;
        hex::decode_to_slice(&row.span_id, &mut id.span).ok()?;
        id.tenant = if let Some(number) = self.tenants.get(&row.tenant_id) {
            *number
        } else {
            let number = u32::try_from(self.tenants.len()).ok()?;
            self.tenants.insert(row.tenant_id.clone(), number);
            number
        };
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tenant: &str, span: u64, end_s: i64) -> SpanRow {
        SpanRow {
            tenant_id: tenant.into(),
            trace_id: format!("{:032x}", 1),
            span_id: format!("{span:016x}"),
            start_time: (end_s - 1) * 1_000_000_000,
            duration_ns: 1_000_000_000,
            ..SpanRow::default()
        }
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_repeated_span_is_known_within_a_batch_and_after_it() {
        let mut memory = Memory::new(100, Duration::ZERO, at(1_000));
        let rows = [row("a", 1, 2_000), row("a", 1, 2_000), row("b", 1, 2_000)];
        let sorted = memory.sort(&rows, at(2_000));
        assert_eq!(sorted, Sorted { repeated: vec![1], ..Sorted::default() });
        memory.remember(&rows, at(2_000));
        let again = memory.sort(&rows[..1], at(2_001));
        assert_eq!(again, Sorted { remembered: vec![0], ..Sorted::default() });
    }

    #[test]
    fn only_what_may_have_been_inserted_before_memory_began_is_uncertain() {
        let mut memory = Memory::new(100, Duration::from_secs(10), at(1_000));
        let rows = [row("a", 1, 999), row("a", 2, 1_010), row("a", 3, 1_011), row("a", 4, 5_000)];
        assert_eq!(memory.sort(&rows, at(2_000)).uncertain, [0, 1, 3], "the last ends in the future");
    }

    #[test]
    fn forgetting_moves_the_horizon() {
        let mut memory = Memory::new(2, Duration::ZERO, at(1_000));
        for (span, now) in [(1, 2_000), (2, 3_000), (3, 4_000)] {
            memory.remember(&[row("a", span, now)], at(now));
        }
        let sorted = memory.sort(&[row("a", 1, 2_000), row("a", 2, 3_000), row("a", 9, 2_001)], at(5_000));
        assert_eq!(sorted, Sorted { remembered: vec![1], uncertain: vec![0], ..Sorted::default() });
    }
}
