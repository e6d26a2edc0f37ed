//! Instants as people write them in a price list: `2026-01-31` (midnight UTC) or `2026-01-31T16:00:00Z`.
//! For `#[serde(with = …)]` on an optional timestamp.

use crate::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The instant as text.
pub fn write(at: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at.unix_nanos())) {
        Ok(instant) => {
            let text = instant.to_string();
            text.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(text)
        }
        Err(_) => at.unix_nanos().to_string(),
    }
}

/// The instant that a text means; `None` when it is neither a date nor an instant.
pub fn read(text: &str) -> Option<Timestamp> {
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(_) if text.len() == "2026-01-31".len() => {
            text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()
        }
        Err(_) => return None,
    };
    i64::try_from(instant.as_nanosecond()).ok().map(Timestamp::from_unix_nanos)
}

/// Writes the instant as text.
pub fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_str(&write(*at)),
        None => to.serialize_none(),
    }
}

/// Reads the text; absent stays absent.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    read(&text).map(Some).ok_or_else(|| {
        let text: String = text.chars().take(64).collect();
        D::Error::custom(format!(
            "valid_from {text:?} is not valid: expected a date such as 2026-01-31 or an instant such as 2026-01-31T16:00:00Z"
        ))
    })
}
