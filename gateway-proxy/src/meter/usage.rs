//! Token counts in every shape that OpenAI-compatible servers send them.

use contracts::TokenUsage;
use contracts::price::ServiceTier;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use std::fmt;

/// Reads a `usage` object. One that cannot be read, or that states neither side, is none: the answer around it is good all
/// the same, and what it used is counted instead.
pub(crate) fn usage(raw: &RawValue) -> Option<TokenUsage> {
    let object = raw.get().starts_with('{').then(|| raw.get())?;
    serde_json::from_str::<UsageFields>(object).ok()?.usage()
}

/// A `usage` object: of chat completions (`prompt_tokens`), of responses (`input_tokens` with `input_tokens_details`), or of
/// Anthropic's models (`input_tokens` beside `cache_read_input_tokens`). Some servers send both names of a thing, one of
/// them null, so each name is a field of its own. What is absent or null counts as nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UsageFields {
    prompt_tokens: Count,
    completion_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Lenient<InputDetails>,
    input_tokens_details: Lenient<InputDetails>,
    completion_tokens_details: Lenient<OutputDetails>,
    output_tokens_details: Lenient<OutputDetails>,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_creation: Lenient<CacheCreation>,
    /// `DeepSeek`'s name for cached input.
    prompt_cache_hit_tokens: Count,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the protocol's")]
struct InputDetails {
    cached_tokens: Count,
    audio_tokens: Count,
    /// As some gateways and servers of Anthropic's models name it.
    cache_write_tokens: Count,
    cache_creation_tokens: Count,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the protocol's")]
struct OutputDetails {
    reasoning_tokens: Count,
    /// Anthropic's name for them.
    thinking_tokens: Count,
    audio_tokens: Count,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Count,
}

impl UsageFields {
    /// In our terms: `input` holds cached tokens too, `output` holds reasoning too.
    fn usage(self) -> Option<TokenUsage> {
        let (prompt, completion) = (self.prompt_tokens, self.completion_tokens);
        let sides = [prompt, completion, self.input_tokens, self.output_tokens];
        if sides.contains(&Count::Unreadable) || sides.iter().all(|side| side.get().is_none()) {
            return None;
        }
        let details = self.prompt_tokens_details.0.or(self.input_tokens_details.0);
        let has_details = details.is_some();
        let input_details = details.unwrap_or_default();
        let output_details =
            self.completion_tokens_details.0.or(self.output_tokens_details.0).unwrap_or_default();
        let cache_read = (input_details.cached_tokens)
            .or(self.cache_read_input_tokens)
            .or(self.prompt_cache_hit_tokens)
            .or_nothing();
        let written = (self.cache_creation_input_tokens)
            .or(input_details.cache_write_tokens)
            .or(input_details.cache_creation_tokens)
            .or_nothing();
        let hour = self.cache_creation.0.unwrap_or_default().ephemeral_1h_input_tokens;
        let hour = hour.or_nothing().min(written);
        // Anthropic's own shape leaves cached tokens out of `input_tokens`; OpenAI's two shapes include them.
        let is_anthropic = prompt.get().is_none()
            && !has_details
            && self.cache_read_input_tokens.or(self.cache_creation_input_tokens).get().is_some();
        let stated = prompt.or(self.input_tokens).or_nothing();
        let input =
            if is_anthropic { stated.saturating_add(cache_read).saturating_add(written) } else { stated };
        let reasoning = output_details.reasoning_tokens.or(output_details.thinking_tokens).or_nothing();
        let output = completion.or(self.output_tokens).or_nothing();
        // xAI's models and Gemini's compatible endpoint leave reasoning out of the output, and only the total tells. Where what
        // is missing is something else, such as cached input, it is not output.
        let missing = self.total_tokens.or_nothing().saturating_sub(input.saturating_add(output));
        let is_cached = [cache_read, written, cache_read.saturating_add(written)].contains(&missing);
        let is_reasoning = missing == reasoning || (reasoning == 0 && !is_cached);
        Some(TokenUsage {
            input,
            output: if is_reasoning { output.saturating_add(missing) } else { output },
            cache_read,
            cache_write: written - hour,
            cache_write_1h: hour,
            reasoning,
            audio_input: input_details.audio_tokens.or_nothing(),
            audio_output: output_details.audio_tokens.or_nothing(),
        })
    }
}

/// A count of tokens as somebody else wrote it: reading one never fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Count {
    #[default]
    Absent,
    Tokens(u64),
    /// There, but not a whole number from zero on.
    Unreadable,
}

impl Count {
    const fn get(self) -> Option<u64> {
        if let Self::Tokens(tokens) = self { Some(tokens) } else { None }
    }

    const fn or(self, other: Self) -> Self {
        if let Self::Tokens(_) = self { self } else { other }
    }

    fn or_nothing(self) -> u64 {
        self.get().unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyCount)
    }
}

struct AnyCount;

impl<'de> Visitor<'de> for AnyCount {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count of tokens")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Count, E> {
        Ok(Count::Absent)
    }

    fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<Count, E> {
        Ok(Count::Tokens(tokens))
    }

    fn visit_i64<E: de::Error>(self, tokens: i64) -> Result<Count, E> {
        Ok(u64::try_from(tokens).map_or(Count::Unreadable, Count::Tokens))
    }

    /// `12.0` is 12. Beyond 2^53 a float is no count any more.
    fn visit_f64<E: de::Error>(self, tokens: f64) -> Result<Count, E> {
        if tokens.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&tokens) {
            let text = format!("{tokens:.0}");
            return text.parse().map(Count::Tokens).map_err(E::custom);
        }
        Ok(Count::Unreadable)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Count, E> {
        Ok(Count::Unreadable)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Count, E> {
        Ok(Count::Unreadable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count::Unreadable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Count, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count::Unreadable)
    }
}

/// A part of a `usage` that may be missing, null, or something else than it should be: then there is none.
#[derive(Debug, Clone)]
struct Lenient<T>(Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('{') {
            serde_json::from_str(raw.get()).map(Self).map_err(D::Error::custom)
        } else {
            Ok(Self(None))
        }
    }
}

/// The tier that the `service_tier` of a request or an answer names. `default`, `auto`, `scale` and unknown ones are priced as standard.
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
        usage(serde_json::from_str::<&RawValue>(json).unwrap()).unwrap()
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

    /// Usage as the providers' documentation and real answers show it, and the output that the provider bills.
    #[test]
    fn reasoning_is_billed_where_only_the_total_holds_it() {
        for (from, json, input, output, reasoning) in [
            (
                "xAI: completion_tokens without reasoning",
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
                "prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":6},
                "completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0,"accepted_prediction_tokens":0}}"#,
                32,
                103,
                94,
            ),
            (
                "Gemini's compatible endpoint: thoughts in the total alone",
                r#"{"prompt_tokens":8,"completion_tokens":40,"total_tokens":1048}"#,
                8,
                1040,
                0,
            ),
            (
                "OpenAI: everything in completion_tokens",
                r#"{"prompt_tokens":75,"completion_tokens":1186,"total_tokens":1261,
                "completion_tokens_details":{"reasoning_tokens":1024}}"#,
                75,
                1186,
                1024,
            ),
            (
                "a total with cached input that the prompt leaves out",
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":55,"cache_read_input_tokens":40}"#,
                10,
                5,
                0,
            ),
            (
                "a total that explains nothing",
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":17,
                "completion_tokens_details":{"reasoning_tokens":3}}"#,
                10,
                5,
                3,
            ),
            (
                "a total that is too small",
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1}"#,
                10,
                5,
                0,
            ),
            (
                "Anthropic's shape",
                r#"{"input_tokens":10,"output_tokens":5,"total_tokens":15,"cache_read_input_tokens":40}"#,
                50,
                5,
                0,
            ),
        ] {
            let got = read(json);
            assert_eq!((got.input, got.output, got.reasoning), (input, output, reasoning), "{from}");
        }
    }

    #[test]
    fn both_names_of_a_thing_may_come_at_once() {
        let both = r#"{"prompt_tokens":100,"completion_tokens":50,"input_tokens":0,"output_tokens":0,
            "prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":3,"cache_creation_tokens":3},
            "input_tokens_details":null,"completion_tokens_details":null,"output_tokens_details":{"reasoning_tokens":7}}"#;
        let got = read(both);
        assert_eq!((got.input, got.output, got.cache_read, got.cache_write), (100, 50, 40, 3));
        assert_eq!(got.reasoning, 7);
    }

    #[test]
    fn a_count_that_is_none_spoils_no_more_than_itself() {
        let got = read(
            r#"{"prompt_tokens":12.0,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":-1,"audio_tokens":"x"},
            "completion_tokens_details":[1],"cache_creation":{"ephemeral_1h_input_tokens":{"a":[1]}}}"#,
        );
        assert_eq!(got, TokenUsage { input: 12, output: 5, ..TokenUsage::default() });
        for unreadable in [
            r#"{"prompt_tokens":-3,"completion_tokens":5}"#,
            r#"{"prompt_tokens":3,"completion_tokens":5.5}"#,
            r#"{"prompt_tokens":3,"completion_tokens":"5"}"#,
            r#"{"total_tokens":5}"#,
            "{}",
            "[1]",
            "7",
        ] {
            let raw = serde_json::from_str::<&RawValue>(unreadable).unwrap();
            assert_eq!(usage(raw), None, "{unreadable}");
        }
    }
}
