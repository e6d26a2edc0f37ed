//! Bringing an upstream's answer to the client: whole, or as the stream that it is.

mod opening;
mod stream;
mod watch;
mod whole;

pub(crate) use opening::Opening;
pub(crate) use stream::{Reading, Stream};
pub(crate) use watch::{Watched, Watchman};
pub(crate) use whole::{Whole, collect};
