//! Server-sent events, as they pass: bytes are relayed, events are read off them.

mod relay;

pub(crate) use relay::{Event, Relay, Relayed, Verdict};
