//! What waits before a pool, how long, and who goes first.
//!
//! A pool answers at most `concurrency` calls at a time; the others wait in three bands. More urgent bands go first; within a
//! band tenants share by tokens and weight, and a tenant's own calls go in the order in which they came.

use super::InvalidPolicy;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// How urgent a call is. The more urgent compares as less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Somebody waits for the first token.
    Interactive,
    /// A program waits for the answer.
    #[default]
    Standard,
    /// Nobody waits.
    Batch,
}

impl Band {
    /// All bands, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Standard, Self::Batch];

    /// Its name, as in policies and on spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Standard => "standard",
            Self::Batch => "batch",
        }
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The queue before a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Calls that the pool answers at a time; without it none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// Calls that may wait, of all tenants. A tenant may have at most eight times as many waiting as there are places left
    /// (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998): whoever floods the
    /// queue leaves places for the others.
    pub max_waiting: u32,
    /// Calls of one tenant that may wait.
    pub max_waiting_per_tenant: u32,
    /// The longest wait, in milliseconds; a band may have a shorter one.
    pub max_wait_ms: u64,
    /// What a token of output counts for in the fair share, when one of input counts 1. 2 as in "Fairness in Serving Large
    /// Language Models" (Sheng et al., OSDI 2024): a step of decoding takes longer than a token's part in the prefill.
    pub output_token_weight: NonZeroU32,
    /// What each band is sure of.
    pub bands: Bands,
}

/// What each band is sure of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bands {
    /// For those who wait for the first token: a fifth of the slots by default.
    pub interactive: Lane,
    /// For programs: a tenth of the slots, and a tenth of the tokens, by default.
    pub standard: Lane,
    /// For what can wait: a twentieth of the tokens by default.
    pub batch: Lane,
}

/// What one band is sure of. A band that is given is given whole: what it leaves out is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lane {
    /// Share of the concurrency, in percent, that more patient bands leave free, so that a call of this band does not wait for
    /// the end of a long one of theirs. Rounded up, but at least one slot stays open to all. Held for as long as the band is in
    /// use: until a minute after its last call came.
    pub reserved_percent: u8,
    /// Share of the tokens, in percent, that the band gets while it waits behind more urgent ones, so that they cannot
    /// starve it.
    pub least_percent: u8,
    /// The longest wait, in milliseconds, when it is shorter than the queue's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait_ms: Option<u64>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            concurrency: None,
            max_waiting: 1_000,
            max_waiting_per_tenant: 250,
            max_wait_ms: 60_000,
            output_token_weight: NonZeroU32::MIN.saturating_add(1),
            bands: Bands::default(),
        }
    }
}

impl Default for Bands {
    fn default() -> Self {
        let lane =
            |reserved_percent, least_percent| Lane { reserved_percent, least_percent, max_wait_ms: None };
        Self { interactive: lane(20, 0), standard: lane(10, 10), batch: lane(0, 5) }
    }
}

/// The longest wait that makes sense: clients and proxies between give up sooner.
const MOST_WAIT_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is sure for some must leave half for all.
const MOST_PERCENT: u8 = 50;

impl Queue {
    /// Whether the policy can be taken as it is.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        let wait = format!("1 to {MOST_WAIT_MS}");
        if !(1..=MOST_WAIT_MS).contains(&self.max_wait_ms) {
            return Err(InvalidPolicy::new("max_wait_ms", self.max_wait_ms, wait));
        }
        if self.output_token_weight.get() > 100 {
            return Err(InvalidPolicy::new("output_token_weight", self.output_token_weight, "1 to 100"));
        }
        let (mut reserved, mut least) = (0u8, 0u8);
        for band in Band::ALL {
            let lane = self.bands.lane(band);
            let field = |name: &str| format!("bands.{band}.{name}");
            reserved = reserved.saturating_add(lane.reserved_percent);
            least = least.saturating_add(lane.least_percent);
            if band == Band::Batch && lane.reserved_percent > 0 {
                let expected = "0: no band is more patient";
                return Err(InvalidPolicy::new(field("reserved_percent"), lane.reserved_percent, expected));
            }
            if band == Band::Interactive && lane.least_percent > 0 {
                let expected = "0: no band is more urgent";
                return Err(InvalidPolicy::new(field("least_percent"), lane.least_percent, expected));
            }
            let expected = format!("at most {MOST_PERCENT} in all bands together");
            if reserved > MOST_PERCENT {
                return Err(InvalidPolicy::new(field("reserved_percent"), lane.reserved_percent, expected));
            }
            if least > MOST_PERCENT {
                return Err(InvalidPolicy::new(field("least_percent"), lane.least_percent, expected));
            }
            if let Some(ms) = lane.max_wait_ms.filter(|ms| !(1..=MOST_WAIT_MS).contains(ms)) {
                return Err(InvalidPolicy::new(field("max_wait_ms"), ms, wait));
            }
        }
        Ok(())
    }

    /// The longest wait in `band`.
    pub fn max_wait(&self, band: Band) -> Duration {
        let own = self.bands.lane(band).max_wait_ms.unwrap_or(u64::MAX);
        Duration::from_millis(own.min(self.max_wait_ms))
    }
}

impl Bands {
    /// What `band` is sure of.
    pub const fn lane(&self, band: Band) -> &Lane {
        match band {
            Band::Interactive => &self.interactive,
            Band::Standard => &self.standard,
            Band::Batch => &self.batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(json: &str) -> Queue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn reads_what_an_operator_writes() {
        let read = queue(
            r#"{"concurrency": 32, "bands": {"interactive": {"reserved_percent": 25, "max_wait_ms": 2000}}}"#,
        );
        assert_eq!(read.validate(), Ok(()));
        assert_eq!(read.concurrency, NonZeroU32::new(32));
        assert_eq!(read.max_wait(Band::Interactive), Duration::from_secs(2));
        assert_eq!(read.max_wait(Band::Batch), Duration::from_mins(1));
        assert_eq!(read.bands.standard, Bands::default().standard);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(queue(&json), read);
        assert!(serde_json::from_str::<Queue>(r#"{"concurency": 32}"#).is_err());
    }

    #[test]
    fn what_makes_no_sense_names_the_field() {
        assert_eq!(Queue::default().validate(), Ok(()));
        for (json, field) in [
            (r#"{"max_wait_ms": 0}"#, "max_wait_ms"),
            (r#"{"output_token_weight": 101}"#, "output_token_weight"),
            (r#"{"bands": {"interactive": {"reserved_percent": 51}}}"#, "bands.interactive.reserved_percent"),
            (r#"{"bands": {"interactive": {"least_percent": 5}}}"#, "bands.interactive.least_percent"),
            (r#"{"bands": {"batch": {"reserved_percent": 5}}}"#, "bands.batch.reserved_percent"),
            (r#"{"bands": {"standard": {"least_percent": 46}}}"#, "bands.batch.least_percent"),
            (r#"{"bands": {"batch": {"max_wait_ms": 0}}}"#, "bands.batch.max_wait_ms"),
        ] {
            assert_eq!(queue(json).validate().unwrap_err().field, field, "{json}");
        }
    }

    #[test]
    fn the_more_urgent_band_comes_first() {
        assert!(Band::ALL.is_sorted());
        assert_eq!(serde_json::to_string(&Band::ALL).unwrap(), r#"["interactive","standard","batch"]"#);
    }
}
