//! A limit with a hard and a soft part; written as a bare amount when it is only hard.

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// How much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T> {
    /// What is beyond it is refused.
    pub hard: Option<T>,
    /// What is beyond it is told of.
    pub soft: Option<T>,
}

impl<T> Limit<T> {
    /// A limit that refuses.
    pub const fn hard(limit: T) -> Self {
        Self { hard: Some(limit), soft: None }
    }

    /// A limit that only tells.
    pub const fn soft(limit: T) -> Self {
        Self { hard: None, soft: Some(limit) }
    }
}

/// The long form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts<T> {
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    hard: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default = "Option::default")]
    soft: Option<T>,
}

impl<T: Serialize + Copy> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self { hard: Some(hard), soft: None } => hard.serialize(serializer),
            Self { hard, soft } => Parts { hard, soft }.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Reads both forms. A visitor of its own rather than an untagged enum, whose errors say neither what was read nor what is expected.
struct Either<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = Limit<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an amount, or an object with `hard`, `soft` or both")
    }

    fn visit_u64<E: de::Error>(self, amount: u64) -> Result<Limit<T>, E> {
        T::deserialize(amount.into_deserializer()).map(Limit::hard)
    }

    fn visit_i64<E: de::Error>(self, amount: i64) -> Result<Limit<T>, E> {
        T::deserialize(amount.into_deserializer()).map(Limit::hard)
    }

    fn visit_str<E: de::Error>(self, amount: &str) -> Result<Limit<T>, E> {
        T::deserialize(StrDeserializer::new(amount)).map(Limit::hard)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit<T>, A::Error> {
        let Parts { hard, soft } = Parts::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Limit { hard, soft })
    }
}
