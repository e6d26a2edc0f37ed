//! From a provider's and a model's name to the rates: built once, asked on the hot path.

use super::charge::ResolvedRates;
use super::model::{Charge, InvalidPrice, ModelPrice, RateCard};
use super::provider::canonical_provider;
use super::{ServiceTier, snapshot};
use crate::Timestamp;
use std::collections::HashMap;

/// Names to entries and entries to resolved rates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    providers: HashMap<String, Names>,
    /// By position of the entry: its cards, ordered by tier and then by length, longest first.
    cards: Vec<Vec<Card>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    tier: ServiceTier,
    above: u64,
    rates: ResolvedRates,
}

/// One provider's names, by how they match. Each name has its entries in order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Names {
    models: HashMap<String, Vec<Dated>>,
    aliases: HashMap<String, Vec<Dated>>,
    prefixes: HashMap<String, Vec<Dated>>,
}

/// An entry by position, and from when it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dated {
    from: Timestamp,
    entry: usize,
}

/// Before any call.
const EVER: Timestamp = Timestamp::from_unix_nanos(i64::MIN);

impl Index {
    /// Indexes entries that are valid by themselves.
    pub(super) fn build(entries: &[ModelPrice]) -> Result<Self, InvalidPrice> {
        let mut index = Self::default();
        for (position, price) in entries.iter().enumerate() {
            let dated = Dated { from: price.valid_from.unwrap_or(EVER), entry: position };
            let names = index.providers.entry(price.provider.clone()).or_default();
            let claim = |field: &'static str, name: &str, taken: &mut HashMap<String, Vec<Dated>>| {
                match insert(taken, name, dated) {
                    None => Ok(()),
                    // An entry may say the same twice.
                    Some(other) if other == position => Ok(()),
                    Some(other) => Err(InvalidPrice {
                        entry: price.label(),
                        field,
                        problem: format!(
                            "{name:?} is also claimed by {} from the same instant: expected one entry",
                            entries[other].label()
                        ),
                    }),
                }
            };
            claim("model", &price.model, &mut names.models)?;
            for alias in &price.aliases {
                claim("aliases", alias, &mut names.aliases)?;
            }
            for prefix in &price.prefixes {
                claim("prefixes", prefix, &mut names.prefixes)?;
            }
            index.cards.push(resolve(price)?);
        }
        Ok(index)
    }

    /// The position of the entry for `model` at `provider` at the time `at`.
    pub(super) fn find(&self, provider: &str, model: &str, at: Timestamp) -> Option<usize> {
        let names =
            self.providers.get(provider).or_else(|| self.providers.get(canonical_provider(provider)))?;
        valid(&names.models, model, at)
            .or_else(|| valid(&names.aliases, model, at))
            .or_else(|| snapshot::cuts(model).find_map(|prefix| valid(&names.prefixes, prefix, at)))
    }

    /// The rates of an entry for a tier and a number of input tokens.
    pub(super) fn card(&self, entry: usize, tier: ServiceTier, context: u64) -> Option<&ResolvedRates> {
        let cards = self.cards.get(entry)?;
        let of =
            |tier| cards.iter().find(move |c: &&Card| c.tier == tier && (c.above == 0 || context > c.above));
        of(tier).or_else(|| of(ServiceTier::Standard)).map(|card| &card.rates)
    }

    /// All rates that an entry may have for a tier and so many input tokens or fewer.
    pub(super) fn cards(
        &self,
        entry: usize,
        tier: ServiceTier,
        context: u64,
    ) -> impl Iterator<Item = &ResolvedRates> {
        let cards = self.cards.get(entry).map(Vec::as_slice).unwrap_or_default();
        let has_own = cards.iter().any(|card| card.tier == tier);
        let is_meant = move |of: ServiceTier| of == tier || !has_own && of == ServiceTier::Standard;
        let may_be =
            cards.iter().filter(move |card| is_meant(card.tier) && (card.above == 0 || context > card.above));
        may_be.map(|card| &card.rates)
    }
}

/// Adds an entry under a name, in order of time; the entry that is there already for that instant.
fn insert(names: &mut HashMap<String, Vec<Dated>>, name: &str, dated: Dated) -> Option<usize> {
    let entries = names.entry(name.to_owned()).or_default();
    match entries.binary_search_by_key(&dated.from, |other| other.from) {
        Ok(at) => Some(entries[at].entry),
        Err(at) => {
            entries.insert(at, dated);
            None
        }
    }
}

fn valid(names: &HashMap<String, Vec<Dated>>, name: &str, at: Timestamp) -> Option<usize> {
    let dated = names.get(name)?.iter().rev().find(|dated| dated.from <= at)?;
    Some(dated.entry)
}

fn resolve(price: &ModelPrice) -> Result<Vec<Card>, InvalidPrice> {
    let of = |card: &RateCard| Card { tier: card.tier, above: card.above, rates: (&card.rates).into() };
    let mut cards: Vec<Card> = match &price.charge {
        Charge::Tokens(cards) => cards.iter().map(of).collect(),
        Charge::Gpu(gpu) => {
            let rates = gpu.rates().map_err(|problem| InvalidPrice {
                entry: price.label(),
                field: "charge.gpu",
                problem,
            })?;
            vec![of(&RateCard { rates, ..RateCard::default() })]
        }
    };
    cards.sort_by_key(|card| (card.tier, std::cmp::Reverse(card.above)));
    Ok(cards)
}
