//! Gemini's `generateContent` and `streamGenerateContent`, of the API's version `v1beta`.

mod answer;
mod contents;
mod request;
mod stream;

pub(crate) use answer::read_answer;
pub(crate) use request::write_request;
pub(crate) use stream::StreamReader;
