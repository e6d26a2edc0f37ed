//! The only crate that speaks to ClickHouse.
//!
//! It has two halves that meet on ClickHouse's HTTP interface. [`engine`] runs the embedded engine, in a process of its
//! own; [`Warehouse`] is the client, and it does not know whether that engine, a server or a cluster answers. All SQL is in
//! `queries/`: `schema/NNNN_name.sql` are the migrations, `read/*.sql` the reads, `parts/*.sql` what several of them begin with; every file is embedded here and run
//! against the real engine by the tests.
//!
//! Two tables are written, `spans` and `events` (log records). Materialized views make the rest from each inserted block: of spans `calls` (one narrow
//! row per client request), `attempts` (one per try at an upstream) and the rollups (`usage_*`, `latency_*`, `facets_hour`). Every insert
//! carries a token by which the engine recognises a batch that it has already taken, in each of these tables, so a resend
//! after a crash neither doubles nor misses a row anywhere.

mod client;
pub mod engine;
mod error;
mod insert;
mod migrate;
pub mod outcomes;
mod queries;
mod reads;
mod rows;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;

pub use client::{Warehouse, WarehouseConfig};
pub use error::{Failure, InsertError, WarehouseError};
pub use reads::consistency::Consistency;
pub use reads::evaluations::{
    CallTime, JudgeCall, Retrieval, SampledCall, StoredVerdict, UnjudgedCall, UnjudgedQuery, VerdictPage,
};
pub use reads::experiments::{ExperimentOwner, ExperimentRow, ExperimentStart};
pub use reads::outcomes::{ActionCall, FeedbackSum, Spend};
pub use reads::runs::{
    DatasetCall, DatasetFilter, DatasetRowRow, DatasetVersion, DatasetVersionRow, EvalCall, EvalResult,
    EvalResultRow, EvalRun, EvalRunRow,
};
pub use reads::vitals::Vitals;
pub use rows::{EVALUATOR_KEY, EventKey, EventRow, SpanKey, SpanRow};
