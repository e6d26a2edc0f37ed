//! The one source of "now". Production code is handed a [`Clock`]; a test owns the time by making a manual one.

use contracts::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Tells the time of day. Cloning is cheap; clones of a manual clock share one time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock, UTC.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is advanced.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.unix_nanos()))))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(nanos) => Timestamp::from_unix_nanos(nanos.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward, for all its clones. The machine's clock is not ours to move: nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(nanos) = &self.0 {
            nanos.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is asked to take")]
fn system_now() -> Timestamp {
    // A machine whose clock stands before 1970 gets the epoch: a wrong time, but a defined one.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let clone = clock.clone();
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clone.now(), Timestamp::from_unix_millis(1_001_500));
    }

    #[test]
    fn the_system_clock_tells_this_century() {
        let clock = Clock::system();
        clock.advance(Duration::from_secs(4_000_000_000));
        let now = clock.now().unix_seconds();
        assert!((1_700_000_000..4_100_000_000).contains(&now), "{now}");
    }
}
