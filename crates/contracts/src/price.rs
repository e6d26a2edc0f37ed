//! The price book: what a call costs, exact to the picodollar.
//!
//! A [`PriceBook`] is a list of [`ModelPrice`] entries and an index over them that is built once. [`PriceBook::cost`]
//! is on the hot path of the gateway: two or three hash lookups, a short scan over the entry's dates, ten
//! multiplications, no allocation.
//!
//! **Which entry applies.** Within the provider, the first of these that holds an entry valid at the call's time:
//! 1. the entry whose `model` is the name;
//! 2. the entry with the name among its `aliases`;
//! 3. the entry with the longest of the `prefixes` for which the rest of the name is a dated snapshot
//!    (`gpt-4o-mini` prices `gpt-4o-mini-2024-07-18`; the grammar is in [`snapshot_suffix`]).
//!
//! Of several entries for one name the latest whose `valid_from` is not after the call applies, so that a price change
//! takes effect at its instant and older calls keep their price. Names are compared byte for byte; a provider that the
//! book does not have under its name is looked up under its usual one ([`canonical_provider`]: `xai` is `x_ai`).
//!
//! **Which rates apply.** Those of the service tier, or the standard ones when the entry has none for that tier (a
//! provider that has no batch price bills batches as usual). Of a tier's cards, the one with the greatest
//! [`RateCard::above`] that the call's input tokens, cached ones included, exceed: providers bill the whole call, input
//! and output, at the long-context rates.
//!
//! **Which rate a token pays.** See [`Rates`] for the kinds and what stands in for a missing one, and
//! [`charge`] for how counts that contradict each other are billed.

pub mod charge;
pub mod decimal;
mod gpu;
mod index;
pub mod instant;
mod model;
mod provider;
mod snapshot;

pub use gpu::{GpuPrice, Throughput};
pub use model::{Charge, InvalidPrice, ModelPrice, PriceKey, Rate, RateCard, Rates};
pub use provider::canonical_provider;
pub use snapshot::snapshot_suffix;

use crate::{Timestamp, TokenUsage, Usd};
use index::Index;
use serde::{Deserialize, Serialize};

/// All prices at one version. Serialises as its version and entries; the index is rebuilt when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "BookData", try_from = "BookData")]
pub struct PriceBook {
    /// Identifies the content; carried by every row that costs something.
    pub version: String,
    entries: Vec<ModelPrice>,
    index: Index,
}

/// What one call cost. `total` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Input tokens that were neither read from nor written to a cache, and the fee per request where there is one.
    pub input: Usd,
    /// Output tokens, reasoning and audio included.
    pub output: Usd,
    /// Cache reads and writes.
    pub cache: Usd,
    /// All of it.
    pub total: Usd,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input + other.input,
            output: self.output + other.output,
            cache: self.cache + other.cache,
            total: self.total + other.total,
        }
    }
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

impl ServiceTier {
    /// Every tier.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Batch, Self::Flex, Self::Priority];

    /// `standard`, `batch`, `flex` or `priority`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

impl PriceBook {
    /// Indexes `entries`. Refuses an entry that is not valid, and two entries that claim one name from one instant.
    pub fn new(version: impl Into<String>, entries: Vec<ModelPrice>) -> Result<Self, InvalidPrice> {
        for entry in &entries {
            entry.validate()?;
        }
        let index = Index::build(&entries)?;
        Ok(Self { version: version.into(), entries, index })
    }

    /// All entries, in the order they were given.
    pub fn entries(&self) -> &[ModelPrice] {
        &self.entries
    }

    /// The entry that prices `model` at `provider` at the time `at`.
    pub fn entry(&self, provider: &str, model: &str, at: Timestamp) -> Option<&ModelPrice> {
        self.entries.get(self.index.find(provider, model, at)?)
    }

    /// What `usage` of `model` at `provider` cost at the time `at`; `None` when the book has no price for it.
    pub fn cost(
        &self,
        provider: &str,
        model: &str,
        tier: ServiceTier,
        usage: &TokenUsage,
        at: Timestamp,
    ) -> Option<Cost> {
        self.priced(provider, model, at)?.cost(tier, usage)
    }

    /// The prices of `model` at `provider` at the time `at`, to be asked for several amounts of usage.
    pub fn priced(&self, provider: &str, model: &str, at: Timestamp) -> Option<Priced<'_>> {
        Some(Priced { index: &self.index, entry: self.index.find(provider, model, at)? })
    }
}

/// What a model costs at one time.
#[derive(Debug, Clone, Copy)]
pub struct Priced<'a> {
    index: &'a Index,
    entry: usize,
}

impl Priced<'_> {
    /// What `usage` costs; `None` when the entry has no rates.
    pub fn cost(&self, tier: ServiceTier, usage: &TokenUsage) -> Option<Cost> {
        Some(charge::cost_of(self.index.card(self.entry, tier, charge::context_tokens(usage))?, usage))
    }

    /// The most that a call with at most so many tokens can cost, at whichever of `tiers` it is served and whichever kinds of tokens they
    /// turn out to be; nothing when the entry has no rates.
    pub fn most(&self, tiers: &[ServiceTier], input: u64, output: u64) -> Usd {
        let mut known: Option<&charge::ResolvedRates> = None;
        let (mut most_read, mut most_written) = (Usd::ZERO, Usd::ZERO);
        for rates in tiers.iter().flat_map(|tier| self.index.cards(self.entry, *tier, input)) {
            // Most entries have one card for all tiers.
            if known.is_some_and(|known| std::ptr::eq(known, rates)) {
                continue;
            }
            known = Some(rates);
            let most = rates.most(input, output);
            most_read = most_read.max(most.read);
            most_written = most_written.max(most.written);
        }
        most_read + most_written
    }
}

/// What of a book is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookData {
    version: String,
    #[serde(default)]
    entries: Vec<ModelPrice>,
}

impl From<PriceBook> for BookData {
    fn from(book: PriceBook) -> Self {
        Self { version: book.version, entries: book.entries }
    }
}

impl TryFrom<BookData> for PriceBook {
    type Error = InvalidPrice;
    fn try_from(data: BookData) -> Result<Self, InvalidPrice> {
        Self::new(data.version, data.entries)
    }
}

#[cfg(test)]
mod tests;
