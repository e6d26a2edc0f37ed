//! OpenAI's chat completions.

mod answer;
mod message;
mod request;
mod stream_read;
mod stream_write;
mod usage;
mod write;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::read_request;
pub(crate) use stream_read::StreamReader;
pub(crate) use stream_write::StreamWriter;
pub(crate) use write::write_request;

pub(crate) use request::{read_metadata, read_tool_schema};
