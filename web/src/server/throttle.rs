//! Slows guessing down: after a few wrong passwords for a name, further tries must wait, longer each time. And only a few
//! passwords are checked at once, as each costs tens of milliseconds of a core by design.
//!
//! The count is kept in memory and by name, known or not, so that it tells nothing about which names exist. It holds for
//! one console process.

use contracts::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Wrong passwords before the first wait.
const FREE: u32 = 5;
const FIRST_WAIT_SECONDS: i64 = 15;
const LONGEST_WAIT_SECONDS: i64 = 900;
/// A name without a wrong password for this long starts afresh.
const FORGET_SECONDS: i64 = 3_600;
/// Names remembered at most; beyond it the oldest go first.
const MOST_NAMES: usize = 10_000;
/// Passwords checked at once.
const AT_ONCE: usize = 2;

/// How long a password waits for its turn to be checked.
const PATIENCE: Duration = Duration::from_secs(5);

/// The counts.
#[derive(Debug)]
pub(crate) struct Throttle {
    names: Mutex<HashMap<String, Misses>>,
    checking: Semaphore,
    patience: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Misses {
    count: u32,
    last: Timestamp,
    /// Tries whose password is being checked, or waits for that: each counts as a miss until it is known not to be one, or else many at
    /// the same time would all be among the first.
    in_flight: u32,
}

/// A password that may be checked now. Dropped without an outcome, it does not count.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    name: String,
    _turn: SemaphorePermit<'a>,
    _count: InFlight<'a>,
}

#[derive(Debug)]
struct InFlight<'a> {
    throttle: &'a Throttle,
    name: String,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { names: Mutex::default(), checking: Semaphore::new(AT_ONCE), patience: PATIENCE }
    }
}

impl Throttle {
    /// Waits for the turn of a password for `name`; none when the name must wait, or too many others do.
    pub(crate) async fn begin(&self, name: &str, now: Timestamp) -> Option<Try<'_>> {
        let count = self.enter(name, now)?;
        let turn = tokio::time::timeout(self.patience, self.checking.acquire()).await.ok()?.ok()?;
        Some(Try { throttle: self, name: key(name), _turn: turn, _count: count })
    }

    fn enter(&self, name: &str, now: Timestamp) -> Option<InFlight<'_>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, m| m.in_flight > 0 || now.unix_seconds() - m.last.unix_seconds() < FORGET_SECONDS);
        if names.len() >= MOST_NAMES && !names.contains_key(&key(name)) {
            let idle = names.iter().filter(|(_, misses)| misses.in_flight == 0);
            let oldest = idle.min_by_key(|(_, misses)| misses.last).map(|(name, _)| name.clone());
            // All of so many are being checked: whoever comes now comes later.
            names.remove(&oldest?);
        }
        let misses = names.entry(key(name)).or_insert(Misses { count: 0, last: now, in_flight: 0 });
        if misses.wait_seconds(now) > 0 {
            return None;
        }
        misses.in_flight += 1;
        Some(InFlight { throttle: self, name: key(name) })
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Misses)) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(misses) = names.get_mut(name) {
            change(misses);
            if misses.count == 0 && misses.in_flight == 0 {
                names.remove(name);
            }
        }
    }
}

impl Misses {
    fn wait_seconds(&self, now: Timestamp) -> i64 {
        let count = self.count.saturating_add(self.in_flight);
        if count < FREE {
            return 0;
        }
        let doublings = (count - FREE).min(10);
        let wait = (FIRST_WAIT_SECONDS << doublings).min(LONGEST_WAIT_SECONDS);
        let last = if self.in_flight > 0 { now } else { self.last };
        (last.unix_seconds() + wait - now.unix_seconds()).max(0)
    }
}

impl Try<'_> {
    /// The password was wrong.
    pub(crate) fn missed(self, now: Timestamp) {
        self.throttle.change(&self.name, |misses| {
            misses.count = misses.count.saturating_add(1);
            misses.last = misses.last.max(now);
        });
    }

    /// The password was right.
    pub(crate) fn passed(self) {
        self.throttle.change(&self.name, |misses| misses.count = 0);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.throttle.change(&self.name, |misses| misses.in_flight = misses.in_flight.saturating_sub(1));
    }
}

fn key(name: &str) -> String {
    name.chars().take(128).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// A wrong password; whether it was looked at.
    async fn guess(throttle: &Throttle, name: &str, seconds: i64) -> bool {
        let begun = throttle.begin(name, at(seconds)).await;
        begun.map(|begun| begun.missed(at(seconds))).is_some()
    }

    #[tokio::test]
    async fn waits_grow_and_a_success_ends_them() {
        let throttle = Throttle::default();
        for _ in 0..FREE {
            assert!(guess(&throttle, "Ada", 1_000).await);
        }
        assert!(!guess(&throttle, "ADA", 1_014).await);
        assert!(guess(&throttle, "ada", 1_015).await);
        assert!(!guess(&throttle, "ada", 1_044).await);
        assert!(guess(&throttle, "bob", 1_015).await);
        throttle.begin("ada", at(1_045)).await.unwrap().passed();
        for _ in 0..FREE {
            assert!(guess(&throttle, "ada", 1_045).await);
        }
        assert!(!guess(&throttle, "ada", 1_045).await);
    }

    #[tokio::test]
    async fn many_at_the_same_time_are_no_more_than_one_after_the_other() {
        let throttle = Throttle::default();
        let tries: Vec<_> = (0..1_000).map(|_| throttle.enter("ada", at(1_000))).collect();
        assert_eq!(tries.iter().flatten().count(), FREE as usize);
        // What was given up does not count.
        drop(tries);
        assert!(throttle.names.lock().unwrap().is_empty());
        for _ in 0..FREE {
            guess(&throttle, "ada", 1_000).await;
        }
        // Once the wait is over one more is let through, not as many as ask.
        let tries: Vec<_> = (0..1_000).map(|_| throttle.enter("ada", at(1_015))).collect();
        assert_eq!(tries.iter().flatten().count(), 1);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let throttle = Throttle { patience: Duration::from_millis(50), ..Throttle::default() };
        let held = (throttle.begin("a", at(1)).await.unwrap(), throttle.begin("b", at(1)).await.unwrap());
        assert!(throttle.begin("c", at(1)).await.is_none());
        drop(held);
        assert!(throttle.begin("c", at(1)).await.is_some());
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let throttle = Throttle::default();
        for i in 0..MOST_NAMES + 5 {
            guess(&throttle, &format!("n{i}"), i64::try_from(i).unwrap() / 100).await;
        }
        assert!(throttle.names.lock().unwrap().len() <= MOST_NAMES);
    }
}
