//! JSON read without ever turning a number into a float.
//!
//! `serde_json`'s own value type would make `1.5e-07` an `f64`. Here numbers stay the text that the file has, as
//! [`RawValue`]s, until [`contracts::price::decimal`] reads them exactly.

use contracts::Usd;
use contracts::price::Rate;
use contracts::price::decimal::{self, InexactDecimal};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// An object's members in the file's order, duplicates included.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(0).min(1024));
                while let Some(member) = map.next_entry::<String, &RawValue>()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Collect).map(Members)
    }
}

impl<'a> Members<'a> {
    /// The members of a raw object.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, String> {
        serde_json::from_str(raw.get()).map_err(|_| format!("{} is not an object", shown(raw)))
    }

    /// The last member of that name, as JSON readers take it.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// A member that must be a text; `None` when it is absent.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| format!("{name} {} is not a text", shown(raw)))
    }
}

/// The items of a raw array.
pub(super) fn items(raw: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("{} is not an array", shown(raw)))
}

/// A price in USD per 10^`exponent` tokens; `Ok(None)` for `null`.
pub(super) fn rate(raw: &RawValue, exponent: i32) -> Result<Option<Rate>, String> {
    let Some(picos) = number(raw, 12 - exponent, "expected at most a picodollar per token")? else {
        return Ok(None);
    };
    match Rate::from_picos(picos) {
        Some(rate) => Ok(Some(rate)),
        None => Err(format!("{} is too large: expected at most 1 USD per token", shown(raw))),
    }
}

/// An amount in USD per 10^`exponent` units; `Ok(None)` for `null`.
pub(super) fn usd(raw: &RawValue, exponent: i32) -> Result<Option<Usd>, String> {
    let picos = number(raw, 12 - exponent, "expected at most a picodollar")?;
    Ok(picos.map(|picos| Usd::from_picos(i128::from(picos))))
}

/// A whole number.
pub(super) fn whole(raw: &RawValue) -> Result<u64, String> {
    number(raw, 0, "expected a whole number")?.ok_or_else(|| "null is not a whole number".to_owned())
}

/// Whether the value is a number other than zero: a price that has no place in the book, as opposed to "none".
pub(super) fn is_zero_or_null(raw: &RawValue) -> bool {
    matches!(number(raw, 12, ""), Ok(None | Some(0)))
}

fn number(raw: &RawValue, decimals: i32, finest: &str) -> Result<Option<u64>, String> {
    if raw.get() == "null" {
        return Ok(None);
    }
    decimal::scaled(raw.get(), decimals).map(Some).map_err(|error| match error {
        InexactDecimal::TooFine => format!("{} {error}: {finest}", shown(raw)),
        _ => format!("{} {error}", shown(raw)),
    })
}

/// The value as the file has it, shortened.
pub(super) fn shown(raw: &RawValue) -> String {
    raw.get().chars().take(60).collect()
}
