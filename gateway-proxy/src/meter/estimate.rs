//! Token counts for answers that do not state theirs.
//!
//! Text is counted with the encoding of the model's family: `cl100k_base` for GPT-4, GPT-3.5 and the embedding models,
//! `o200k_base` for everything newer and, as the nearest there is, for models whose tokenizer is not public. Of a text over
//! 1 MiB the first MiB is counted and the rest in proportion. Chat framing costs three tokens a message and three for the
//! answer's start, as OpenAI documents. Images, audio and files are not counted.
//!
//! An encoding takes tens of megabytes and a fraction of a second to load, so none is loaded before it is needed.

use super::answer::collect_strings;
use crate::request::Ask;
use contracts::TokenUsage;
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

/// Texts up to this many bytes are counted on the spot once the encoding is loaded: some tens of microseconds.
const SMALL: usize = 4 << 10;
/// Texts beyond this are counted in proportion.
const COUNTED: usize = 1 << 20;
/// A text is counted in pieces of about this size, so that one endless word cannot take quadratic time.
const PIECE: usize = 8 << 10;

/// What went to the model.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub(crate) ask: Ask,
    /// The provider's name of the model, which tells the family.
    pub(crate) model: String,
}

/// Counts tokens. Two encodings at most are ever loaded.
#[derive(Debug, Default)]
pub(crate) struct Estimator {
    o200k_ready: AtomicBool,
    cl100k_ready: AtomicBool,
    /// Held while an encoding is loaded, so that a burst loads it once.
    loading: Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    O200k,
    Cl100k,
}

impl Encoding {
    fn of(model: &str) -> Self {
        match get_tokenizer(model) {
            Some(Tokenizer::Cl100kBase | Tokenizer::P50kBase | Tokenizer::P50kEdit | Tokenizer::R50kBase) => {
                Self::Cl100k
            }
            _ => Self::O200k,
        }
    }
}

impl Estimator {
    /// Whether counting is quick enough for an async thread.
    pub(crate) fn is_quick(&self, prompt: &Prompt, output: &str) -> bool {
        let ready = match Encoding::of(&prompt.model) {
            Encoding::O200k => &self.o200k_ready,
            Encoding::Cl100k => &self.cl100k_ready,
        };
        prompt.ask.body.len() + output.len() <= SMALL && ready.load(Ordering::Acquire)
    }

    /// Counts both sides. May take seconds: see [`Estimator::is_quick`].
    pub(crate) fn count(&self, prompt: &Prompt, output: &str) -> TokenUsage {
        let encoding = self.load(Encoding::of(&prompt.model));
        TokenUsage {
            input: count_prompt(encoding, &prompt.ask),
            output: count_text(encoding, output),
            ..TokenUsage::default()
        }
    }

    /// Counts a prompt's texts, with the framing of one message each. May take seconds.
    pub(crate) fn count_texts(&self, model: &str, texts: &[String]) -> u64 {
        let encoding = self.load(Encoding::of(model));
        let counted: u64 = texts.iter().map(|text| 3 + count_text(encoding, text)).sum();
        counted + 3
    }

    fn load(&self, encoding: Encoding) -> &'static CoreBPE {
        let _one_at_a_time = self.loading.lock();
        let (loaded, ready) = match encoding {
            Encoding::O200k => (tiktoken_rs::o200k_base_singleton(), &self.o200k_ready),
            Encoding::Cl100k => (tiktoken_rs::cl100k_base_singleton(), &self.cl100k_ready),
        };
        ready.store(true, Ordering::Release);
        loaded
    }
}

fn count_prompt(encoding: &CoreBPE, ask: &Ask) -> u64 {
    let mut text = ask.text(ask.instructions_at.as_ref()).unwrap_or_default().to_owned();
    let mut framing = 0;
    if let Some(prompt) = ask.text(ask.prompt_at.as_ref()) {
        match serde_json::from_str::<Value>(prompt) {
            Ok(Value::String(whole)) => text.push_str(&whole),
            Ok(Value::Array(items)) => framing = take_items(&items, &mut text),
            _ => text.push_str(prompt),
        }
    }
    text.push_str(ask.text(ask.tools_at.as_ref()).unwrap_or_default());
    framing + count_text(encoding, &text)
}

/// Adds the items' texts to `text`; returns the tokens that are not text: framing of messages, and tokens given as numbers.
fn take_items(items: &[Value], text: &mut String) -> u64 {
    let mut tokens = 0;
    for item in items {
        match item {
            Value::String(part) => text.push_str(part),
            Value::Number(_) => tokens += 1,
            Value::Array(inner) => tokens += take_items(inner, text),
            Value::Object(_) => {
                tokens += 3;
                text.push_str(item["role"].as_str().unwrap_or_default());
                collect_strings(item, text);
            }
            _ => {}
        }
    }
    let is_chat = items.iter().any(Value::is_object);
    tokens + if is_chat { 3 } else { 0 }
}

fn count_text(encoding: &CoreBPE, text: &str) -> u64 {
    let counted = text.floor_char_boundary(COUNTED);
    let mut tokens = 0_u64;
    let mut rest = &text[..counted];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_end(rest));
        tokens += encoding.count_ordinary(piece) as u64;
        rest = after;
    }
    if counted == text.len() || counted == 0 {
        return tokens;
    }
    let scaled = u128::from(tokens) * text.len() as u128 / counted as u128;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Where the first piece of `text` ends: before a space if there is one near, so that words stay whole.
fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let end = text.floor_char_boundary(PIECE);
    match text[..end].rfind(' ') {
        Some(space) if space > PIECE / 2 => space,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{CHAT_COMPLETIONS, EMBEDDINGS, Endpoint};
    use crate::request::parse;
    use bytes::Bytes;

    fn prompt(endpoint: &Endpoint, body: &str, model: &str) -> Prompt {
        let ask = parse(endpoint, Bytes::copy_from_slice(body.as_bytes()), 64).unwrap();
        Prompt { ask, model: model.into() }
    }

    #[test]
    fn a_chat_costs_its_words_and_its_framing() {
        let estimator = Estimator::default();
        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello world"}]}"#;
        let prompt = prompt(&CHAT_COMPLETIONS, body, "gpt-4o-mini");
        assert!(!estimator.is_quick(&prompt, ""), "nothing is loaded yet");
        let usage = estimator.count(&prompt, "hello world");
        assert_eq!(usage.output, 2);
        // "user" runs into "hello" in one text, so the sum is within a token of 3 + 3 + 1 + 2.
        assert!((8..=10).contains(&usage.input), "{usage:?}");
        assert!(estimator.is_quick(&prompt, ""));
    }

    #[test]
    fn tokens_given_as_numbers_are_counted_as_such() {
        let body = r#"{"model":"text-embedding-3-small","input":[[1,2,3],[4,5]]}"#;
        let usage = Estimator::default().count(&prompt(&EMBEDDINGS, body, "text-embedding-3-small"), "");
        assert_eq!(usage.input, 5);
    }

    #[test]
    fn the_family_decides_the_encoding() {
        assert_eq!(Encoding::of("gpt-4o-2024-08-06"), Encoding::O200k);
        assert_eq!(Encoding::of("gpt-4-0613"), Encoding::Cl100k);
        assert_eq!(Encoding::of("text-embedding-3-large"), Encoding::Cl100k);
        assert_eq!(Encoding::of("llama-3.3-70b"), Encoding::O200k);
    }

    #[test]
    fn a_long_text_is_counted_in_proportion() {
        let encoding = tiktoken_rs::o200k_base_singleton();
        let text = "hello world ".repeat(COUNTED / 12 * 2 + 2);
        let tokens = count_text(encoding, &text);
        let expected = count_text(encoding, &"hello world ".repeat(1_000)) * (text.len() as u64) / 12_000;
        assert!(tokens.abs_diff(expected) * 200 < expected, "{tokens} is not near {expected}");
    }
}
