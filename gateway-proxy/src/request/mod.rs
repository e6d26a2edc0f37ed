//! What a client asks for: its body is checked once, kept as it came, and changed only by splicing.

mod context;
mod fields;
mod json;
mod message;
mod parse;
mod splice;

pub(crate) use context::to_json as context_json;
pub(crate) use fields::{Field, Kind, kind_of, missing, wrong_type};
pub(crate) use json::{Member, Name, members, too_deep, utf8};
pub(crate) use parse::{Ask, BodyError, parse, place_in};
pub(crate) use splice::{More, Sample, outgoing_body, without_stream_options};
