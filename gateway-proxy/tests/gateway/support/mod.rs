//! What every test stands on.

mod collector;
mod gateway;
mod upstream;

pub use collector::{Collector, Span};
pub use gateway::{Answer, Gateway, KEY, chat, config, snapshot, snapshot_at};
pub use upstream::{Received, Step, Upstream, json, sse, sse_head};
