//! What the writer needs of ClickHouse, so that its tests can take its place.

use std::collections::HashSet;
use std::future::Future;
use warehouse::{InsertError, SpanKey, SpanRow, Warehouse, WarehouseError};

/// Where rows go.
pub trait Store: Send + Sync + 'static {
    /// Brings the schema up to date.
    fn prepare(&self) -> impl Future<Output = Result<(), WarehouseError>> + Send;
    /// Inserts rows in one block; the same rows under the same token count once.
    fn insert(&self, rows: &[SpanRow], token: &str) -> impl Future<Output = Result<(), InsertError>> + Send;
    /// Which of these spans are there.
    fn existing(
        &self,
        keys: &[SpanKey],
    ) -> impl Future<Output = Result<HashSet<SpanKey>, WarehouseError>> + Send;
}

impl Store for Warehouse {
    async fn prepare(&self) -> Result<(), WarehouseError> {
        self.migrate().await
    }

    async fn insert(&self, rows: &[SpanRow], token: &str) -> Result<(), InsertError> {
        self.insert_spans(rows, token).await
    }

    async fn existing(&self, keys: &[SpanKey]) -> Result<HashSet<SpanKey>, WarehouseError> {
        self.existing_spans(keys).await
    }
}
