//! The window of time that spans may lie in: back to a day before the end of their retention, ten years at most, and one day
//! ahead.
//!
//! A span outside it has a broken clock behind it (1970, 2100), or none, or comes very late. Stored under its own time it
//! would be deleted at once by the retention, or never, and nobody would find it. So it is moved to the time at which it
//! was received, keeps its duration, and says in `control_tower.original_start_time_unix_nano` what it claimed. The window
//! also bounds how many daily partitions one request can touch.

use contracts::Timestamp;
use contracts::policy::{KEEPS_ITS_TIME_AHEAD, keeps_its_time};

/// The longest duration that is believed: as long as the longest window.
const LONGEST_NS: i64 = 3_653 * 86_400_000_000_000;

/// The attribute that keeps the time that a moved span claimed.
pub const ORIGINAL_START: &str = "control_tower.original_start_time_unix_nano";

/// Where a span lies in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Nanoseconds since the epoch.
    pub(super) start_ns: i64,
    /// Nanoseconds.
    pub(super) duration_ns: u64,
    /// Whether it was moved.
    pub(super) moved: bool,
    /// Whether it ended before it started.
    pub(super) negative: bool,
}

/// Places a span that claims to have run from `start` to `end` (nanoseconds since the epoch), came in at `now` and is kept
/// for so many days after its start.
pub(super) fn place(start: u64, end: u64, now: Timestamp, retention_days: u16) -> Placed {
    let back_ns = back_ns(retention_days);
    let now_ns = now.unix_nanos();
    let negative = end != 0 && end < start;
    let longest = LONGEST_NS.unsigned_abs();
    let ahead_ns = i64::try_from(KEEPS_ITS_TIME_AHEAD.as_nanos()).unwrap_or(i64::MAX);
    // Without a start, the end tells nothing of the duration.
    let duration_ns = if start == 0 || end == 0 { 0 } else { end.saturating_sub(start).min(longest) };
    let window = now_ns.saturating_sub(back_ns)..=now_ns.saturating_add(ahead_ns);
    match i64::try_from(start) {
        Ok(start_ns) if window.contains(&start_ns) => {
            Placed { start_ns, duration_ns, moved: false, negative }
        }
        _ => {
            let back = i64::try_from(duration_ns).unwrap_or(LONGEST_NS);
            Placed {
                start_ns: now_ns.saturating_sub(back).max(*window.start()),
                duration_ns,
                moved: true,
                negative,
            }
        }
    }
}

fn back_ns(retention_days: u16) -> i64 {
    i64::try_from(keeps_its_time(retention_days).as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
    const NOW_NS: u64 = 1_790_000_000_000_000_000;

    #[test]
    fn a_span_of_today_stays() {
        let placed = place(NOW_NS - 5, NOW_NS, NOW, 30);
        assert_eq!(
            placed,
            Placed { start_ns: NOW.unix_nanos() - 5, duration_ns: 5, moved: false, negative: false }
        );
    }

    #[test]
    fn spans_of_1970_and_2100_are_moved_and_keep_their_duration() {
        for start in [1_000_000_000, 4_102_444_800_000_000_000, u64::MAX - 10] {
            let placed = place(start, start + 7, NOW, u16::MAX);
            assert!(placed.moved);
            assert_eq!((placed.start_ns, placed.duration_ns), (NOW.unix_nanos() - 7, 7));
        }
        assert!(place(0, 0, NOW, 30).moved);
    }

    #[test]
    fn a_span_that_its_retention_would_delete_at_once_is_moved() {
        let hours_ago = |hours: u64, days| place(NOW_NS - hours * 3_600_000_000_000, NOW_NS, NOW, days).moved;
        assert_eq!([hours_ago(11, 1), hours_ago(13, 1)], [false, true]);
        assert_eq!([hours_ago(23, 2), hours_ago(25, 2)], [false, true]);
        assert_eq!([hours_ago(29 * 24, 30), hours_ago(29 * 24 + 1, 30)], [false, true]);
        assert_eq!([hours_ago(3_652 * 24, u16::MAX), hours_ago(3_654 * 24, u16::MAX)], [false, true]);
    }

    #[test]
    fn a_span_that_ends_before_it_starts_has_no_duration() {
        let placed = place(NOW_NS, NOW_NS - 1, NOW, 30);
        assert!(placed.negative && placed.duration_ns == 0 && !placed.moved);
    }

    proptest! {
        #[test]
        fn every_span_lands_in_the_window(start: u64, end: u64, days: u16) {
            let placed = place(start, end, NOW, days);
            let offset = placed.start_ns - NOW.unix_nanos();
            prop_assert!((-back_ns(days)..=86_400_000_000_000).contains(&offset));
        }
    }
}
