//! A stream's events.

use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::signature::Signature;
use contracts::TokenUsage;

/// One step of an answer. Blocks are numbered from 0 on in the order in which they open; most readers have one open at a
/// time, and calls that a provider sends interleaved stay open together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Start {
        id: Option<String>,
        model: Option<String>,
    },
    Open {
        block: usize,
        kind: Block,
    },
    /// More text, reasoning, or arguments: as the block is.
    Delta {
        block: usize,
        text: String,
    },
    /// What proves the block to its provider.
    Signed {
        block: usize,
        signature: Signature,
    },
    Close {
        block: usize,
    },
    /// Why the model stopped.
    Finish(Finish),
    /// All tokens so far.
    Usage(TokenUsage),
    Tier(String),
    Error(UpstreamError),
    /// The provider says that this was all.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Block {
    Text,
    Refusal,
    Reasoning,
    Redacted { data: Signature },
    ToolCall { id: String, name: String, signature: Option<Signature> },
}
