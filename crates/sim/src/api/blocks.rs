//! An answer as blocks, as Anthropic, Gemini and Bedrock send it: thoughts, text, tool calls.

use crate::plan::{Body, Plan, PlannedCall};
use crate::seal;
use crate::sim::Turn;
use serde_json::{Value, json};

/// The kind of signature that thoughts carry.
pub(super) const THINKING: &str = "thinking";

/// A block of an answer.
#[derive(Debug)]
pub(super) enum Block {
    Thinking {
        pieces: Vec<String>,
        signature: String,
    },
    /// A thought that only the model can read.
    Redacted {
        data: String,
        tokens: u64,
    },
    Text(Vec<String>),
    Call {
        id: String,
        call: PlannedCall,
    },
}

/// The blocks of a plan's first answer; ids of calls are made of `prefix` and so many letters.
pub(super) fn blocks(turn: &mut Turn, plan: &Plan, prefix: &str, letters: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !plan.thinking.is_empty() {
        let thought = plan.thinking.concat();
        blocks.push(if turn.behaviour.redacts {
            Block::Redacted { data: seal::encrypt(&thought), tokens: plan.thinking.len() as u64 }
        } else {
            Block::Thinking { signature: seal::sign(THINKING, &thought), pieces: plan.thinking.clone() }
        });
    }
    match plan.choices.first().map(|choice| &choice.body) {
        Some(Body::Text(pieces)) if !pieces.is_empty() => blocks.push(Block::Text(pieces.clone())),
        Some(Body::Text(_)) | None => {}
        Some(Body::Calls { said, calls }) => {
            if !said.is_empty() {
                blocks.push(Block::Text(said.clone()));
            }
            for call in calls {
                blocks.push(Block::Call { id: turn.id(prefix, letters), call: call.clone() });
            }
        }
    }
    blocks
}

/// The arguments of a call as JSON.
pub(super) fn arguments(call: &PlannedCall) -> Value {
    serde_json::from_str(&call.arguments.concat()).unwrap_or_else(|_| json!({}))
}
