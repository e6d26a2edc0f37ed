//! Times in JSON: RFC 3339, UTC (`2026-01-31T12:00:00Z`). Nanosecond integers would not survive a JavaScript client.

use super::Patch;
use contracts::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// `2026-01-31T12:00:00Z`, with as many decimals as the time has.
pub fn render(time: Timestamp) -> String {
    // Every i64 of nanoseconds lies within jiff's range of years, so the fallback never shows.
    jiff::Timestamp::from_nanosecond(i128::from(time.unix_nanos())).unwrap_or_default().to_string()
}

/// Reads RFC 3339 with any offset, or a date, which is its midnight UTC. The error says what is expected.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let shown: String = text.chars().take(64).collect();
    let expected =
        || format!("time {shown:?} is not valid: expected 2026-01-31T12:00:00Z (RFC 3339) or 2026-01-31");
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) if text.len() == "2026-01-31".len() => {
            let date: jiff::civil::Date = text.parse().map_err(|_| expected())?;
            date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| expected())?.timestamp()
        }
        Err(_) => return Err(expected()),
    };
    i64::try_from(time.as_nanosecond()).map(Timestamp::from_unix_nanos).map_err(|_| expected())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&render(*time))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// The same for times that may be absent.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Patch, Serializer, Timestamp, parse, render};

    #[expect(clippy::ref_option, reason = "serde hands over a reference")]
    pub(in crate::records) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&render(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::records) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| parse(&text).map_err(serde::de::Error::custom))
            .transpose()
    }

    /// For changes, where absent and `null` differ.
    pub(in crate::records) fn patch<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Patch<Timestamp>, D::Error> {
        deserialize(deserializer).map(Patch::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_dates() {
        let noon = Timestamp::from_unix_seconds(1_769_860_800);
        assert_eq!(render(noon), "2026-01-31T12:00:00Z");
        assert_eq!(parse("2026-01-31T12:00:00Z"), Ok(noon));
        assert_eq!(parse("2026-01-31T14:00:00+02:00"), Ok(noon));
        assert_eq!(parse("2026-01-31"), Ok(Timestamp::from_unix_seconds(1_769_817_600)));
        for bad in ["", "soon", "2026-02-30", "2026-01-31T12:00:00", "9999-01-01T00:00:00Z"] {
            assert!(parse(bad).unwrap_err().contains("is not valid: expected"), "{bad}");
        }
    }

    #[test]
    fn every_nanosecond_round_trips() {
        for nanos in [i64::MIN, -1, 0, 1, 1_769_860_800_123_456_789, i64::MAX] {
            let time = Timestamp::from_unix_nanos(nanos);
            assert_eq!(parse(&render(time)), Ok(time));
        }
    }
}
