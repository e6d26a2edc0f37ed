//! Entries of the price book, as they are stored, imported and shown.

use super::gpu::GpuPrice;
use super::{ServiceTier, decimal, instant};
use crate::{Timestamp, Usd};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The price of one model at one provider from one instant on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// The provider's name, as in `gen_ai.provider.name`: `openai`, `anthropic`, `gcp.gemini`, `vllm-eu-1`.
    pub provider: String,
    /// The model's own name at that provider.
    pub model: String,
    /// Other names with the same price.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Names whose dated snapshots have the same price: `gpt-4o-mini` stands for `gpt-4o-mini-2024-07-18` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// From when the price holds, until the next entry of the same name; absent: since ever.
    /// Written as `2026-01-31` (midnight UTC) or `2026-01-31T16:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "instant")]
    pub valid_from: Option<Timestamp>,
    /// The price itself.
    pub charge: Charge,
    /// Where the price was read and when; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// How tokens become money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Charge {
    /// A provider's price list: one card a service tier and context length.
    Tokens(Vec<RateCard>),
    /// A server of one's own, paid by the hour.
    Gpu(GpuPrice),
}

/// The rates of one service tier above one context length.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateCard {
    /// The service tier.
    #[serde(default, skip_serializing_if = "is_standard")]
    pub tier: ServiceTier,
    /// The card applies to calls with more than this many input tokens, cached ones included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub above: u64,
    /// The rates. A card stands alone: nothing is inherited from a card of another tier or length.
    pub rates: Rates,
}

/// Prices of the token kinds, each in USD per million tokens, and the fee per request in USD.
///
/// What is missing is billed as providers bill it: a rate of `0` is free, an absent one falls back as noted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Input that is neither cached nor audio. Absent: free (as for models billed by the request).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Rate>,
    /// Output that is neither reasoning nor audio. Absent: free (as for embeddings, which have none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Rate>,
    /// Input read from the provider's cache. Absent: as `input` (no discount).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// Input written to the provider's cache for the default time. Absent: as `input` (no surcharge, as at OpenAI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Input written to the provider's cache for an hour. Absent: as `cache_write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Rate>,
    /// Reasoning output. Absent: as `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Rate>,
    /// Audio input. Absent: as `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Rate>,
    /// Audio output. Absent: as `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Rate>,
    /// Fee per request, whatever its tokens. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Usd>,
}

/// The price of one token: whole picodollars, at most one dollar.
///
/// Written in USD per million tokens as a decimal text (`"0.15"` is 150,000 picodollars a token), so its sixth decimal
/// is the last. A finer price is refused, never rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rate(u64);

/// What identifies an entry: there is one per provider, model and instant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PriceKey {
    /// [`ModelPrice::provider`].
    pub provider: String,
    /// [`ModelPrice::model`].
    pub model: String,
    /// [`ModelPrice::valid_from`].
    pub valid_from: Option<Timestamp>,
}

/// Why a price is not valid. The text names the entry, the field, the value and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price of {entry}: {field} {problem}")]
pub struct InvalidPrice {
    /// `provider/model`, with the date when there is one.
    pub entry: String,
    /// The field in question.
    pub field: &'static str,
    /// The value, and what is expected instead.
    pub problem: String,
}

impl ModelPrice {
    /// What identifies the entry.
    pub fn key(&self) -> PriceKey {
        PriceKey { provider: self.provider.clone(), model: self.model.clone(), valid_from: self.valid_from }
    }

    /// `provider/model`, with the date when there is one.
    pub fn label(&self) -> String {
        match self.valid_from {
            Some(from) => format!("{}/{} from {}", self.provider, self.model, instant::write(from)),
            None => format!("{}/{}", self.provider, self.model),
        }
    }

    /// [`ModelPrice::valid_from`] as text (`2026-01-31` or `2026-01-31T16:00:00Z`); empty: since ever.
    pub fn valid_from_text(&self) -> String {
        self.valid_from.map(instant::write).unwrap_or_default()
    }

    /// Whether the entry can be billed by: names present and sane, one card per tier and length, a base card for each tier.
    pub fn validate(&self) -> Result<(), InvalidPrice> {
        let refuse = |field, problem: String| Err(InvalidPrice { entry: self.label(), field, problem });
        if !is_name(&self.provider) {
            return refuse("provider", format!("{:?} is not valid: expected {NAME}", self.provider));
        }
        let lists = [("aliases", &self.aliases), ("prefixes", &self.prefixes)];
        let listed = lists.iter().flat_map(|(field, names)| names.iter().map(move |name| (*field, name)));
        for (field, name) in std::iter::once(("model", &self.model)).chain(listed) {
            if !is_name(name) {
                return refuse(field, format!("{name:?} is not valid: expected {NAME}"));
            }
        }
        match &self.charge {
            Charge::Gpu(gpu) => match gpu.rates() {
                Ok(_) => Ok(()),
                Err(problem) => refuse("charge.gpu", problem),
            },
            Charge::Tokens(cards) => validate_cards(cards)
                .or_else(|(tier, problem)| refuse("charge.tokens", format!("({}) {problem}", tier.as_str()))),
        }
    }
}

fn validate_cards(cards: &[RateCard]) -> Result<(), (ServiceTier, String)> {
    for tier in ServiceTier::ALL {
        let mut lengths: Vec<u64> = cards.iter().filter(|c| c.tier == tier).map(|c| c.above).collect();
        lengths.sort_unstable();
        if lengths.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err((
                tier,
                format!("has two cards above one length: expected one each, got {lengths:?}"),
            ));
        }
        let needed = tier == ServiceTier::Standard || !lengths.is_empty();
        if needed && lengths.first() != Some(&0) {
            return Err((tier, format!("has no card above 0 tokens: expected one, got {lengths:?}")));
        }
    }
    for card in cards {
        if card.rates == Rates::default() {
            return Err((card.tier, "has a card without any rate: expected at least one".to_owned()));
        }
        if card.rates.request.is_some_and(|fee| !(Usd::ZERO..=MOST_PER_REQUEST).contains(&fee)) {
            return Err((card.tier, "has a fee per request out of range: expected 0 to 1000 USD".to_owned()));
        }
    }
    Ok(())
}

const NAME: &str = "1 to 256 characters without blanks or control characters";
const MOST_PER_REQUEST: Usd = Usd::from_picos(1_000_000_000_000_000);

fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

impl Rate {
    /// One dollar a token: far above any price, and low enough that no call's cost overflows.
    pub const MAX: Self = Self(1_000_000_000_000);
    /// Nothing.
    pub const FREE: Self = Self(0);

    /// From picodollars per token; `None` above [`Rate::MAX`].
    pub const fn from_picos(picos: u64) -> Option<Self> {
        if picos <= Self::MAX.0 { Some(Self(picos)) } else { None }
    }

    /// In picodollars per token.
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// What one token costs.
    pub const fn usd(self) -> Usd {
        Usd::from_picos(self.0 as i128)
    }
}

impl fmt::Display for Rate {
    /// USD per million tokens, the shortest exact decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Usd::from_picos(i128::from(self.0) * 1_000_000))
    }
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "rate {0:?} is not valid: expected USD per million tokens, 0 to 1000000 with at most 6 decimals, such as 0.15"
)]
pub struct InvalidRate(String);

impl FromStr for Rate {
    type Err = InvalidRate;
    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        // A dollar per million tokens is a million picodollars a token: six decimals.
        let picos = decimal::scaled(text, 6).ok();
        picos.and_then(Self::from_picos).ok_or_else(|| InvalidRate(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for Rate {
    type Error = InvalidRate;
    fn try_from(text: String) -> Result<Self, InvalidRate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_standard(tier: &ServiceTier) -> bool {
    *tier == ServiceTier::Standard
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(above: &u64) -> bool {
    *above == 0
}
