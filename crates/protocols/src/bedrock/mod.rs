//! Bedrock's Converse and `ConverseStream`.

mod answer;
mod content;
mod request;
mod stream;

pub(crate) use answer::read_answer;
pub(crate) use request::{write_count, write_request};
pub(crate) use stream::StreamReader;
