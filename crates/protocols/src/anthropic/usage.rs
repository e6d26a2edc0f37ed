//! Anthropic's `usage`: cached tokens are not part of `input_tokens`.

use crate::problem::Path;
use crate::read::Fields;
use crate::write::Object;
use contracts::TokenUsage;
use serde_json::value::RawValue;

/// Counts as they become known: a stream states some at its start and some at its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    written_1h: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// What `raw` states replaces what was known. Whether it could be read.
    pub fn learn(&mut self, raw: &RawValue) -> bool {
        let Ok(mut fields) = Fields::read(raw, Path::ROOT) else { return false };
        let mut take = |name: &str, into: &mut Option<u64>| {
            if let Ok(Some(count)) = fields.count(name) {
                *into = Some(count);
            }
        };
        take("input_tokens", &mut self.input);
        take("output_tokens", &mut self.output);
        take("cache_read_input_tokens", &mut self.read);
        take("cache_creation_input_tokens", &mut self.written);
        let mut nested = |outer: &str, name: &str, into: &mut Option<u64>| {
            if let Some(raw) = fields.raw(outer)
                && let Ok(mut inner) = Fields::read(raw, Path::ROOT)
                && let Ok(Some(count)) = inner.count(name)
            {
                *into = Some(count);
            }
        };
        nested("cache_creation", "ephemeral_1h_input_tokens", &mut self.written_1h);
        nested("output_tokens_details", "thinking_tokens", &mut self.thinking);
        self.input.is_some() || self.output.is_some()
    }

    pub fn usage(&self) -> TokenUsage {
        let (read, written) = (self.read.unwrap_or(0), self.written.unwrap_or(0));
        let hour = self.written_1h.unwrap_or(0).min(written);
        TokenUsage {
            input: self.input.unwrap_or(0).saturating_add(read).saturating_add(written),
            output: self.output.unwrap_or(0),
            cache_read: read,
            cache_write: written - hour,
            cache_write_1h: hour,
            reasoning: self.thinking.unwrap_or(0),
            ..TokenUsage::default()
        }
    }
}

pub(super) fn write_usage(o: &mut Object<'_>, usage: &TokenUsage) {
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    let fresh = usage.input.saturating_sub(usage.cache_read).saturating_sub(written);
    o.put("input_tokens", &fresh).put("output_tokens", &usage.output);
    o.put("cache_creation_input_tokens", &written).put("cache_read_input_tokens", &usage.cache_read);
    if written > 0 {
        o.object("cache_creation", |o| {
            o.put("ephemeral_5m_input_tokens", &usage.cache_write);
            o.put("ephemeral_1h_input_tokens", &usage.cache_write_1h);
        });
    }
    if usage.reasoning > 0 {
        o.object("output_tokens_details", |o| {
            o.put("thinking_tokens", &usage.reasoning);
        });
    }
}
