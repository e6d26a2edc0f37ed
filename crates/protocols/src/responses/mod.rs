//! OpenAI's responses.
//!
//! Nothing is kept between calls: a response that builds on an earlier one by its id is refused, and reasoning goes to the
//! client whole (`encrypted_content`), whether it asked or not, so that it can hand it back.

mod answer;
mod input;
mod request;
mod stream_write;

pub(crate) use answer::write_answer;
pub(crate) use request::{Echo, read_request};
pub(crate) use stream_write::StreamWriter;
