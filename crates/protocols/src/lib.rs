//! Translation between the protocols that clients and providers of models speak: whole answers and streams.
//!
//! Pure functions over bytes: no network, no clock, no randomness. A client speaks chat completions, responses or Anthropic's
//! messages; a provider chat completions, Anthropic's messages, Gemini's or Bedrock's. Whatever one says is read into one form
//! of its own (`canonical`) and written from there, so that a protocol is two halves and a pair costs nothing.
//!
//! - [`request`] turns a client's request into the provider's, with warnings for what the provider has no place for.
//! - [`answer`] and [`error`] turn what comes back into the client's form.
//! - [`StreamTranslator`] does so event by event, however the bytes are cut, and tells what passes: usage, the reason for the
//!   end, the first content.
//! - [`count_tokens`] is for Anthropic's request of that name.
//!
//! What is not carried: citations (reported in a whole answer, not within a stream), log-probabilities, several answers to one
//! call (`n`), and every provider's own tools and stored files, which are errors that name the field. Thoughts between two texts
//! of one answer come before both for a client of chat completions, whose messages have no order among their parts.
//!
//! A stream keeps no text, with two exceptions: half an event that has not ended (at most 32 MiB, Bedrock 16), and for clients of
//! responses the answer, which its last events repeat (at most 32 MiB).
//!
//! The same protocol on both sides needs none of this, unless the client hands back thoughts that only we can read
//! ([`is_marked`], [`has_thinking_blocks`]): then a request goes through here to be cleaned of them, or, where the protocol is
//! responses, loses just those ([`without_marked`]).

mod anthropic;
mod bedrock;
mod canonical;
mod chat;
mod count;
mod eventstream;
mod fault;
mod finish;
mod gemini;
mod ids;
mod problem;
mod read;
mod responses;
mod signature;
mod sse;
mod stream;
mod translate;
mod write;

pub use count::{Counting, count_tokens, counted_tokens};
pub use eventstream::encode_frame;
pub use fault::{UpstreamError, retry_after};
pub use finish::Finish;
pub use problem::{Invalid, Warning};
pub use signature::{has_thinking_blocks, is_marked, without_marked};
pub use stream::{Facts, StreamTranslator};
pub use translate::{Context, Options, Outgoing, Translated, answer, error, request};

use std::fmt;

/// A protocol of model calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions: clients and providers.
    OpenAiChat,
    /// OpenAI's responses: clients.
    OpenAiResponses,
    /// Anthropic's messages, version 2023-06-01: clients and providers.
    Anthropic,
    /// Gemini's `generateContent` and `streamGenerateContent?alt=sse`: providers.
    Gemini,
    /// Bedrock's Converse and `ConverseStream`: providers.
    Bedrock,
}

impl Dialect {
    /// The protocol's name, as configurations and errors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiResponses => "openai_responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether what a client says in `from` can be said to a provider in `to`, and its answer told back.
pub const fn is_supported(from: Dialect, to: Dialect) -> bool {
    matches!(from, Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Anthropic)
        && !matches!(to, Dialect::OpenAiResponses)
}
