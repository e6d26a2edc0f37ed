//! The price book: what a call costs, exact to the picodollar.

use crate::{Timestamp, TokenUsage, Usd};
use serde::{Deserialize, Serialize};

/// All prices at one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceBook {
    /// Identifies the content; carried by every row that costs something.
    pub version: String,
}

/// What one call cost. `total` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Input tokens that were neither read from nor written to a cache.
    pub input: Usd,
    /// Output tokens, reasoning included.
    pub output: Usd,
    /// Cache reads and writes.
    pub cache: Usd,
    /// All of it.
    pub total: Usd,
}

/// How urgently a provider was asked to serve a call; each has its own prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    /// On demand.
    #[default]
    Standard,
    /// Asynchronous, within a day.
    Batch,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
}

impl PriceBook {
    /// What `usage` of `model` at `provider` cost at the time `at`; `None` when the book has no price for it.
    pub fn cost(
        &self,
        _provider: &str,
        _model: &str,
        _tier: ServiceTier,
        _usage: &TokenUsage,
        _at: Timestamp,
    ) -> Option<Cost> {
        None
    }
}
