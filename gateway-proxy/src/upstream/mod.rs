//! Talking to the servers of models: where they are, connections to them, and what may pass in headers.

mod alarm;
mod connection;
mod headers;
mod pool;
mod speech;
mod target;

pub(crate) use connection::{AnswerBody, Late};
pub(crate) use headers::{for_client, for_upstream};
pub(crate) use pool::{Outgoing, Progress, SendError, Upstreams};
pub(crate) use speech::{Addressed, Speech};
pub(crate) use target::Target;
