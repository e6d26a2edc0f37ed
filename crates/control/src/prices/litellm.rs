//! LiteLLM's `model_prices_and_context_window.json`.
//!
//! The file is an object of models; each has prices in USD per token under keys made of a kind, a length and a tier:
//! `cache_read_input_token_cost_above_200k_tokens_priority`. What becomes of it:
//!
//! | in the file | in the book |
//! |---|---|
//! | `input_cost_per_token`, `output_cost_per_token`, `cache_read_input_token_cost` (or `input_cost_per_token_cache_hit`), `cache_creation_input_token_cost`, `…_above_1hr`, `output_cost_per_reasoning_token`, `input_cost_per_audio_token`, `output_cost_per_audio_token` | the rate of that kind |
//! | `…_above_Nk_tokens` | a card above N thousand input tokens; kinds that it lacks keep their base rate |
//! | `…_batches`, `…_flex`, `…_priority` | a card of that tier; kinds that it lacks keep their standard rate |
//! | `tiered_pricing` with `range` | cards above each range's start |
//! | `input_cost_per_request` | the fee per request |
//! | any other key with `cost` or `pric` in it | noted, unless it is 0 |
//! | `provider/` before the model's name | left off; the provider is `litellm_provider` |
//!
//! Other keys (context windows, abilities, links) are not prices and are not looked at. A model with a price that is not
//! exact to the picodollar, or without any price per token or request, is left out.

use super::json::{self, Members, shown};
use super::report::{Format, ImportError, Parsed};
use contracts::price::{Charge, ModelPrice, Rate, RateCard, Rates, ServiceTier, canonical_provider};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// USD per token.
const TOKEN: i32 = 0;

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Parsed, ImportError> {
    let shape = |source| ImportError::Shape { format: Format::Litellm, source };
    let models: Members<'_> = serde_json::from_str(text).map_err(shape)?;
    let mut parsed = Parsed::default();
    let mut taken: BTreeMap<(String, String), (String, Charge)> = BTreeMap::new();
    for (key, raw) in &models.0 {
        parsed.models += 1;
        let mut reading = Reading { provider: String::new(), key, field: String::new(), parsed: &mut parsed };
        match reading.model(raw) {
            Ok(price) => match taken.entry((price.provider.clone(), price.model.clone())) {
                Entry::Vacant(place) => {
                    place.insert((key.clone(), price.charge.clone()));
                    parsed.prices.push(price);
                }
                Entry::Occupied(other) => {
                    let (first, charge) = other.get();
                    let same = if *charge == price.charge { "the same" } else { "another" };
                    let reason = format!("{} is already given by {first:?}, at {same} price", price.label());
                    parsed.drop(&price.provider, key, "", reason);
                }
            },
            Err(reason) => {
                let Reading { provider, field, .. } = reading;
                parsed.drop(&provider, key, &field, reason);
            }
        }
    }
    Ok(parsed)
}

/// The model being read, so that a reason can say where it arose.
struct Reading<'p> {
    provider: String,
    key: &'p str,
    field: String,
    parsed: &'p mut Parsed,
}

/// The cards as they grow, by tier and length.
type Cards = BTreeMap<(ServiceTier, u64), Rates>;

impl Reading<'_> {
    fn lose(&mut self, field: &str, reason: impl Into<String>) {
        self.parsed.lose(&self.provider, self.key, field, reason);
    }

    fn model(&mut self, raw: &RawValue) -> Result<ModelPrice, String> {
        if self.key == "sample_spec" {
            return Err("describes the format and is no model".to_owned());
        }
        let members = Members::of(raw)?;
        "litellm_provider".clone_into(&mut self.field);
        self.provider = members.text("litellm_provider")?.ok_or("the model has no litellm_provider")?;
        let mut cards = Cards::new();
        let mut hit: Option<Rate> = None;
        for (name, raw) in &members.0 {
            self.field.clone_from(name);
            match name.as_str() {
                "input_cost_per_request" => base(&mut cards).request = json::usd(raw, TOKEN)?,
                "input_cost_per_token_cache_hit" => hit = json::rate(raw, TOKEN)?,
                "tiered_pricing" => self.ranges(raw, &mut cards)?,
                _ => self.price(name, raw, &mut cards)?,
            }
        }
        self.field.clear();
        if let Some(hit) = hit {
            match base(&mut cards).cache_read.get_or_insert(hit) {
                read if *read == hit => {}
                _ => self.lose(
                    "input_cost_per_token_cache_hit",
                    "contradicts cache_read_input_token_cost, which is taken",
                ),
            }
        }
        let charge = Charge::Tokens(self.complete(cards)?);
        let price = ModelPrice {
            provider: canonical_provider(&self.provider).to_owned(),
            model: self.name().to_owned(),
            aliases: Vec::new(),
            prefixes: Vec::new(),
            valid_from: None,
            charge,
            source: "LiteLLM".to_owned(),
        };
        price.validate().map_err(|error| error.to_string())?;
        Ok(price)
    }

    /// The model's name without the provider before it.
    fn name(&self) -> &str {
        let known = [self.provider.as_str(), "vertex_ai", "bedrock", "cohere", "azure", "gemini"];
        match self.key.split_once('/') {
            Some((first, rest)) if known.contains(&first) && !rest.is_empty() => rest,
            _ => self.key,
        }
    }

    fn price(&mut self, name: &str, raw: &RawValue, cards: &mut Cards) -> Result<(), String> {
        match PriceKey::parse(name) {
            Some(key) => {
                if let Some(rate) = json::rate(raw, TOKEN)? {
                    *(key.kind)(cards.entry((key.tier, key.above)).or_default()) = Some(rate);
                }
            }
            None if !name.contains("cost") && !name.contains("pric") => {}
            None if json::is_zero_or_null(raw) => {}
            None => self.lose(name, format!("{} has no unit in the book", shown(raw))),
        }
        Ok(())
    }

    fn ranges(&mut self, raw: &RawValue, cards: &mut Cards) -> Result<(), String> {
        for raw in json::items(raw)? {
            let range = Members::of(raw)?;
            let bounds = json::items(range.get("range").ok_or("a tier of tiered_pricing has no range")?)?;
            let above = json::whole(bounds.first().ok_or("a range is empty")?)?;
            let mut own = Cards::new();
            for (name, raw) in &range.0 {
                if name != "range" {
                    self.price(name, raw, &mut own)?;
                }
            }
            for ((tier, length), rates) in own {
                if length != 0 || cards.insert((tier, above), rates).is_some() {
                    return Err(format!("has two prices for calls above {above} tokens"));
                }
            }
        }
        Ok(())
    }

    /// The cards with everything that they inherit.
    fn complete(&mut self, cards: Cards) -> Result<Vec<RateCard>, String> {
        let standard = cards.get(&(ServiceTier::Standard, 0)).cloned().unwrap_or_default();
        if standard == Rates::default() {
            return Err("has no price per token or request".to_owned());
        }
        let free = |rates: &Rates| {
            rates.request.is_none() && all_rates(rates).iter().flatten().all(|r| r.picos() == 0)
        };
        if cards.values().all(free) && self.parsed.partial.last().is_some_and(|note| note.model == self.key) {
            return Err("is free by the token, but not by other units".to_owned());
        }
        let mut complete = Cards::new();
        // Standard comes first in the map, and each tier's base card before its longer ones.
        for ((tier, above), rates) in cards {
            let of_tier = complete.get(&(tier, 0)).cloned();
            let of_length = complete.get(&(ServiceTier::Standard, above)).cloned();
            let inherited =
                if above > 0 && tier == ServiceTier::Standard { of_tier.clone() } else { of_length };
            let rates = overlay(&rates, inherited.or(of_tier).as_ref().unwrap_or(&standard));
            complete.insert((tier, above), rates);
        }
        for tier in ServiceTier::ALL {
            if complete.keys().any(|(other, _)| *other == tier) && !complete.contains_key(&(tier, 0)) {
                complete.insert((tier, 0), standard.clone());
            }
            let lengths = |of| complete.keys().filter(move |(tier, _)| *tier == of).map(|(_, above)| *above);
            if lengths(tier).count() > 0 && lengths(tier).max() < lengths(ServiceTier::Standard).max() {
                self.lose(
                    tier.as_str(),
                    "has no long-context price: long calls of this tier pay its base price",
                );
            }
        }
        Ok(complete.into_iter().map(|((tier, above), rates)| RateCard { tier, above, rates }).collect())
    }
}

fn base(cards: &mut Cards) -> &mut Rates {
    cards.entry((ServiceTier::Standard, 0)).or_default()
}

fn all_rates(rates: &Rates) -> [Option<Rate>; 8] {
    [
        rates.input,
        rates.output,
        rates.cache_read,
        rates.cache_write,
        rates.cache_write_1h,
        rates.reasoning,
        rates.audio_input,
        rates.audio_output,
    ]
}

/// `own`, with what it lacks taken from `below`.
fn overlay(own: &Rates, below: &Rates) -> Rates {
    Rates {
        input: own.input.or(below.input),
        output: own.output.or(below.output),
        cache_read: own.cache_read.or(below.cache_read),
        cache_write: own.cache_write.or(below.cache_write),
        cache_write_1h: own.cache_write_1h.or(below.cache_write_1h),
        reasoning: own.reasoning.or(below.reasoning),
        audio_input: own.audio_input.or(below.audio_input),
        audio_output: own.audio_output.or(below.audio_output),
        request: own.request.or(below.request),
    }
}

/// A key of the file taken apart.
struct PriceKey {
    kind: fn(&mut Rates) -> &mut Option<Rate>,
    tier: ServiceTier,
    above: u64,
}

impl PriceKey {
    fn parse(key: &str) -> Option<Self> {
        let tiers = [
            ("_batches", ServiceTier::Batch),
            ("_flex", ServiceTier::Flex),
            ("_priority", ServiceTier::Priority),
        ];
        let tier_of = |key| {
            let found = tiers.iter().find_map(|(end, tier)| Some((str::strip_suffix(key, end)?, *tier)));
            found.unwrap_or((key, ServiceTier::Standard))
        };
        let (rest, tier) = tier_of(key);
        let (rest, above) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
            Some((rest, thousands)) => {
                (rest, thousands.parse::<u64>().ok().filter(|k| *k > 0)?.checked_mul(1000)?)
            }
            None => (rest, 0),
        };
        // Some keys name the tier before the length.
        let (rest, tier) = if tier == ServiceTier::Standard { tier_of(rest) } else { (rest, tier) };
        let kind: fn(&mut Rates) -> &mut Option<Rate> = match rest {
            "input_cost_per_token" => |rates| &mut rates.input,
            "output_cost_per_token" => |rates| &mut rates.output,
            "cache_read_input_token_cost" => |rates| &mut rates.cache_read,
            "cache_creation_input_token_cost" => |rates| &mut rates.cache_write,
            "cache_creation_input_token_cost_above_1hr" => |rates| &mut rates.cache_write_1h,
            "output_cost_per_reasoning_token" => |rates| &mut rates.reasoning,
            "input_cost_per_audio_token" => |rates| &mut rates.audio_input,
            "output_cost_per_audio_token" => |rates| &mut rates.audio_output,
            _ => return None,
        };
        Some(Self { kind, tier, above })
    }
}
