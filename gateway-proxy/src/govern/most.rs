//! The most that a call can cost.
//!
//! What is reserved must never be less than what a call comes to, or budgets could be overshot. A prompt has at most as many tokens as
//! bytes: every tokenizer in use is made of pieces of at least one byte, and the JSON around the texts is longer than the few tokens
//! of framing. Counting its tokens would be closer for the one family of models whose tokenizer is public, and wrong for the others;
//! what is reserved beyond is given back when the call ends, a moment later. An answer has at most as many tokens as were asked for.
//!
//! Pictures by URL are the exception: their tokens do not depend on the URL's length. Each is taken to be as many tokens as the
//! largest that its provider documents.

use crate::call::Facts;
use crate::request::Ask;
use contracts::policy::{Model, Snapshot};
use contracts::price::ServiceTier;
use contracts::{Timestamp, TokenUsage, Usd};
use std::sync::Arc;

/// Most tokens of a picture. Models of `OpenAI` up to 4.1 count 85 and 170 for each of at most 8 tiles, and later ones at most 1,536
/// patches times 2.46; Anthropic's count at most 4,784 and Gemini's 258 for each of some tiles.
const PICTURE: u64 = 6_000;
/// GPT-4o-mini counts 2,833 and 5,667 for each of 8 tiles.
const PICTURE_MINI: u64 = 48_169;

/// The most that one try of the call can cost at any of `models`. A model without a price costs nothing.
pub(crate) fn most(
    snapshot: &Snapshot,
    now: Timestamp,
    ask: &Ask,
    cap: Option<u64>,
    models: &[Arc<Model>],
) -> Usd {
    let output = ask.max_output.or(cap).unwrap_or(0).saturating_mul(ask.choices);
    let pictures = pictures(&ask.body);
    let of_model = |model: &Arc<Model>| {
        let is_mini = model.upstream_model.contains("4o-mini");
        let picture = if is_mini { PICTURE_MINI } else { PICTURE };
        dearest(snapshot, now, model, ask.tier, ask.body.len() as u64 + pictures * picture, output)
    };
    models.iter().map(of_model).max().unwrap_or_default()
}

impl Facts {
    /// The most that one try of the call can cost at any of `models`.
    pub(crate) fn most(&self, models: &[Arc<Model>]) -> Usd {
        let now = self.identity.started;
        let of = |ask| most(&self.snapshot, now, ask, self.governed.cap, models);
        self.ask.as_ref().map_or(Usd::ZERO, of)
    }
}

/// What so many tokens cost at most, whichever kinds of tokens they turn out to be.
fn dearest(
    snapshot: &Snapshot,
    now: Timestamp,
    model: &Model,
    tier: ServiceTier,
    input: u64,
    output: u64,
) -> Usd {
    let cost = |tier: ServiceTier, usage: TokenUsage| {
        let (price_as, name) = (&model.provider.price_as, &model.upstream_model);
        let cost = snapshot.prices.cost(price_as, name, tier, &usage, now);
        cost.map_or(Usd::ZERO, |cost| cost.total)
    };
    let read = TokenUsage { input, ..TokenUsage::default() };
    let inputs = [
        read,
        TokenUsage { cache_write: input, ..read },
        TokenUsage { cache_write_1h: input, ..read },
        TokenUsage { audio_input: input, ..read },
    ];
    // A long context makes the output dearer too, so that it is priced beside the whole prompt.
    let outputs = [
        TokenUsage { output, ..read },
        TokenUsage { output, reasoning: output, ..read },
        TokenUsage { output, audio_output: output, ..read },
    ];
    // What was asked for may be served at another tier: `auto` may mean any.
    let tiers = [tier, ServiceTier::Standard];
    let most = |usages: &[TokenUsage]| {
        let all = tiers.iter().flat_map(|tier| usages.iter().map(|usage| cost(*tier, *usage)));
        all.max().unwrap_or_default()
    };
    // The cheapest way to count the prompt in `outputs` is part of both: counted twice it only makes the bound wider.
    most(&inputs) + most(&outputs) - cost(ServiceTier::Standard, read).min(most(&inputs))
}

/// Pictures in a body, or more: every mention of one.
fn pictures(body: &[u8]) -> u64 {
    let names: [&[u8]; 3] = [b"\"image_url\":", b"\"input_image\"", b"\"image\""];
    names.into_iter().map(|name| memchr::memmem::find_iter(body, name).count() as u64).sum()
}
