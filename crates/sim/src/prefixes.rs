//! Prefixes of prompts that clients had cached: the first call writes what it marked, the next ones read it, until it was
//! not read for its time to live.

use crate::ask::Mark;
use crate::log::Usage;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Shorter prefixes are not cached. Real models want 1024 tokens and more; here tests need not write that much.
const LEAST: u64 = 32;
/// When more are kept, all are forgotten.
const MOST: usize = 100_000;
/// Times to live, in milliseconds.
const FIVE_MINUTES: i64 = 5 * 60 * 1000;
const HOUR: i64 = 12 * FIVE_MINUTES;

/// When each prefix is forgotten, milliseconds since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(Mutex<HashMap<u64, i64>>);

impl Prefixes {
    /// Meets a prompt with these marks, shortest first; `place` stands for its model and deployment. Fills in what of
    /// the prompt was read and what is written.
    pub(crate) fn meet(&self, place: u64, marks: &[Mark], now: i64, usage: &mut Usage) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() > MOST {
            kept.clear();
        }
        let within = |mark: &&Mark| (LEAST..=usage.prompt).contains(&mark.tokens);
        let marks: Vec<&Mark> = marks.iter().filter(within).collect();
        let read =
            marks.iter().rposition(|m| kept.get(&(place ^ m.prefix)).is_some_and(|until| *until > now));
        let tokens = |at: Option<usize>| at.and_then(|at| marks.get(at)).map_or(0, |m| m.tokens);
        usage.cached = tokens(read);
        usage.cache_write = tokens(marks.len().checked_sub(1)) - usage.cached;
        usage.cache_write_hour = tokens(marks.iter().rposition(|m| m.hour)).saturating_sub(usage.cached);
        for mark in marks {
            kept.insert(place ^ mark.prefix, now + if mark.hour { HOUR } else { FIVE_MINUTES });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(prefixes: &Prefixes, marks: &[(u64, u64, bool)], now: i64) -> (u64, u64, u64) {
        let marks: Vec<Mark> = marks
            .iter()
            .map(|(prefix, tokens, hour)| Mark { prefix: *prefix, tokens: *tokens, hour: *hour })
            .collect();
        let mut usage = Usage { prompt: 500, ..Usage::default() };
        prefixes.meet(7, &marks, now, &mut usage);
        (usage.cached, usage.cache_write, usage.cache_write_hour)
    }

    #[test]
    fn what_was_written_is_read_until_its_time_is_over() {
        let prefixes = Prefixes::default();
        assert_eq!(met(&prefixes, &[(1, 100, true), (2, 150, false)], 0), (0, 150, 100));
        assert_eq!(met(&prefixes, &[(1, 100, true), (2, 150, false)], 1), (150, 0, 0));
        assert_eq!(met(&prefixes, &[(1, 100, true), (3, 180, false)], 2), (100, 80, 0));
        assert_eq!(met(&prefixes, &[(1, 100, true), (2, 150, false)], FIVE_MINUTES + 1), (100, 50, 0));
        assert_eq!(met(&prefixes, &[(4, 31, false)], 0), (0, 0, 0));
        assert_eq!(met(&prefixes, &[(1, 100, true)], 2 * HOUR), (0, 100, 100));
    }
}
