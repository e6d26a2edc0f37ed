//! One OTLP span of any dialect becomes one row: typed columns for what the conventions name, the maps for the rest.
//!
//! The order of authority is fixed: the main GenAI conventions, the messages in events, the names that the main ones
//! replaced, OpenInference, OpenLLMetry, Vercel. The first to fill a column wins. An attribute that filled a column, or says
//! the same, leaves the map; one that says something else stays in it and is counted as a conflict; one that cannot be read
//! as its column's type stays too and is counted as invalid.
//!
//! Nothing here waits, panics or depends on anything but its arguments, so a span normalises the same way each time, but
//! for the time that a span outside the accepted window is moved to.

mod control_tower;
mod draft;
mod events;
mod fields;
mod gen_ai;
mod limits;
mod log;
mod messages;
mod openinference;
mod openllmetry;
mod provider;
mod span;
mod tally;
#[cfg(test)]
mod tests;
mod values;
mod vercel;
mod window;

pub use limits::Limits;
pub use log::normalise_log;
pub use span::{Origin, Rejected, Source, normalise};
pub use tally::{Dialect, Tally};
pub use window::ORIGINAL_START;
