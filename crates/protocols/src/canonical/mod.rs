//! The form between the protocols: rich enough that nothing which two of them share is lost on the way through it.
//!
//! A request is a list of messages of parts, as Anthropic and Bedrock have it; OpenAI's separate tool messages are user
//! messages with a tool's result. An answer is a list of the same parts. A stream is the same answer piece by piece:
//! blocks that open, grow and close.

mod answer;
mod event;
mod request;
mod turns;

pub(crate) use answer::Answer;
pub(crate) use event::{Block, Event};
pub(crate) use request::{
    Cache, Effort, Format, Message, Part, Request, Role, Source, Thinking, Tier, Tool, ToolCall, ToolChoice,
    ToolResult, anthropic_tier, openai_tier, text_of,
};
pub(crate) use turns::{arguments_object, system_of, turns};
