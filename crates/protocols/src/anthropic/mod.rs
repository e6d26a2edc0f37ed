//! Anthropic's messages.

mod answer;
mod blocks;
mod request;
mod stream_read;
mod stream_write;
mod usage;
mod write;
mod write_blocks;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::{read_cache, read_request};
pub(crate) use stream_read::StreamReader;
pub(crate) use stream_write::StreamWriter;
pub(crate) use write::{is_adaptive, thinking_of, write_request};
