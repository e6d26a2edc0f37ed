//! Times in JSON: RFC 3339, UTC (`2026-01-31T12:00:00Z`). Nanosecond integers would not survive a JavaScript client.

use super::Patch;
use contracts::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// `2026-01-31T12:00:00Z`, with as many decimals as the time has.
pub fn render(time: Timestamp) -> String {
    // Every i64 of nanoseconds lies within jiff's range of years, so the fallback never shows.
    jiff::Timestamp::from_nanosecond(i128::from(time.unix_nanos())).unwrap_or_default().to_string()
}

/// Reads RFC 3339, with any offset. The error is a sentence fragment: what is expected.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let expected = || format!("time {text:?} is not valid: expected RFC 3339, such as 2026-01-31T12:00:00Z");
    let time: jiff::Timestamp = text.parse().map_err(|_| expected())?;
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
