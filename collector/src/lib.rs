//! OTLP in, ClickHouse out.
//!
//! The way of a span, and of a log record beside it:
//!
//! 1. `receive`: gRPC or HTTP, protobuf or JSON, compressed or not; `auth` knows the sender by its headers before the body is
//!    read.
//! 2. `ingest`: each span is decoded on its own, `normalise` makes a row of whatever dialect it speaks, `redact` takes out
//!    what may not be kept, and `record` encodes the row for the spool. Only now does it touch a disk; when it is durable,
//!    the sender is told so.
//! 3. `writer`: one task takes big batches from the spool, drops what was sent before, and inserts the rest so that a crash of
//!    anything at any time neither loses nor doubles a span.
//!
//! ClickHouse may be down for as long as the spool has room: then senders are asked to come again.

mod auth;
mod config;
mod ingest;
mod metrics;
mod normalise;
mod parts;
mod receive;
mod record;
mod redact;
mod row;
mod run;
mod writer;

pub use config::Config;
pub use run::{Collector, run};
