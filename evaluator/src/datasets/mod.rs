//! Truth sets: what a release is judged on before it ships.
//!
//! A dataset is a name with versions. A version is a list of [`Row`]s that never changes; its id is the SHA-256 of their canonical
//! form ([`canon`]), so the same rows are the same version wherever and from whatever format they were read. Rows come
//! from files (JSON Lines, CSV, Parquet: [`read`]), or from production calls, those that people labelled among them ([`calls`]).
//!
//! ClickHouse keeps them, by tenant (see `docs/decisions/0010-truth-sets-live-in-clickhouse.md`); [`store`] writes rows first
//! and the version last, so that a version that can be seen is whole.

mod calls;
mod canon;
mod read;
mod row;
mod store;

pub use calls::{from_annotation, from_call};
pub(crate) use canon::hex;
pub use canon::{Version, export};
pub use read::{Format, read};
pub use row::{Message, Passage, Row, RowInput};
pub use store::{DatasetRef, Origin, create, list, load, resolve};

/// Why a dataset cannot be read, written or found.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A row, or the file around it, is not what a truth set consists of.
    #[error("{place}: {field} {value:?} is not valid: expected {expected}")]
    Invalid {
        /// File and line, or row.
        place: String,
        /// Which field.
        field: String,
        /// Its value, cut.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No such dataset or version.
    #[error("there is no dataset {name:?}: `control-tower eval dataset list` shows which there are")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// ClickHouse did not take or give it.
    #[error(transparent)]
    Warehouse(#[from] warehouse::WarehouseError),
    /// ClickHouse did not take it.
    #[error(transparent)]
    Insert(#[from] warehouse::InsertError),
}

impl DatasetError {
    /// An invalid value of `field` at `place`.
    pub(crate) fn invalid(place: &str, field: &str, value: &str, expected: &str) -> Self {
        Self::Invalid {
            place: place.to_owned(),
            field: field.to_owned(),
            value: value.chars().take(80).collect(),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
