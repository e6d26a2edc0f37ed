//! How long a first byte takes: an average that is sensitive to peaks, and how the times are spread.
//!
//! The average is Finagle's Peak EWMA (`PeakEwma.scala`, also in tower and linkerd). A time above it replaces it at once; one
//! below moves it by a weight that depends on how long ago the last one was, for they come unevenly:
//!
//! ```text
//! w    = exp(-Δt / τ)
//! cost = t                       if t > cost
//!        cost · w + t · (1 − w)  otherwise
//! ```
//!
//! Where Finagle lets the average of an idle node decay towards zero, here what lies above the pool's usual time decays
//! towards that: a deployment that had a slow answer is tried again, and none looks infinitely fast for being idle.

use std::time::{Duration, Instant};

/// The average, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PeakEwma {
    last: Option<(f64, Instant)>,
}

impl PeakEwma {
    /// A time that was seen.
    pub(crate) fn observe(&mut self, seconds: f64, now: Instant, decay: Duration) {
        let next = match self.last {
            Some((average, at)) if seconds <= average => {
                let weight = weight(now.saturating_duration_since(at), decay);
                average * weight + seconds * (1.0 - weight)
            }
            _ => seconds,
        };
        self.last = Some((next, now));
    }

    /// A time that says only that it takes at least so long.
    pub(crate) fn at_least(&mut self, seconds: f64, now: Instant) {
        if self.last.is_none_or(|(average, _)| seconds > average) {
            self.last = Some((seconds, now));
        }
    }

    /// The average as of now, where `usual` is what the pool's others take.
    pub(crate) fn read(&self, usual: Option<f64>, now: Instant, decay: Duration) -> Option<f64> {
        let (average, at) = self.last?;
        match usual {
            Some(usual) if average > usual => {
                Some(usual + (average - usual) * weight(now.saturating_duration_since(at), decay))
            }
            _ => Some(average),
        }
    }
}

fn weight(elapsed: Duration, decay: Duration) -> f64 {
    (-elapsed.as_secs_f64() / decay.as_secs_f64()).exp()
}

const BUCKETS: u8 = 88;
const PLACES: usize = BUCKETS as usize;
const KEPT: Duration = Duration::from_mins(1);

/// How times are spread: counts in buckets that each are 2^¼ (19%) wider than the last, from a millisecond to an hour, over the
/// last minute or two.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    current: [u32; PLACES],
    before: [u32; PLACES],
    counts: [u32; 2],
    since: Instant,
}

impl Spread {
    pub(crate) fn new(now: Instant) -> Self {
        Self { current: [0; PLACES], before: [0; PLACES], counts: [0; 2], since: now }
    }

    pub(crate) fn record(&mut self, seconds: f64, now: Instant) {
        if self.is_stale(now) {
            *self = Self::new(now);
        } else if now.saturating_duration_since(self.since) >= KEPT {
            self.before = std::mem::replace(&mut self.current, [0; PLACES]);
            self.counts = [0, self.counts[0]];
            self.since = now;
        }
        self.current[bucket(seconds)] += 1;
        self.counts[0] += 1;
    }

    /// Whether all of it is of longer ago than it is kept.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= KEPT * 2
    }

    /// Times that it is made of.
    pub(crate) fn count(&self) -> u32 {
        self.counts[0] + self.counts[1]
    }

    /// The time that a share of `quantile` stays below, in seconds; `None` while there are fewer than `enough`.
    pub(crate) fn quantile(&self, quantile: f64, enough: u32) -> Option<f64> {
        if self.count() < enough.max(1) {
            return None;
        }
        let wanted = quantile * f64::from(self.count());
        let mut below = 0.0;
        for (number, (current, before)) in (0..).zip(self.current.iter().zip(&self.before)) {
            let here = f64::from(current + before);
            if here > 0.0 && below + here >= wanted {
                let (from, to) = bounds(number);
                return Some(from + (to - from) * ((wanted - below) / here).clamp(0.0, 1.0));
            }
            below += here;
        }
        Some(bounds(BUCKETS - 1).1)
    }

    /// The share of times that were longer than `seconds`, never quite 0: one more might have been.
    pub(crate) fn longer(&self, seconds: f64) -> f64 {
        let first = bucket(seconds) + 1;
        let longer: u32 =
            self.current.iter().skip(first).sum::<u32>() + self.before.iter().skip(first).sum::<u32>();
        (f64::from(longer) + 0.5) / (f64::from(self.count()) + 1.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the buckets first")]
fn bucket(seconds: f64) -> usize {
    let place = (seconds * 1_000.0).max(1.0).log2() * 4.0;
    place.clamp(0.0, f64::from(BUCKETS - 1)) as usize
}

fn bounds(bucket: u8) -> (f64, f64) {
    let edge = |number: u8| (f64::from(number) / 4.0).exp2() / 1_000.0;
    (edge(bucket), edge(bucket + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DECAY: Duration = Duration::from_secs(10);

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let start = Instant::now();
        let mut average = PeakEwma::default();
        assert_eq!(average.read(Some(0.3), start, DECAY), None);
        average.observe(0.3, start, DECAY);
        average.observe(4.0, start, DECAY);
        assert_eq!(average.read(None, start, DECAY), Some(4.0));
        let later = start + DECAY;
        average.observe(0.3, later, DECAY);
        let expected = 4.0 / std::f64::consts::E + 0.3 * (1.0 - 1.0 / std::f64::consts::E);
        assert!((average.read(None, later, DECAY).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn what_is_above_the_usual_decays_without_calls_and_what_is_below_stays() {
        let start = Instant::now();
        let mut average = PeakEwma::default();
        average.at_least(60.0, start);
        average.at_least(2.0, start);
        let later = start + DECAY * 12;
        assert!(average.read(Some(0.3), later, DECAY).unwrap() < 0.301);
        let mut fast = PeakEwma::default();
        fast.observe(0.1, start, DECAY);
        assert_eq!(fast.read(Some(0.3), later, DECAY), Some(0.1));
    }

    #[test]
    fn quantiles_and_what_is_longer_agree_with_the_times() {
        let start = Instant::now();
        let mut spread = Spread::new(start);
        assert_eq!(spread.quantile(0.5, 1), None);
        for number in 1..=1_000 {
            spread.record(f64::from(number) / 1_000.0, start);
        }
        for (quantile, time) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            let found = spread.quantile(quantile, 1).unwrap();
            assert!((found / time - 1.0).abs() < 0.1, "{quantile}: {found}");
        }
        assert!((spread.longer(0.5) - 0.5).abs() < 0.1);
        assert!(spread.longer(30.0) > 0.0 && spread.longer(30.0) < 0.001);
        // Two windows later nothing of them is left.
        spread.record(5.0, start + KEPT);
        spread.record(5.0, start + KEPT * 2);
        assert_eq!(spread.count(), 2);
        // Nor when nothing came meanwhile.
        let later = start + KEPT * 4;
        assert!(!spread.is_stale(start + KEPT * 3) && spread.is_stale(later));
        spread.record(5.0, later);
        assert_eq!(spread.count(), 1);
    }

    proptest! {
        #[test]
        fn any_time_has_a_bucket_that_holds_it(seconds in 0.001f64..3_000.0) {
            let (from, to) = bounds(u8::try_from(bucket(seconds)).unwrap());
            prop_assert!(from <= seconds * 1.000_001 && seconds <= to * 1.000_001);
        }
    }
}
