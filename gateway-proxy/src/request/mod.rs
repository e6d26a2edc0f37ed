//! What a client asks for: its body is checked once, kept as it came, and changed only by splicing.

mod fields;
mod json;
mod parse;
mod splice;

pub(crate) use fields::{Field, Kind};
pub(crate) use parse::{Ask, BodyError, parse};
pub(crate) use splice::outgoing_body;
