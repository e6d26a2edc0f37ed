//! Proofs of thoughts: opaque texts that a provider gives with reasoning and wants back unchanged on the next turn.
//!
//! Only the provider that made one can read it, so each carries its origin. A client keeps it in the place which its own
//! protocol has for such a thing; where that place was made for another provider's, the text is marked as ours and names its
//! origin: `ct1.gemini.…`. On the way out a provider gets its own back, bare, and never another's.
//!
//! | client | Anthropic's and Bedrock's | Gemini's |
//! |---|---|---|
//! | chat completions | `message.thinking_blocks[]`, as Anthropic's blocks | `extra_content.google.thought_signature` on the tool call or the message, as Google's own compatible endpoint |
//! | Anthropic | `thinking.signature`, `redacted_thinking.data` | `thinking.signature`, marked |
//! | responses | `reasoning.encrypted_content`, marked | `reasoning.encrypted_content`, marked |

use crate::problem::Path;
use crate::read::{Fields, document};
use crate::write::object_text;
use bytes::Bytes;
use serde_json::value::RawValue;

/// What begins every text that only we can read.
pub const MARK: &str = "ct1.";

/// Who made a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Anthropic's models, wherever they run.
    Anthropic,
    Gemini,
    /// Models behind Bedrock that are not Anthropic's have none of their own; what a responses upstream encrypted.
    OpenAi,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub origin: Origin,
    pub value: String,
}

/// The text for reasoning that nobody signed, where a protocol insists on one.
pub(crate) const UNSIGNED: &str = "ct1.none";

impl Signature {
    pub fn anthropic(value: impl Into<String>) -> Self {
        Self { origin: Origin::Anthropic, value: value.into() }
    }

    pub fn gemini(value: impl Into<String>) -> Self {
        Self { origin: Origin::Gemini, value: value.into() }
    }

    /// Marked with its origin, and with whether it stands for reasoning that nobody may read.
    pub fn marked(&self, is_redacted: bool) -> String {
        let origin = match self.origin {
            Origin::Anthropic => "anthropic",
            Origin::Gemini => "gemini",
            Origin::OpenAi => "openai",
        };
        let kind = if is_redacted { ".redacted" } else { "" };
        format!("{MARK}{origin}{kind}.{}", self.value)
    }

    /// As an Anthropic client keeps it.
    pub fn for_anthropic(&self) -> String {
        if self.origin == Origin::Anthropic { self.value.clone() } else { self.marked(false) }
    }
}

/// What a client handed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Handed {
    Signed(Signature),
    Redacted(Signature),
    /// Nobody signed it.
    Unsigned,
    /// Not marked: the protocol's own.
    Bare,
}

/// Reads what [`Signature::marked`] wrote.
pub(crate) fn unmark(text: &str) -> Handed {
    let Some(rest) = text.strip_prefix(MARK) else {
        return if text.is_empty() { Handed::Unsigned } else { Handed::Bare };
    };
    let Some((origin, value)) = rest.split_once('.') else { return Handed::Unsigned };
    let origin = match origin {
        "anthropic" => Origin::Anthropic,
        "gemini" => Origin::Gemini,
        "openai" => Origin::OpenAi,
        _ => return Handed::Unsigned,
    };
    match value.strip_prefix("redacted.") {
        Some(value) => Handed::Redacted(Signature { origin, value: value.to_owned() }),
        None => Handed::Signed(Signature { origin, value: value.to_owned() }),
    }
}

/// Whether a body carries proofs that only we can read: a request of the provider's own protocol that does must not be
/// forwarded byte for byte.
pub fn is_marked(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"ct1.").is_some()
}

/// Whether a body of chat completions carries thoughts as our answers give them (`thinking_blocks`), which servers of that protocol
/// do not know and some refuse.
pub fn has_thinking_blocks(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"thinking_blocks\"").is_some()
}

/// Takes the thoughts that only we can read out of a request of responses; what is left stays as it was. `None` when there are none.
pub fn without_marked(body: &[u8]) -> Option<Bytes> {
    if !is_marked(body) {
        return None;
    }
    let mut fields = Fields::read(document(body).ok()?, Path::ROOT).ok()?;
    let input = fields.raw("input")?;
    let items: Vec<&RawValue> = serde_json::from_str(input.get()).ok()?;
    let is_ours = |item: &&RawValue| {
        let mut item = Fields::read(item, Path::ROOT).ok();
        let thoughts = item.as_mut().and_then(|item| item.string("encrypted_content").ok().flatten());
        thoughts.is_some_and(|thoughts| thoughts.starts_with(MARK))
    };
    let kept: Vec<&RawValue> = items.iter().filter(|item| !is_ours(item)).copied().collect();
    if kept.len() == items.len() {
        return None;
    }
    let body = object_text(|o| {
        for (name, raw) in fields.rest() {
            o.json(&name, raw.get());
        }
        o.put("input", &kept);
    });
    Some(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_providers_thoughts_are_taken_out_of_a_response() {
        let body = br#"{"model":"m","input":[{"role":"user","content":"Say \"ct1.x"},
            {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"ct1.gemini.x"},
            {"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gAAAA"}],"top_p":0.10}"#;
        let cleaned = without_marked(body).unwrap();
        assert_eq!(
            std::str::from_utf8(&cleaned).unwrap(),
            r#"{"model":"m","top_p":0.10,"input":[{"role":"user","content":"Say \"ct1.x"},{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gAAAA"}]}"#
        );
        assert!(without_marked(&cleaned).is_none());
        assert!(without_marked(br#"{"input":"\"ct1. is a mark"}"#).is_none());
        assert!(has_thinking_blocks(br#"{"thinking_blocks":[]}"#));
        assert!(!has_thinking_blocks(br#"{"content":"\"thinking_blocks\""}"#));
    }

    #[test]
    fn what_was_marked_is_read_back() {
        for origin in [Origin::Anthropic, Origin::Gemini, Origin::OpenAi] {
            let signature = Signature { origin, value: "a.b=/+.c".to_owned() };
            assert_eq!(unmark(&signature.marked(false)), Handed::Signed(signature.clone()));
            assert_eq!(unmark(&signature.marked(true)), Handed::Redacted(signature));
        }
        assert_eq!(unmark(""), Handed::Unsigned);
        assert_eq!(unmark(UNSIGNED), Handed::Unsigned);
        assert_eq!(unmark("EqQBCg=="), Handed::Bare);
        assert!(is_marked(br#"{"signature":"ct1.gemini.x"}"#) && !is_marked(br#"{"signature":"x"}"#));
    }
}
