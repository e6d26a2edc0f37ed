//! Which answers may be given again, to whom and for how long.
//!
//! A cache belongs to a route. Whatever it says, an answer is only ever given again to the tenant whose request it answered.

use super::InvalidPolicy;
use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Longest life of an answer: thirty days.
pub const LONGEST_TTL_SECONDS: u64 = 30 * 24 * 3600;

/// A route's cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Whether the same request again gets the same answer.
    pub exact: bool,
    /// Whether a request that means the same does; absent: never.
    pub semantic: Option<Semantic>,
    /// Seconds after which an answer is too old.
    pub ttl_seconds: u64,
    /// Bytes that one tenant's answers on this route may take in one process. The process has a bound of its own above all of them.
    pub max_bytes: u64,
    /// Bytes of the largest answer that is kept.
    pub max_entry_bytes: u64,
    /// Milliseconds for which a request waits for the answer to the same one that is under way before it calls the model itself;
    /// 0: it never waits.
    pub wait_ms: u64,
    /// Whether gateways share answers, where they have a Redis.
    pub shared: bool,
    /// Means nothing by itself. A cache that was changed gives none of the answers of before, and this is there to be changed.
    pub generation: u64,
}

/// When a request means the same as one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Semantic {
    /// Least cosine of the two questions' vectors.
    pub threshold: f64,
    /// Highest `temperature` of requests that are answered so; a request that names none is.
    pub max_temperature: f64,
    /// What has to agree besides.
    pub guard: Guard,
    /// Bytes of the longest question that is compared: an embedder reads only so much.
    pub max_question_bytes: u64,
    /// Questions that are compared with at most: of one tenant, route and context. The oldest make place.
    pub max_entries: u64,
}

/// What has to agree in two questions beside their vectors, which hardly tell "10 days" from "14 days" or "with" from "without".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Nothing.
    Off,
    /// Numbers, negations, opposites, names and quoted texts.
    Facts,
    /// These, and every word that tells anything where the questions are otherwise built alike.
    #[default]
    Strict,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            exact: true,
            semantic: None,
            ttl_seconds: 3600,
            max_bytes: 64 * MIB,
            max_entry_bytes: 256 * KIB,
            wait_ms: 10_000,
            shared: true,
            generation: 0,
        }
    }
}

impl Default for Semantic {
    fn default() -> Self {
        Self {
            threshold: 0.85,
            max_temperature: 0.7,
            guard: Guard::Strict,
            max_question_bytes: 400,
            max_entries: 10_000,
        }
    }
}

impl Cache {
    /// What is wrong with it, if anything is.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if !self.exact && self.semantic.is_none() {
            return Err(InvalidPolicy::new("exact", self.exact, "true, where there is no `semantic` either"));
        }
        within("ttl_seconds", self.ttl_seconds, 1, LONGEST_TTL_SECONDS)?;
        within("max_bytes", self.max_bytes, 64 * KIB, 64 * 1024 * MIB)?;
        within("max_entry_bytes", self.max_entry_bytes, KIB, self.max_bytes.min(64 * MIB))?;
        within("wait_ms", self.wait_ms, 0, 600_000)?;
        self.semantic
            .as_ref()
            .map_or(Ok(()), |semantic| semantic.validate().map_err(|error| error.within("semantic")))
    }
}

impl Semantic {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        // Below a half, all-MiniLM-L6-v2 finds questions alike that share no more than their subject.
        if !(0.5..=1.0).contains(&self.threshold) {
            return Err(InvalidPolicy::new("threshold", self.threshold, "a cosine from 0.5 to 1"));
        }
        if !(0.0..=2.0).contains(&self.max_temperature) {
            return Err(InvalidPolicy::new("max_temperature", self.max_temperature, "from 0 to 2"));
        }
        within("max_question_bytes", self.max_question_bytes, 16, 4 * KIB)?;
        within("max_entries", self.max_entries, 1, 200_000)
    }
}

fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), InvalidPolicy> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, value, format!("from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_little_need_be_said() {
        Cache::default().validate().unwrap();
        let cache: Cache =
            serde_json::from_str(r#"{"semantic":{"threshold":0.93,"guard":"facts"}}"#).unwrap();
        cache.validate().unwrap();
        let semantic = cache.semantic.unwrap();
        assert_eq!((semantic.threshold, semantic.guard), (0.93, Guard::Facts));
        assert!(cache.exact);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let with = |change: fn(&mut Cache)| {
            let mut cache = Cache { semantic: Some(Semantic::default()), ..Cache::default() };
            change(&mut cache);
            cache.validate().map_err(|error| error.field)
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|c| (c.exact, c.semantic) = (false, None)), Err("exact".to_owned()));
        assert_eq!(with(|c| c.ttl_seconds = 0), Err("ttl_seconds".to_owned()));
        assert_eq!(with(|c| c.max_entry_bytes = c.max_bytes + 1), Err("max_entry_bytes".to_owned()));
        let threshold = |value: f64| {
            let mut cache = Cache { semantic: Some(Semantic::default()), ..Cache::default() };
            cache.semantic.as_mut().unwrap().threshold = value;
            cache.validate().map_err(|error| error.field)
        };
        for value in [0.49, 1.01, f64::NAN, f64::INFINITY] {
            assert_eq!(threshold(value), Err("semantic.threshold".to_owned()), "{value}");
        }
        assert!(serde_json::from_str::<Cache>(r#"{"exakt":true}"#).is_err());
    }
}
