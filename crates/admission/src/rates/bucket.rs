//! A bucket that fills evenly, in exact integers.
//!
//! The level is kept in units of which a period of nanoseconds makes one token, so that a bucket of `size` tokens gains exactly
//! `size` units a nanosecond: nothing is ever rounded, however often it is looked at.

/// Holds `size` tokens and gains `size` a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    size: u64,
    /// In nanoseconds.
    period: u64,
    /// In tokens times the period; below zero it is in debt.
    level: i128,
    /// When the level was right, in nanoseconds.
    at: u64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(size: u64, period: u64, now: u64) -> Self {
        Self { size, period, level: units(size, period), at: now }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Brings the level up to `now`. A time that is past changes nothing.
    pub(super) fn refill(&mut self, now: u64) {
        let Some(passed) = now.checked_sub(self.at) else { return };
        self.level = self.level.saturating_add(units(self.size, passed)).min(self.full());
        self.at = now;
    }

    /// Whether `tokens` are in it.
    pub(super) fn has(&self, tokens: u64) -> bool {
        self.level >= units(tokens, self.period)
    }

    /// Nanoseconds from `now` until `tokens` are in it, 0 when they are; None when they never will be.
    pub(super) fn wait_for(&self, tokens: u64, now: u64) -> Option<u64> {
        if tokens > self.size {
            return None;
        }
        let wait = self.until(units(tokens, self.period));
        // Another thread may have brought it up to a time that is later than ours.
        Some(if wait == 0 { 0 } else { wait.saturating_add(self.at.saturating_sub(now)) })
    }

    /// Nanoseconds until it is full.
    pub(super) fn until_full(&self) -> u64 {
        self.until(self.full())
    }

    /// Whole tokens in it.
    pub(super) fn remaining(&self) -> u64 {
        u64::try_from(self.level.max(0) / i128::from(self.period)).unwrap_or(u64::MAX)
    }

    pub(super) fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(units(tokens, self.period));
    }

    /// What was `before` taken becomes `after`.
    pub(super) fn settle(&mut self, before: u64, after: u64) {
        let change = units(before, self.period).saturating_sub(units(after, self.period));
        self.level = self.level.saturating_add(change).min(self.full());
    }

    /// Changes the size; what was used stays used, as far as the new size goes, and a debt stays a debt.
    pub(super) fn resize(&mut self, size: u64) {
        if size != self.size {
            let used = self.full().saturating_sub(self.level);
            self.size = size;
            self.level = self.full().saturating_sub(used).max(self.level.min(0));
        }
    }

    fn until(&self, level: i128) -> u64 {
        let missing = level.saturating_sub(self.level).max(0).unsigned_abs();
        u64::try_from(missing.div_ceil(u128::from(self.size.max(1)))).unwrap_or(u64::MAX)
    }

    fn full(&self) -> i128 {
        units(self.size, self.period)
    }
}

fn units(tokens: u64, each: u64) -> i128 {
    i128::from(tokens).saturating_mul(i128::from(each))
}
