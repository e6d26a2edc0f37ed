//! What a call leaves behind: it is priced, written down as two kinds of spans, and spooled for the collector.

mod event;
mod otlp;
mod recorder;
mod settle;
mod shipper;
mod spans;

pub(crate) use event::Event;
pub(crate) use recorder::{Recorder, Unrecorded};
pub(crate) use settle::{Recorded, Settled, settle, settle_now};
pub(crate) use shipper::{Shipper, ShipperOptions};
