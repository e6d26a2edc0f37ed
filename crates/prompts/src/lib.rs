//! Prompt templates with versions and labels, and the experiments that compare them.
//!
//! A prompt is compiled once, when it comes into force ([`Compiled::new`]; a template that does not parse is refused when it is
//! written). A call names it ([`Call`]), its variables are checked against the prompt's schema and put into the templates
//! ([`Compiled::render`]), and the messages that result go before the caller's own ([`merge`]). What the caller wrote stays byte for
//! byte.
//!
//! An experiment deals its arms by hash ([`Dealer`]), so that a user meets the same arm at every gateway without a table of who got
//! what; [`shares`] moves them to what was measured to be better.
//!
//! Nothing here reads a clock, a file or the network; templates cannot reach anything but their variables, and are bounded in time
//! and size.

mod bandit;
mod call;
mod experiment;
mod json;
mod merge;
mod shares;
mod template;
mod variables;

pub use bandit::{MOST_DRAWS, allocation};
pub use call::{Call, CallError};
pub use experiment::{Dealer, Dealt, Subject};
pub use merge::{Body, Form, MergeError, merge, set_members};
pub use shares::shares;
pub use template::{Compiled, MOST_RENDERED_BYTES, Message, RenderError};
pub use variables::VariableError;
