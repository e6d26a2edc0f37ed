//! Reading JSON objects field by field: what is wrong names its path, and what nobody asked for is told.
//!
//! Values that only pass through (schemas, arguments, numbers) keep the text they came with, so that neither the order of
//! a schema's properties nor a digit of a number changes.

use crate::problem::{Invalid, Notes, Path};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A JSON value as its text.
#[derive(Debug, Clone)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    pub fn new(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }

    /// `None` when the text is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Box<RawValue>>(text).ok().map(Self)
    }

    pub fn text(&self) -> &str {
        self.0.get()
    }

    pub fn as_f64(&self) -> Option<f64> {
        self.0.get().parse().ok()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A string that borrows from its document where no escape stands in the way.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// An object's fields, taken one by one.
#[derive(Debug)]
pub(crate) struct Fields<'a, 'p> {
    pub path: Path<'p>,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a, 'p> Fields<'a, 'p> {
    pub fn read(raw: &'a RawValue, path: Path<'p>) -> Result<Self, Invalid> {
        let Members(members) = serde_json::from_str(raw.get()).map_err(|_| path.invalid(raw, "an object"))?;
        Ok(Self { path, members })
    }

    /// The field's value; `null` is none. Of a name that occurs twice the last one counts, as in most readers.
    pub fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.members.iter().rposition(|(key, _)| key == name)?;
        let (_, raw) = self.members.swap_remove(at);
        (raw.get() != "null").then_some(raw)
    }

    pub fn json(&mut self, name: &str) -> Option<Json> {
        self.raw(name).map(Json::new)
    }

    pub fn get<T: Deserialize<'a>>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        match serde_json::from_str(raw.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.path.field(name).invalid(raw, expected)),
        }
    }

    pub fn need<T: Deserialize<'a>>(&mut self, name: &str, expected: &str) -> Result<T, Invalid> {
        self.get(name, expected)?.ok_or_else(|| self.missing(name, expected))
    }

    pub fn string(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        self.get(name, "a string")
    }

    pub fn need_string(&mut self, name: &str) -> Result<String, Invalid> {
        self.need(name, "a string")
    }

    pub fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Invalid> {
        Ok(self.get::<Text<'a>>(name, "a string")?.map(|text| text.0))
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, Invalid> {
        self.get(name, "true or false")
    }

    pub fn count(&mut self, name: &str) -> Result<Option<u64>, Invalid> {
        self.get(name, "a whole number from 0 on")
    }

    /// A number, with the digits that it came with.
    pub fn number(&mut self, name: &str) -> Result<Option<Json>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        if serde_json::from_str::<f64>(raw.get()).is_err() {
            return Err(self.path.field(name).invalid(raw, "a number"));
        }
        Ok(Some(Json::new(raw)))
    }

    pub fn items(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Invalid> {
        self.get(name, "an array")
    }

    pub fn missing(&self, name: &str, expected: &str) -> Invalid {
        Invalid::missing(self.path.field(name), expected)
    }

    /// What is left has no counterpart anywhere.
    pub fn finish(self, notes: &mut Notes) {
        for (name, raw) in &self.members {
            if raw.get() != "null" {
                notes
                    .add(self.path.field(name), "left out: it has no counterpart in the provider's protocol");
            }
        }
    }

    /// All that is left, by name.
    pub fn rest(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.members
    }
}

/// What kind of value a text of JSON holds.
pub(crate) fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Reads a value that must have one form.
pub(crate) fn value<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    path: Path<'_>,
    expected: &str,
) -> Result<T, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| path.invalid(raw, expected))
}

/// The document that a body is.
pub(crate) fn document(body: &[u8]) -> Result<&RawValue, Invalid> {
    serde_json::from_slice(body)
        .map_err(|error| Invalid::new("body", format!("{} bytes ({error})", body.len()), "a JSON object"))
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name.0, raw));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}
