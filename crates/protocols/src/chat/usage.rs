//! `usage` of chat completions.

use crate::problem::Path;
use crate::read::Fields;
use crate::write::Object;
use contracts::TokenUsage;
use serde_json::value::RawValue;

/// Reads OpenAI's shape and what compatible servers add to it. One that cannot be read is none.
pub(crate) fn read_usage(raw: &RawValue) -> Option<TokenUsage> {
    let mut fields = Fields::read(raw, Path::ROOT).ok()?;
    let prompt = fields.count("prompt_tokens").ok()?;
    let completion = fields.count("completion_tokens").ok()?;
    if prompt.is_none() && completion.is_none() {
        return None;
    }
    let (input, output) = (prompt.unwrap_or(0), completion.unwrap_or(0));
    let mut inner = |name: &str| fields.raw(name).and_then(|raw| Fields::read(raw, Path::ROOT).ok());
    let mut of_input = inner("prompt_tokens_details");
    let mut of_output = inner("completion_tokens_details");
    let mut creation = inner("cache_creation");
    let count = |of: &mut Option<Fields<'_, '_>>, name: &str| {
        of.as_mut().and_then(|fields| fields.count(name).ok().flatten())
    };
    let mut top = |name: &str| fields.count(name).ok().flatten();
    let cache_read = count(&mut of_input, "cached_tokens")
        .or_else(|| top("cache_read_input_tokens"))
        .or_else(|| top("prompt_cache_hit_tokens"))
        .unwrap_or(0);
    let written = count(&mut of_input, "cache_write_tokens")
        .or_else(|| top("cache_creation_input_tokens"))
        .or_else(|| count(&mut of_input, "cache_creation_tokens"))
        .unwrap_or(0);
    let hour = count(&mut creation, "ephemeral_1h_input_tokens").unwrap_or(0).min(written);
    let reasoning = count(&mut of_output, "reasoning_tokens").unwrap_or(0);
    // xAI's models and Gemini's compatible endpoint leave reasoning out of the output, and only the total tells.
    let missing = top("total_tokens").unwrap_or(0).saturating_sub(input.saturating_add(output));
    let is_cached = [cache_read, written, cache_read.saturating_add(written)].contains(&missing);
    let is_reasoning = missing == reasoning || (reasoning == 0 && !is_cached);
    Some(TokenUsage {
        input,
        output: if is_reasoning { output.saturating_add(missing) } else { output },
        cache_read,
        cache_write: written - hour,
        cache_write_1h: hour,
        reasoning,
        audio_input: count(&mut of_input, "audio_tokens").unwrap_or(0),
        audio_output: count(&mut of_output, "audio_tokens").unwrap_or(0),
    })
}

/// Writes OpenAI's shape; tokens written to a cache for an hour as Anthropic names them.
pub(crate) fn write_usage(o: &mut Object<'_>, usage: &TokenUsage) {
    o.put("prompt_tokens", &usage.input).put("completion_tokens", &usage.output);
    o.put("total_tokens", &usage.total());
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    o.object("prompt_tokens_details", |o| {
        o.put("cached_tokens", &usage.cache_read).put("audio_tokens", &usage.audio_input);
        if written > 0 {
            o.put("cache_write_tokens", &written);
        }
    });
    o.object("completion_tokens_details", |o| {
        o.put("reasoning_tokens", &usage.reasoning).put("audio_tokens", &usage.audio_output);
    });
    if usage.cache_write_1h > 0 {
        o.object("cache_creation", |o| {
            o.put("ephemeral_5m_input_tokens", &usage.cache_write);
            o.put("ephemeral_1h_input_tokens", &usage.cache_write_1h);
        });
    }
}
