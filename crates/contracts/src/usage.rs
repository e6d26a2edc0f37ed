//! Tokens of one model call, by kind.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Token counts. `input` includes the cached and audio input tokens, `output` includes reasoning and audio output tokens:
/// the other fields are subsets, as in the OpenTelemetry GenAI conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// All input tokens.
    pub input: u64,
    /// All output tokens.
    pub output: u64,
    /// Of the input: read from the provider's prompt cache.
    pub cache_read: u64,
    /// Of the input: written to the provider's prompt cache for the default time (Anthropic: 5 minutes).
    pub cache_write: u64,
    /// Of the input: written to the provider's prompt cache for an hour. Not part of `cache_write`.
    pub cache_write_1h: u64,
    /// Of the output: reasoning that the client may not see.
    pub reasoning: u64,
    /// Of the input: audio.
    pub audio_input: u64,
    /// Of the output: audio.
    pub audio_output: u64,
}

impl TokenUsage {
    /// Input and output tokens together.
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl std::ops::Add for TokenUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
        }
    }
}

/// Where a row's token counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageSource {
    /// The provider reported them.
    Reported,
    /// The answer was complete but came without usage: counted with the model's tokenizer.
    Estimated,
    /// The answer broke off (client left, upstream failed): counted up to there.
    Partial,
}

impl UsageSource {
    /// `reported`, `estimated` or `partial`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Partial => "partial",
        }
    }
}

impl fmt::Display for UsageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a usage source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("usage source {0:?} is not valid: expected reported, estimated or partial")]
pub struct InvalidUsageSource(String);

impl FromStr for UsageSource {
    type Err = InvalidUsageSource;
    fn from_str(text: &str) -> Result<Self, InvalidUsageSource> {
        match text {
            "reported" => Ok(Self::Reported),
            "estimated" => Ok(Self::Estimated),
            "partial" => Ok(Self::Partial),
            _ => Err(InvalidUsageSource(text.chars().take(64).collect())),
        }
    }
}
