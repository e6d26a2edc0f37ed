//! How much went through lately: the counters as they were at the end of each of the last sixty seconds, and at midnight.

use crate::app::App;
use contracts::Timestamp;
use contracts::live::{Lately, Totals, Traffic};
use contracts::policy::budget::Window;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the counters are noted.
const TICK: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    started: Instant,
    /// Oldest first; never empty.
    noted: VecDeque<(Instant, Totals)>,
    /// The first moment of this day of which something is known.
    day: Timestamp,
    /// The counters then.
    at_day: Totals,
}

impl History {
    pub(super) fn new(now: Instant, at: Timestamp) -> Self {
        let noted = VecDeque::from([(now, Totals::default())]);
        Self { started: now, noted, day: at, at_day: Totals::default() }
    }

    /// The counters stand at `totals`.
    fn note(&mut self, now: Instant, at: Timestamp, totals: Totals) {
        let midnight = Window::Day.span(at).start;
        if midnight > self.day {
            (self.day, self.at_day) = (midnight, totals);
        }
        self.noted.push_back((now, totals));
        // One that is older than a minute is needed to tell of a whole one.
        while self.noted.get(1).is_some_and(|(then, _)| now.saturating_duration_since(*then) >= MINUTE) {
            self.noted.pop_front();
        }
    }

    /// What came in the last `window`, or since the start: measured from the last note that is as old.
    fn lately(&self, now: Instant, totals: Totals, window: Duration) -> Lately {
        let is_as_old = |(then, _): &&(Instant, Totals)| now.saturating_duration_since(*then) >= window;
        let since = self.noted.iter().rev().find(is_as_old).or(self.noted.front());
        since.map_or_else(Lately::default, |(then, before)| Lately {
            over_ms: super::ms(now.saturating_duration_since(*then)),
            totals: totals - *before,
        })
    }

    fn traffic(&self, now: Instant, at: Timestamp, in_flight: u64, totals: Totals) -> Traffic {
        let today = Lately { over_ms: at.nanos_since(self.day) / 1_000_000, totals: totals - self.at_day };
        Traffic {
            in_flight,
            since_start: totals,
            last_10_s: self.lately(now, totals, TEN_SECONDS),
            last_minute: self.lately(now, totals, MINUTE),
            today,
        }
    }
}

/// What went through, and for how long the gateway is up.
pub(super) fn traffic(app: &App, now: Instant, at: Timestamp) -> (Traffic, Duration) {
    let mut history = app.live.history.lock().unwrap_or_else(PoisonError::into_inner);
    let (in_flight, totals) = (app.metrics.in_flight(), app.metrics.totals());
    if Window::Day.span(at).start > history.day {
        history.note(now, at, totals);
    }
    (history.traffic(now, at, in_flight, totals), now.saturating_duration_since(history.started))
}

/// Notes the counters every second, for ever.
pub(crate) async fn tick(app: Arc<App>) {
    loop {
        tokio::time::sleep(TICK).await;
        let totals = app.metrics.totals();
        let mut history = app.live.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.note(Instant::now(), app.clock.now(), totals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(calls: u64) -> Totals {
        Totals { calls, ..Totals::default() }
    }

    #[test]
    fn a_time_is_measured_from_the_note_that_is_as_old_or_else_from_the_start() {
        // Ten minutes before midnight.
        let (began, at) = (Instant::now(), Timestamp::from_unix_seconds(86_400 - 600));
        let after = |s: u64| {
            (
                began + Duration::from_secs(s),
                Timestamp::from_unix_nanos(at.unix_nanos() + i64::try_from(s).unwrap() * 1_000_000_000),
            )
        };
        let mut history = History::new(began, at);
        for s in 1..=5 {
            let (now, at) = after(s);
            history.note(now, at, totals(s * 10));
        }
        let (now, when) = after(5);
        let traffic = history.traffic(now, when, 3, totals(50));
        for lately in [traffic.last_10_s, traffic.last_minute, traffic.today] {
            assert_eq!((lately.over_ms, lately.totals.calls), (5_000, 50));
        }
        for s in 6..=590 {
            let (now, at) = after(s);
            history.note(now, at, totals(s * 10));
        }
        let (now, when) = after(590);
        let traffic = history.traffic(now, when, 3, totals(5_900));
        assert_eq!((traffic.last_10_s.over_ms, traffic.last_10_s.totals.calls), (10_000, 100));
        assert_eq!((traffic.last_minute.over_ms, traffic.last_minute.totals.calls), (60_000, 600));
        assert_eq!((traffic.today.over_ms, traffic.today.totals.calls), (590_000, 5_900));
        assert_eq!(history.noted.len(), 61);

        let (now, when) = after(600);
        history.note(now, when, totals(6_000));
        let (now, when) = after(601);
        let traffic = history.traffic(now, when, 0, totals(6_010));
        assert_eq!((traffic.today.over_ms, traffic.today.totals.calls), (1_000, 10), "a new day");
        assert_eq!(traffic.since_start.calls, 6_010);
    }
}
