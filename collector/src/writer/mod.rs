//! From the spool into ClickHouse, exactly once in effect.
//!
//! One task takes batches from the spool in order. For each:
//!
//! 1. Spans that were sent before are dropped (module `dedup`).
//! 2. The plan is put on disk: the batch's extent, which of its records were dropped, and into which parts the rest is cut
//!    (module `plan`); after it the spool's own intent, by which the same extent comes again after a crash.
//! 3. Each part is inserted under a token that is a digest of the ids in it. Failures that a retry can cure are retried for
//!    ever. A part that ClickHouse refuses, and of which no row is there, is halved, the plan being put on disk before each
//!    half is sent, until the row at fault is alone; it goes into a file under `rejected/`. A refused part of which rows are
//!    there failed in a view: it is sent again as it is, and after some rounds goes into such a file as well.
//! 4. The cursor moves, and the ids are remembered.
//!
//! A crash between any two steps repeats the plan, not the decision: step 1 must not run again, because by then the batch's own
//! spans may be found in ClickHouse while a materialized view still misses them. Sending the same rows under the same
//! token again completes what is missing and doubles nothing. Where no plan had been written, nothing had been sent.

mod batch;
mod dead_letter;
mod dedup;
mod plan;
mod store;
#[cfg(test)]
mod tests;

pub use batch::{Options, Writer};
pub use dedup::Trust;
pub use store::Store;
