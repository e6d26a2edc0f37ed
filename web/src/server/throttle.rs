//! Slows guessing down: after a few wrong passwords for a name, further tries must wait, longer each time. And only a few
//! passwords are checked at once, as each costs tens of milliseconds of a core by design.
//!
//! The count is kept in memory and by name, known or not, so that it tells nothing about which names exist. It holds for
//! one console process.

use contracts::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

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

/// The counts.
#[derive(Debug)]
pub(crate) struct Throttle {
    names: Mutex<HashMap<String, Misses>>,
    /// Taken while a password is checked.
    pub(crate) checking: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Misses {
    count: u32,
    last: Timestamp,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { names: Mutex::default(), checking: Semaphore::new(AT_ONCE) }
    }
}

impl Throttle {
    /// Seconds until `name` may be tried again, zero when now.
    pub(crate) fn wait_seconds(&self, name: &str, now: Timestamp) -> i64 {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(misses) = names.get(&key(name)).filter(|m| m.count >= FREE) else { return 0 };
        let doublings = (misses.count - FREE).min(10);
        let wait = (FIRST_WAIT_SECONDS << doublings).min(LONGEST_WAIT_SECONDS);
        (misses.last.unix_seconds() + wait - now.unix_seconds()).max(0)
    }

    /// Notes a wrong password.
    pub(crate) fn missed(&self, name: &str, now: Timestamp) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, m| now.unix_seconds() - m.last.unix_seconds() < FORGET_SECONDS);
        if names.len() >= MOST_NAMES
            && let Some(oldest) = names.iter().min_by_key(|(_, m)| m.last).map(|(name, _)| name.clone())
        {
            names.remove(&oldest);
        }
        let misses = names.entry(key(name)).or_insert(Misses { count: 0, last: now });
        *misses = Misses { count: misses.count.saturating_add(1), last: now };
    }

    /// Notes a right password.
    pub(crate) fn passed(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name));
    }
}

fn key(name: &str) -> String {
    name.chars().take(128).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_a_success_ends_them() {
        let throttle = Throttle::default();
        let at = Timestamp::from_unix_seconds;
        for _ in 0..FREE {
            assert_eq!(throttle.wait_seconds("ada", at(1_000)), 0);
            throttle.missed("Ada", at(1_000));
        }
        assert_eq!(throttle.wait_seconds("ADA", at(1_000)), 15);
        assert_eq!(throttle.wait_seconds("ada", at(1_015)), 0);
        throttle.missed("ada", at(1_015));
        assert_eq!(throttle.wait_seconds("ada", at(1_015)), 30);
        assert_eq!(throttle.wait_seconds("bob", at(1_015)), 0);
        throttle.passed("ada");
        assert_eq!(throttle.wait_seconds("ada", at(1_015)), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for i in 0..MOST_NAMES + 5 {
            throttle.missed(&format!("n{i}"), Timestamp::from_unix_seconds(i64::try_from(i).unwrap() / 100));
        }
        assert!(throttle.names.lock().unwrap().len() <= MOST_NAMES);
    }
}
