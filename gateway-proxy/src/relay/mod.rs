//! Bringing an upstream's answer to the client: whole, or as the stream that it is.

mod opening;
mod reading;
mod stream;
mod watch;
mod whole;

pub(crate) use opening::Opening;
pub(crate) use reading::Reading;
pub(crate) use stream::Stream;
pub(crate) use watch::{Watched, Watchman};
pub(crate) use whole::{Whole, collect};
