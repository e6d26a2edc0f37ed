//! A truth set run through the gateway and judged.
//!
//! A run takes each row of a version, as often as asked, sends it to the [`Target`] through the gateway ([`gateway`]), lets
//! judges look at the answer ([`ask`]), and appends the result to a [`journal`] on disk before it counts. The [`engine`] keeps
//! many rows in flight and stops short of a cost ceiling. After a crash the same command goes on where the journal ends: each row
//! has exactly one result.
//!
//! Money is exact: a result holds the request ids and costs that the gateway told, and every call of a run carries a trace id
//! that follows from run, row and repetition. So [`account`] can ask ClickHouse for all calls of the run, compare each with
//! what the gateway told, and find those that a crash cut off: paid for, and without a result.
//!
//! What came out is summed up ([`summary`]), compared with another run ([`compare`]), held against conditions ([`gate`]) and
//! written as Markdown, `JUnit` and Parquet ([`report`], [`table`]).

pub mod account;
mod ask;
pub mod compare;
mod engine;
pub mod gate;
mod gateway;
mod journal;
mod reference;
pub mod report;
pub mod summary;
pub mod table;
mod target;

pub use ask::Asker;
pub use engine::{Ended, Limits, Progress, execute};
pub use gateway::{Gateway, GatewayConfig};
pub use journal::{Header, Journal};
pub use reference::reference_judges;
pub use target::{ContextIn, Target};

use contracts::{Timestamp, Usd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one row and repetition gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Row of the version.
    pub row_id: String,
    /// From 1.
    pub repeat: u32,
    /// When it was done.
    pub at: Timestamp,
    /// Trace of its calls, 32 hex digits.
    pub trace_id: String,
    /// The calls that it took, failed tries included.
    pub calls: Vec<CallCost>,
    /// Model that answered.
    #[serde(default)]
    pub model: String,
    /// The answer; empty when there is none.
    #[serde(default)]
    pub answer: String,
    /// Why there is no answer; empty when there is one.
    #[serde(default)]
    pub error: String,
    /// Of the last call.
    pub latency_ms: u64,
    /// The row's slices.
    #[serde(default)]
    pub slices: BTreeMap<String, String>,
    /// One for each judge; none without an answer.
    #[serde(default)]
    pub scores: Vec<Score>,
}

impl RunResult {
    /// What its calls cost.
    pub fn cost(&self) -> Usd {
        self.calls.iter().map(|call| call.cost).sum()
    }

    /// What its judges cost.
    pub fn cost_judges(&self) -> Usd {
        self.scores.iter().map(|score| score.cost).sum()
    }

    /// The score of a judge; none where it does not apply.
    pub fn score(&self, judge: &str) -> Option<f64> {
        self.scores.iter().find(|score| score.judge == judge)?.score
    }
}

/// A call and what the gateway said that it cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCost {
    /// As the gateway told it.
    pub request_id: String,
    /// As the gateway told it.
    pub cost: Usd,
    /// HTTP status.
    pub status: u16,
}

/// What a judge says of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Its name.
    pub judge: String,
    /// Its version.
    pub version: String,
    /// None where it does not apply or failed; the label says which.
    pub score: Option<f64>,
    /// Its class.
    pub label: String,
    /// For people.
    #[serde(default)]
    pub explanation: String,
    /// What the judging cost.
    #[serde(default)]
    pub cost: Usd,
}

/// Why a run cannot be made or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An argument that cannot be used.
    #[error("{field} {value:?} is not valid: expected {expected}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// The journal cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The journal belongs to a run with other arguments, or is not one.
    #[error("{path}: {reason}")]
    Journal {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Part of the run's own machinery ended early.
    #[error("a part of the run ended early: {0}")]
    Broken(String),
    /// The table cannot be made or written.
    #[error("the results cannot be written as a table: {0}")]
    Table(#[from] polars_core::error::PolarsError),
    /// ClickHouse did not give what was asked.
    #[error(transparent)]
    Warehouse(#[from] warehouse::WarehouseError),
    /// ClickHouse did not take the results.
    #[error(transparent)]
    Insert(#[from] warehouse::InsertError),
}

#[cfg(test)]
mod tests;
