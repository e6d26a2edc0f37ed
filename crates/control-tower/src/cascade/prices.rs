//! What recorded answers would have cost: from the price book's seed, or by hand.

use super::resolve;
use anyhow::{Context, bail};
use contracts::price::{PriceBook, ServiceTier};
use contracts::{Timestamp, TokenUsage, Usd};
use runtime::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The provider under which the book has recorded models.
const RECORDED: &str = "sim";

/// What a model's tokens cost.
#[derive(Debug, Clone)]
pub(super) enum Price {
    /// As an entry of the book.
    Book { book: Arc<PriceBook>, provider: String, model: String, at: Timestamp },
    /// Dollars a token.
    Hand { input: Usd, output: Usd },
}

impl Price {
    /// What a call costs.
    pub(super) fn cost(&self, input: u64, output: u64) -> anyhow::Result<Usd> {
        match self {
            Self::Hand { input: of_input, output: of_output } => {
                Ok(of_input.times(input) + of_output.times(output))
            }
            Self::Book { book, provider, model, at } => {
                let usage = TokenUsage { input, output, ..TokenUsage::default() };
                let cost = book.cost(provider, model, ServiceTier::Standard, &usage, *at);
                Ok(cost.with_context(|| format!("the price book has no price for {provider}/{model}"))?.total)
            }
        }
    }
}

/// A price for each of `tiers`.
pub(super) fn find(tiers: &[String], price_as: &[String], by_hand: &[String]) -> anyhow::Result<Vec<Price>> {
    let book = Arc::new(
        PriceBook::new("seed", control::prices::seed_entries()?).context("indexing the price book")?,
    );
    let at = Clock::system().now();
    let mut set = BTreeMap::<&String, Price>::new();
    for text in price_as {
        let expected = || format!("--price-as: {text:?} is not valid, expected MODEL=PROVIDER/NAME");
        let (model, entry) = text.split_once('=').with_context(expected)?;
        let (provider, name) = entry.split_once('/').with_context(expected)?;
        if book.entry(provider, name, at).is_none() {
            bail!(
                "--price-as: {entry:?} is not valid, expected a provider and a model that the price book has"
            );
        }
        let price = Price::Book {
            book: Arc::clone(&book),
            provider: provider.to_owned(),
            model: name.to_owned(),
            at,
        };
        set.insert(resolve("--price-as", model, tiers)?, price);
    }
    for text in by_hand {
        let expected =
            || format!("--price: {text:?} is not valid, expected MODEL=IN/OUT in dollars per million tokens");
        let (model, rates) = text.split_once('=').with_context(expected)?;
        let (input, output) = rates.split_once('/').with_context(expected)?;
        let price = Price::Hand {
            input: per_token(input).with_context(expected)?,
            output: per_token(output).with_context(expected)?,
        };
        set.insert(resolve("--price", model, tiers)?, price);
    }
    tiers.iter().map(|tier| set.get(tier).cloned().map_or_else(|| from_book(&book, tier, at), Ok)).collect()
}

/// The entry of that name: that of recorded models, or else the only provider's.
fn from_book(book: &Arc<PriceBook>, tier: &str, at: Timestamp) -> anyhow::Result<Price> {
    let price = |provider: &str| Price::Book {
        book: Arc::clone(book),
        provider: provider.to_owned(),
        model: tier.to_owned(),
        at,
    };
    if book.entry(RECORDED, tier, at).is_some() {
        return Ok(price(RECORDED));
    }
    let mut providers: Vec<&str> = book.entries().iter().map(|entry| entry.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    providers.retain(|provider| book.entry(provider, tier, at).is_some());
    match providers.as_slice() {
        [provider] => Ok(price(provider)),
        [] => bail!(
            "model {tier}: the price book has no price, expected --price-as {tier}=PROVIDER/NAME or --price {tier}=IN/OUT"
        ),
        several => {
            bail!("model {tier}: priced by {}, expected --price-as {tier}=PROVIDER/NAME", several.join(", "))
        }
    }
}

/// Dollars a token, from dollars a million of them; `None` where that is not exact to the picodollar.
fn per_token(million: &str) -> Option<Usd> {
    let picos = million.parse::<Usd>().ok()?.picos();
    (picos >= 0 && picos % 1_000_000 == 0).then(|| Usd::from_picos(picos / 1_000_000))
}
