//! How fast things go: moving averages of durations.

use std::time::Duration;
use tokio::time::Instant;

/// A moving average in which the newest value counts a sixteenth; the first one counts whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Average {
    nanos: Option<u64>,
}

/// The pace at which waiting calls start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    between: Average,
    /// When a call started last, or the first of those that wait came.
    since: Instant,
}

impl Average {
    pub(super) fn add(&mut self, value: Duration) {
        self.nanos = Some(self.with(value));
    }

    pub(super) fn get(self) -> Option<Duration> {
        self.nanos.map(Duration::from_nanos)
    }

    fn with(self, value: Duration) -> u64 {
        let value = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.map_or(value, |old| (old - old / 16).saturating_add(value / 16))
    }
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { between: Average::default(), since: now }
    }

    /// The first call waits.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    /// A call that waited starts.
    pub(super) fn step(&mut self, now: Instant) {
        self.between.add(now.saturating_duration_since(self.since));
        self.since = now;
    }

    /// The time from one start to the next; when none has started for longer, as if one started now.
    pub(super) fn between(&self, now: Instant) -> Option<Duration> {
        let usual = self.between.get()?;
        let stalled = Duration::from_nanos(self.between.with(now.saturating_duration_since(self.since)));
        Some(usual.max(stalled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows() {
        let mut average = Average::default();
        assert_eq!(average.get(), None);
        average.add(Duration::from_secs(16));
        assert_eq!(average.get(), Some(Duration::from_secs(16)));
        average.add(Duration::from_secs(32));
        assert_eq!(average.get(), Some(Duration::from_secs(17)));
    }

    #[test]
    fn a_stall_shows_before_it_ends() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.between(start + Duration::from_secs(9)), None);
        pace.begin(start);
        pace.step(start + Duration::from_secs(1));
        assert_eq!(pace.between(start + Duration::from_secs(2)), Some(Duration::from_secs(1)));
        assert!(pace.between(start + Duration::from_secs(100)) > Some(Duration::from_secs(6)));
    }
}
