//! Token counts in every shape that OpenAI-compatible servers send them.

use contracts::TokenUsage;
use contracts::price::ServiceTier;
use serde::Deserialize;

/// A `usage` object: of chat completions (`prompt_tokens`), of responses (`input_tokens` with `input_tokens_details`), or of
/// Anthropic's models (`input_tokens` beside `cache_read_input_tokens`). What is absent or null counts as nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UsageFields {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<OutputDetails>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    /// `DeepSeek`'s name for cached input.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the protocol's")]
struct InputDetails {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    /// As some gateways and servers of Anthropic's models name it.
    #[serde(alias = "cache_creation_tokens")]
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

impl UsageFields {
    /// In our terms: `input` holds cached tokens too, `output` holds reasoning too.
    pub(crate) fn usage(self) -> TokenUsage {
        let details = self.prompt_tokens_details.clone();
        let input_details = details.clone().unwrap_or_default();
        let output_details = self.completion_tokens_details.unwrap_or_default();
        let cache_read = input_details
            .cached_tokens
            .or(self.cache_read_input_tokens)
            .or(self.prompt_cache_hit_tokens)
            .unwrap_or(0);
        let written = self.cache_creation_input_tokens.or(input_details.cache_write_tokens).unwrap_or(0);
        let hour = self.cache_creation.and_then(|c| c.ephemeral_1h_input_tokens).unwrap_or(0).min(written);
        // Anthropic's own shape leaves cached tokens out of `input_tokens`; OpenAI's two shapes include them.
        let is_anthropic = self.prompt_tokens.is_none()
            && details.is_none()
            && (self.cache_read_input_tokens.is_some() || self.cache_creation_input_tokens.is_some());
        let stated = self.prompt_tokens.or(self.input_tokens).unwrap_or(0);
        let input =
            if is_anthropic { stated.saturating_add(cache_read).saturating_add(written) } else { stated };
        TokenUsage {
            input,
            output: self.completion_tokens.or(self.output_tokens).unwrap_or(0),
            cache_read,
            cache_write: written - hour,
            cache_write_1h: hour,
            reasoning: output_details.reasoning_tokens.unwrap_or(0),
            audio_input: input_details.audio_tokens.unwrap_or(0),
            audio_output: output_details.audio_tokens.unwrap_or(0),
        }
    }
}

/// The tier that an answer's `service_tier` names. `default`, `auto`, `scale` and unknown ones are priced as standard.
pub(crate) fn tier(name: &str) -> ServiceTier {
    match name {
        "flex" => ServiceTier::Flex,
        "priority" => ServiceTier::Priority,
        "batch" => ServiceTier::Batch,
        _ => ServiceTier::Standard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> TokenUsage {
        serde_json::from_str::<UsageFields>(json).unwrap().usage()
    }

    #[test]
    fn every_shape_is_understood() {
        let chat = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"cached_tokens":40,"audio_tokens":5},
            "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":3,"accepted_prediction_tokens":0}}"#;
        let expected = TokenUsage {
            input: 100,
            output: 50,
            cache_read: 40,
            reasoning: 20,
            audio_input: 5,
            audio_output: 3,
            ..TokenUsage::default()
        };
        assert_eq!(read(chat), expected);

        let responses = r#"{"input_tokens":100,"output_tokens":50,"input_tokens_details":{"cached_tokens":40},
            "output_tokens_details":{"reasoning_tokens":20}}"#;
        assert_eq!(read(responses), TokenUsage { audio_input: 0, audio_output: 0, ..expected });

        let anthropic = r#"{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":40,
            "cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":10}}"#;
        let expected = TokenUsage {
            input: 80,
            output: 5,
            cache_read: 40,
            cache_write: 20,
            cache_write_1h: 10,
            ..TokenUsage::default()
        };
        assert_eq!(read(anthropic), expected);

        let anthropic_as_openai = r#"{"prompt_tokens":80,"completion_tokens":5,"cache_creation_input_tokens":30,
            "prompt_tokens_details":{"cached_tokens":40}}"#;
        let got = read(anthropic_as_openai);
        assert_eq!((got.input, got.cache_read, got.cache_write), (80, 40, 30));

        assert_eq!(
            read(r#"{"prompt_tokens":7,"completion_tokens":null,"prompt_tokens_details":null}"#).input,
            7
        );
    }
}
