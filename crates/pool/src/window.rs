//! Two counts over a window that slides: calls and faults, requests and retries.
//!
//! The window is cut into ten slices; the oldest is forgotten as a whole, so it is between nine and ten tenths long.

use std::time::{Duration, Instant};

const SLICES: usize = 10;

#[derive(Debug, Clone)]
pub(crate) struct Window {
    began: Instant,
    slice: Duration,
    slices: [Counts; SLICES],
    sum: Counts,
    /// The number, since the beginning, of the slice that is being filled.
    at: u64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) all: u32,
    /// Those of them that are watched.
    pub(crate) some: u32,
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        let slice = (length / 10).max(Duration::from_millis(1));
        Self { began: now, slice, slices: [Counts::default(); SLICES], sum: Counts::default(), at: 0 }
    }

    /// Adds to the slice of `now`.
    pub(crate) fn add(&mut self, all: u32, some: u32, now: Instant) {
        self.roll(now);
        let slice = &mut self.slices[place(self.at)];
        slice.all += all;
        slice.some += some;
        self.sum.all += all;
        self.sum.some += some;
    }

    /// What the window holds.
    pub(crate) fn sum(&mut self, now: Instant) -> Counts {
        self.roll(now);
        self.sum
    }

    pub(crate) fn clear(&mut self) {
        self.slices = [Counts::default(); SLICES];
        self.sum = Counts::default();
    }

    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        self.slice * 10
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began).as_nanos() / self.slice.as_nanos();
        let at = u64::try_from(elapsed).unwrap_or(u64::MAX);
        if at >= self.at.saturating_add(SLICES as u64) {
            self.clear();
            self.at = at;
        }
        while self.at < at {
            self.at += 1;
            let oldest = std::mem::take(&mut self.slices[place(self.at)]);
            self.sum.all -= oldest.all;
            self.sum.some -= oldest.some;
        }
    }
}

fn place(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(10), start);
        window.add(4, 1, start);
        window.add(2, 2, start + Duration::from_secs(5));
        assert_eq!(window.sum(start + Duration::from_secs(9)), Counts { all: 6, some: 3 });
        assert_eq!(window.sum(start + Duration::from_secs(11)), Counts { all: 2, some: 2 });
        assert_eq!(window.sum(start + Duration::from_secs(500)), Counts::default());
    }

    #[test]
    fn time_that_goes_back_changes_nothing() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(10), start);
        window.add(1, 0, start + Duration::from_secs(30));
        window.add(1, 0, start);
        assert_eq!(window.sum(start + Duration::from_secs(31)).all, 2);
    }
}
