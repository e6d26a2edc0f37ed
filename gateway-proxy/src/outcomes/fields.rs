//! The fields of an outcome: each taken by name, and refused by name.

use crate::request::{BodyError, Member, kind_of, members, missing, too_deep, utf8, wrong_type};
use contracts::policy::{KEEPS_ITS_TIME_AHEAD, keeps_its_time};
use contracts::{ApiError, Timestamp};
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use std::time::Duration;

/// Most characters of an id or an idempotency key.
pub(super) const ID: usize = 256;
/// Most characters of a name or a label.
pub(super) const NAME: usize = 128;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// An outcome takes so long at most to reach the collector, where older ones lose their time.
const ON_ITS_WAY: Duration = Duration::from_hours(1);

/// What is left to be taken.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Of a body; what is null counts as absent.
    pub(super) fn read(body: &[u8], max_depth: usize) -> Result<Self, BodyError> {
        let text = utf8(body).map_err(BodyError::NotUtf8)?;
        if let Some(at) = too_deep(text, max_depth) {
            return Err(BodyError::TooDeep { at, max: max_depth });
        }
        let value = |member: Member<'_>| {
            let value = serde_json::from_str(member.text()).map_err(BodyError::NotJson)?;
            Ok((member.name.into_owned(), value))
        };
        let all: Result<Vec<(String, Value)>, BodyError> =
            members(text).map_err(BodyError::NotJson)?.into_iter().map(value).collect();
        Ok(Self(all?.into_iter().filter(|(_, value)| !value.is_null()).collect()))
    }

    /// The header `Idempotency-Key` stands for the field; where both are there, they must agree.
    pub(super) fn take_header(&mut self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(()) };
        let name = "idempotency_key";
        let header = value.to_str().map_err(|_| {
            ApiError::invalid(name, "idempotency-key: the header is not text: expected visible ASCII")
        })?;
        match self.0.iter().find(|(field, _)| field == name) {
            Some((_, field)) if field != header => {
                let message = format!(
                    "idempotency_key: {field} is not the header's {header:?}: expected one of them, or the same"
                );
                Err(ApiError::invalid(name, message))
            }
            Some(_) => Ok(()),
            None => {
                self.0.push((name.to_owned(), Value::from(header)));
                Ok(())
            }
        }
    }

    /// Takes a field.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a text of 1 to `most` characters.
    pub(super) fn text(&mut self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        self.take(name).map(|value| text_of(name, value, most)).transpose()
    }

    /// Takes a text that must be there.
    pub(super) fn required(&mut self, name: &str, most: usize, what: &str) -> Result<String, ApiError> {
        self.text(name, most)?.ok_or_else(|| missing(name, what))
    }

    /// Takes a finite number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64().filter(|number| number.is_finite() && value.is_number()) {
            Some(number) => Ok(Some(number)),
            None => Err(unexpected(name, &value, "number")),
        }
    }

    /// Takes a list.
    pub(super) fn list(&mut self, name: &str, most: usize) -> Result<Vec<Value>, ApiError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= most => Ok(items),
            Some(Value::Array(items)) => {
                let message = format!("{name}: {} items are too many: expected at most {most}", items.len());
                Err(ApiError::invalid(name, message))
            }
            Some(other) => Err(unexpected(name, &other, "array")),
        }
    }

    /// When it happened: `time`, seconds since the epoch, or else now. What is kept for so many days cannot have happened long
    /// before: it would be found under today.
    pub(super) fn time(&mut self, now: Timestamp, retention_days: u16) -> Result<Timestamp, ApiError> {
        let Some(seconds) = self.number("time")? else { return Ok(now) };
        let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let earliest = now.unix_seconds() - whole(keeps_its_time(retention_days).saturating_sub(ON_ITS_WAY));
        let latest = now.unix_seconds() + whole(KEEPS_ITS_TIME_AHEAD);
        #[expect(clippy::cast_possible_truncation, reason = "whatever does not fit is refused below")]
        let millis = (seconds * 1_000.0).round() as i64;
        if (earliest..=latest).contains(&millis.div_euclid(1_000)) {
            return Ok(Timestamp::from_unix_millis(millis));
        }
        let message = format!(
            "time: {seconds} is out of range: expected seconds since the epoch, from {earliest}, as outcomes are kept for {retention_days} days, to tomorrow ({latest})"
        );
        Err(ApiError::invalid("time", message))
    }

    /// Nothing that we do not know may be left: a misspelt field would be lost. `expected` are the names of those we do.
    pub(super) fn finish(self, expected: &str) -> Result<(), ApiError> {
        let Some((name, _)) = self.0.into_iter().next() else { return Ok(()) };
        let name: String = name.chars().take(NAME).collect();
        let message = format!("{name}: no such field: expected {expected}");
        let error = ApiError::invalid(name.clone(), message);
        Err(ApiError { code: Some("unknown_parameter"), ..error })
    }
}

/// A text of 1 to `most` characters.
pub(super) fn text_of(name: &str, value: Value, most: usize) -> Result<String, ApiError> {
    match value {
        Value::String(text) if !text.trim().is_empty() && text.chars().count() <= most => Ok(text),
        Value::String(text) => {
            let is = text.chars().count();
            let message =
                format!("{name}: {is} characters long: expected 1 to {most} that are not all blank");
            Err(ApiError::invalid(name, message))
        }
        other => Err(unexpected(name, &other, "string")),
    }
}

/// A trace id as OpenTelemetry writes it, in lower case.
pub(super) fn trace_of(name: &str, text: &str) -> Result<String, ApiError> {
    hex_of(name, text, 32)
}

/// An id of so many hex digits, not all zero.
pub(super) fn hex_of(name: &str, text: &str, digits: usize) -> Result<String, ApiError> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && text.bytes().any(|byte| byte != b'0') {
        return Ok(text.to_ascii_lowercase());
    }
    let shown: String = text.chars().take(64).collect();
    Err(ApiError::invalid(
        name,
        format!("{name}: {shown:?} is not valid: expected {digits} hex digits, not all zero"),
    ))
}

/// A value of the wrong type.
pub(super) fn unexpected(name: &str, value: &Value, expected: &str) -> ApiError {
    let kind = kind_of(&value.to_string());
    wrong_type(name, format!("{name}: {kind} is not valid here: expected {expected}"))
}
