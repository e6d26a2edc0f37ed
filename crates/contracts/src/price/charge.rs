//! From token counts to money.
//!
//! `input` and `output` are totals and the other counts are subsets of them. Every token is billed once:
//!
//! | tokens | rate | part of the cost |
//! |---|---|---|
//! | `cache_read` | cache read | cache |
//! | `cache_write` | cache write | cache |
//! | `cache_write_1h` | cache write for an hour | cache |
//! | `audio_input` that is not cached | audio input | input |
//! | the rest of `input` | input | input |
//! | `reasoning` | reasoning | output |
//! | `audio_output` | audio output | output |
//! | the rest of `output` | output | output |
//!
//! **Cached audio.** The counts do not say which of the cached tokens were audio. Cached tokens are taken off the text
//! first: audio that does not fit into the uncached rest of the input is audio from the cache and pays the cache's rate.
//!
//! **Counts that contradict each other.** A provider or an application may report subsets that exceed their total: some
//! count reasoning or cached tokens beside the total, not within it. Then cached, reasoning and audio output tokens are
//! believed, each billed in full, and nothing is left at the plain rate. Audio input is billed up to the uncached input.
//! No count is ever negative, and one more token of any kind, in its subset and in its total, never lowers the cost.

use super::Cost;
use super::model::{Rate, Rates};
use crate::{TokenUsage, Usd};

/// A card with every rate resolved: what the hot path multiplies by, in picodollars a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedRates {
    input: Rate,
    output: Rate,
    cache_read: Rate,
    cache_write: Rate,
    cache_write_1h: Rate,
    reasoning: Rate,
    audio_input: Rate,
    audio_output: Rate,
    request: Usd,
}

impl From<&Rates> for ResolvedRates {
    fn from(rates: &Rates) -> Self {
        let input = rates.input.unwrap_or(Rate::FREE);
        let output = rates.output.unwrap_or(Rate::FREE);
        let cache_write = rates.cache_write.unwrap_or(input);
        Self {
            input,
            output,
            cache_read: rates.cache_read.unwrap_or(input),
            cache_write,
            cache_write_1h: rates.cache_write_1h.unwrap_or(cache_write),
            reasoning: rates.reasoning.unwrap_or(output),
            audio_input: rates.audio_input.unwrap_or(input),
            audio_output: rates.audio_output.unwrap_or(output),
            request: rates.request.unwrap_or(Usd::ZERO),
        }
    }
}

/// Bounds of a cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Of the request and its input.
    pub(super) read: Usd,
    /// Of the output.
    pub(super) written: Usd,
}

impl ResolvedRates {
    /// What so many tokens cost at most, whichever kinds they are. Each token is billed once, at one of these rates.
    pub(super) fn most(&self, input: u64, output: u64) -> Most {
        let dearest = |rates: &[Rate], tokens: u64| {
            rates.iter().map(|rate| rate.usd()).max().unwrap_or_default().times(tokens)
        };
        let read = [self.input, self.audio_input, self.cache_read, self.cache_write, self.cache_write_1h];
        let written = [self.output, self.reasoning, self.audio_output];
        Most { read: dearest(&read, input) + self.request, written: dearest(&written, output) }
    }
}

/// The length of the call's context, by which long-context rates are chosen: all input tokens.
pub(super) fn context_tokens(usage: &TokenUsage) -> u64 {
    usage.input.max(cached(usage))
}

/// What `usage` costs at `rates`. Exact: a rate is at most 10¹² picodollars, so nothing overflows at any count.
pub(super) fn cost_of(rates: &ResolvedRates, usage: &TokenUsage) -> Cost {
    let uncached = usage.input.saturating_sub(cached(usage));
    let audio = usage.audio_input.min(uncached);
    let input =
        rates.input.usd().times(uncached - audio) + rates.audio_input.usd().times(audio) + rates.request;

    let apart = usage.reasoning.saturating_add(usage.audio_output);
    let output = rates.output.usd().times(usage.output.saturating_sub(apart))
        + rates.reasoning.usd().times(usage.reasoning)
        + rates.audio_output.usd().times(usage.audio_output);

    let cache = rates.cache_read.usd().times(usage.cache_read)
        + rates.cache_write.usd().times(usage.cache_write)
        + rates.cache_write_1h.usd().times(usage.cache_write_1h);

    Cost { input, output, cache, total: input + output + cache }
}

fn cached(usage: &TokenUsage) -> u64 {
    usage.cache_read.saturating_add(usage.cache_write).saturating_add(usage.cache_write_1h)
}
