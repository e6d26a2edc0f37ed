//! When the stream was how long, coarsely: from this follows how long the oldest record has waited. Noted by the thread that syncs,
//! so that an append does not look at a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far apart notes are at least.
const STEP: Duration = Duration::from_secs(1);
/// Most notes; when there are more, each two become one.
const MOST: usize = 2_048;

/// Ends of the stream and when they were noted, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ages(VecDeque<(u64, Instant)>);

impl Ages {
    /// Notes that the stream ends at `end`; what lies before `cursor` is of no interest any more.
    pub(crate) fn note(&mut self, end: u64, cursor: u64, now: Instant) {
        while self.0.front().is_some_and(|(end, _)| *end <= cursor) {
            self.0.pop_front();
        }
        if end <= cursor {
            return;
        }
        match self.0.back_mut() {
            Some((last, at)) if now.duration_since(*at) < STEP => *last = end.max(*last),
            Some((last, _)) if end <= *last => {}
            _ => self.0.push_back((end, now)),
        }
        if self.0.len() > MOST {
            let pairs: Vec<_> = self.0.drain(..).collect();
            let ends = |pair: &[(u64, Instant)]| Some((pair.last()?.0, pair.first()?.1));
            self.0 = pairs.chunks(2).filter_map(ends).collect();
        }
    }

    /// Since when what lies right after `cursor` has been there; `None` when nothing was noted after it.
    pub(crate) fn oldest(&self, cursor: u64) -> Option<Instant> {
        self.0.iter().find(|(end, _)| *end > cursor).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_what_the_cursor_has_not_passed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ages = Ages::default();
        for second in 0..10 {
            ages.note(100 * (second + 1), 0, at(second));
        }
        // Soon after the last: it is one with it.
        ages.note(1_050, 0, at(9));
        assert_eq!(ages.oldest(1_020), Some(at(9)));
        assert_eq!(ages.oldest(0), Some(at(0)));
        assert_eq!(ages.oldest(450), Some(at(4)));
        assert_eq!(ages.oldest(1_050), None);
        ages.note(1_100, 450, at(10));
        assert_eq!(ages.0.front(), Some(&(500, at(4))));
    }

    #[test]
    fn there_are_never_many_notes_and_the_oldest_stays() {
        let start = Instant::now();
        let mut ages = Ages::default();
        for second in 0..100_000 {
            ages.note(second + 1, 0, start + Duration::from_secs(second));
        }
        assert!(ages.0.len() <= MOST);
        assert_eq!(ages.oldest(0), Some(start));
        assert!(ages.oldest(99_999).is_some());
    }
}
