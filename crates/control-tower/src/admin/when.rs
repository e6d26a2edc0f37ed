//! Times as people type and read them: `90d`, `2026-01-31`, `2026-01-31T12:00:00Z`.

use contracts::Timestamp;
use control::records::{parse_time, render_time};
use runtime::config::duration::re::humantime;
use std::str::FromStr;

/// A point in time, given as itself or as its distance from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    At(Timestamp),
    /// Nanoseconds from now.
    In(i64),
}

impl When {
    pub(super) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::In(nanos) => Timestamp::from_unix_nanos(now.unix_nanos().saturating_add(nanos)),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = parse_time(text) {
            return Ok(Self::At(time));
        }
        let nanos = humantime::parse_duration(text).ok().and_then(|d| i64::try_from(d.as_nanos()).ok());
        nanos.map(Self::In).ok_or_else(|| {
            String::from(
                "expected a duration such as 90d or 12h, a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z",
            )
        })
    }
}

/// A time to the second, for tables; empty when there is none.
pub(super) fn shown(time: Option<Timestamp>) -> String {
    time.map(|time| render_time(Timestamp::from_unix_seconds(time.unix_seconds()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_dates_and_times() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let day = 86_400;
        let at = |text: &str| text.parse::<When>().map(|when| when.resolve(now).unix_seconds());
        assert_eq!(at("90d"), Ok(1_000_000 + 90 * day));
        assert_eq!(at("12h"), Ok(1_000_000 + day / 2));
        assert_eq!(at("1970-01-03"), Ok(2 * day));
        assert_eq!(at("1970-01-03T00:00:01Z"), Ok(2 * day + 1));
        assert!(at("soon").unwrap_err().contains("expected a duration such as 90d"));
        assert!(at("9000000y").is_err());
    }
}
