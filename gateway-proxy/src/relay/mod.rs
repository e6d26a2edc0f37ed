//! Bringing an upstream's answer to the client: whole, or as the stream that it is.

mod stream;
mod whole;

pub(crate) use stream::{Opening, Stream};
pub(crate) use whole::{Whole, collect};
