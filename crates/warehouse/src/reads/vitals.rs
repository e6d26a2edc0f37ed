//! How a ClickHouse server that we run ourselves fares, for its own metrics.

use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;

/// Gauges of the server at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clickhouse::Row, serde::Deserialize)]
pub struct Vitals {
    /// Memory that the server counts as its own, bytes.
    pub memory_bytes: u64,
    /// Queries that run, this one included.
    pub queries: u64,
    /// Merges that run.
    pub merges: u64,
    /// Active parts of our tables. Many of them mean that merges do not keep up with inserts.
    pub parts: u64,
    /// Rows in them, of all our tables together.
    pub rows: u64,
    /// What they take on disk, bytes.
    pub bytes_on_disk: u64,
    /// Free space of the fullest disk, bytes.
    pub disk_free_bytes: u64,
    /// Size of that disk, bytes.
    pub disk_total_bytes: u64,
}

impl Warehouse {
    /// Asks the server how it fares. Answers before our database exists, too.
    pub async fn vitals(&self) -> Result<Vitals, WarehouseError> {
        let database = &self.config().database;
        let query = self.server_read(read::VITALS, Limits::NARROW).param("database", database);
        within(query.fetch_one::<Vitals>()).await.map_err(failed("ask ClickHouse how it fares"))
    }
}
