//! The most that a call can cost.
//!
//! What is reserved must never be less than what a call comes to, or budgets could be overshot. A prompt has at most as many tokens as
//! bytes: every tokenizer in use is made of pieces of at least one byte, and the JSON around the texts is longer than the few tokens
//! of framing. Counting its tokens would be closer for the one family of models whose tokenizer is public, and wrong for the others;
//! what is reserved beyond is given back when the call ends, a moment later. An answer has at most as many tokens as were asked for.
//!
//! What is not in the body is the exception: pictures, whose tokens do not depend on the length of their address, are each taken to be
//! as many tokens as the largest that their provider documents, and for what is only referred to a whole context is held (`content`).

use crate::call::Facts;
use crate::errors::Failure;
use crate::govern::content::Beyond;
use crate::trying::Asking;
use contracts::Usd;
use contracts::policy::Model;
use contracts::price::ServiceTier;
use std::sync::Arc;

/// Most tokens of a picture. Models of `OpenAI` up to 4.1 count 85 and 170 for each of at most 8 tiles, and later ones at most 1,536
/// patches times 2.46; Anthropic's count at most 4,784 and Gemini's 258 for each of some tiles.
const PICTURE: u64 = 6_000;
/// GPT-4o-mini counts 2,833 and 5,667 for each of 8 tiles.
const PICTURE_MINI: u64 = 48_169;

/// The most that one try of the call can cost at each of `models`; `None` for one that the price book does not know.
fn each<'a>(
    asking: Asking<'_>,
    tiers: &[ServiceTier],
    models: &'a [Arc<Model>],
) -> impl Iterator<Item = (&'a Arc<Model>, Option<Usd>)> {
    let ask = asking.ask;
    let output = ask.max_output.or(asking.cap).unwrap_or(0).saturating_mul(ask.choices);
    // Without a budget a ceiling may still want to know.
    let beyond = asking.prompt_tokens.unwrap_or_else(|| Beyond::within(asking.endpoint, ask));
    let Beyond { pictures, context } = beyond;
    let text = (ask.body.len() as u64).max(context);
    // Deployments of a model mostly have one price.
    let is_new = move |at: &usize| !models[..*at].iter().any(|earlier| costs_as(earlier, &models[*at]));
    (0..models.len()).filter(is_new).map(move |at| {
        let model = &models[at];
        let is_mini = model.upstream_model.contains("4o-mini");
        let picture = if is_mini { PICTURE_MINI } else { PICTURE };
        let input = text.saturating_add(pictures.saturating_mul(picture));
        (model, dearest(asking, model, tiers, input, output))
    })
}

fn costs_as(one: &Model, other: &Model) -> bool {
    one.provider.price_as == other.provider.price_as
        && one.price_name() == other.price_name()
        && one.upstream_model == other.upstream_model
}

/// The most that one try of the call can cost at any of `models`. Where `must_know`, one without a price is refused: it may cost
/// anything, and what is free has a price of nothing.
pub(crate) fn most(asking: Asking<'_>, models: &[Arc<Model>], must_know: bool) -> Result<Usd, Failure> {
    let mut most = Usd::ZERO;
    for (model, of_model) in each(asking, asking.ask.most_tiers, models) {
        if of_model.is_none() && must_know {
            return Err(Failure::Unpriced(model.clone()));
        }
        most = most.max(of_model.unwrap_or_default());
    }
    Ok(most)
}

impl Facts {
    /// The most that one try of the call can cost at any of `models`, as far as they have a price, at the tier that was asked for.
    pub(crate) fn most(&self, models: &[Arc<Model>]) -> Usd {
        let Some(ask) = &self.ask else { return Usd::ZERO };
        let tiers = [ServiceTier::Standard, ask.tier];
        let tiers = if ask.tier == ServiceTier::Standard { &tiers[..1] } else { &tiers[..] };
        let each = each(self.asking(ask, &self.governed), tiers, models);
        each.filter_map(|(_, most)| most).max().unwrap_or_default()
    }
}

/// What so many tokens cost at most, whichever kinds of tokens they turn out to be; `None` without a price.
fn dearest(asking: Asking<'_>, model: &Model, tiers: &[ServiceTier], input: u64, output: u64) -> Option<Usd> {
    let (provider, name, at) = (&model.provider.price_as, model.price_name(), asking.identity.started);
    Some(asking.snapshot.prices.priced(provider, name, at)?.most(tiers, input, output))
}
