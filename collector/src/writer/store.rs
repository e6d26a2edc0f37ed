//! What the writer needs of ClickHouse, so that its tests can take its place.

use crate::row::{Key, Row};
use std::collections::HashSet;
use std::future::Future;
use std::ops::RangeInclusive;
use warehouse::{EventKey, InsertError, SpanKey, Warehouse, WarehouseError};

/// Where rows go.
pub trait Store: Send + Sync + 'static {
    /// Brings the schema up to date.
    fn prepare(&self) -> impl Future<Output = Result<(), WarehouseError>> + Send;
    /// Inserts rows of one table in one block; the same rows under the same token count once.
    fn insert(&self, rows: &[Row], token: &str) -> impl Future<Output = Result<(), InsertError>> + Send;
    /// Which of these rows are there.
    fn existing(&self, keys: &[Key]) -> impl Future<Output = Result<HashSet<Key>, WarehouseError>> + Send;
    /// Which of these rows are there under any time in `times`, nanoseconds since the epoch.
    fn existing_within(
        &self,
        keys: &[Key],
        times: RangeInclusive<i64>,
    ) -> impl Future<Output = Result<HashSet<Key>, WarehouseError>> + Send;
}

impl Store for Warehouse {
    async fn prepare(&self) -> Result<(), WarehouseError> {
        self.migrate().await
    }

    async fn insert(&self, rows: &[Row], token: &str) -> Result<(), InsertError> {
        self.insert_spans(rows.iter().filter_map(Row::span), token).await?;
        self.insert_events(rows.iter().filter_map(Row::event), token).await
    }

    async fn existing(&self, keys: &[Key]) -> Result<HashSet<Key>, WarehouseError> {
        let (spans, events) = by_table(keys);
        let spans = self.existing_spans(&spans).await?.into_iter().map(Key::Span);
        let events = self.existing_events(&events).await?.into_iter().map(Key::Event);
        Ok(spans.chain(events).collect())
    }

    async fn existing_within(
        &self,
        keys: &[Key],
        times: RangeInclusive<i64>,
    ) -> Result<HashSet<Key>, WarehouseError> {
        let (spans, events) = by_table(keys);
        let spans = self.existing_spans_within(&spans, times.clone()).await?.into_iter().map(Key::Span);
        let events = self.existing_events_within(&events, times).await?.into_iter().map(Key::Event);
        Ok(spans.chain(events).collect())
    }
}

fn by_table(keys: &[Key]) -> (Vec<SpanKey>, Vec<EventKey>) {
    let (mut spans, mut events) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Span(key) => spans.push(key.clone()),
            Key::Event(key) => events.push(key.clone()),
        }
    }
    (spans, events)
}
