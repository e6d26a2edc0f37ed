//! Writing spans and events, exactly once in effect.

use crate::client::{Limits, Warehouse, within};
use crate::error::{Failure, InsertError, WarehouseError, failed, insert_error};
use crate::queries::read;
use crate::rows::{EventKey, EventRow, SpanKey, SpanRow};
use clickhouse::{Row, RowOwned, RowWrite};
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

const SEND_TIMEOUT: Duration = Duration::from_secs(30);
const END_TIMEOUT: Duration = Duration::from_mins(2);

impl Warehouse {
    /// Inserts the spans in one statement; `calls`, `attempts` and the rollups follow from it before it is acknowledged.
    ///
    /// `token` names the batch: whoever is not sure that a batch arrived sends the same rows in the same order with the same
    /// token again, and whatever is already there, in whichever of the tables, is not written twice. A token is remembered for the
    /// latest 10,000 blocks of each table.
    pub async fn insert_spans(
        &self,
        spans: impl IntoIterator<Item = &SpanRow> + Send,
        token: &str,
    ) -> Result<(), InsertError> {
        let spans: Vec<&SpanRow> = spans.into_iter().collect();
        self.write("spans", &spans, token).await.map_err(|error| insert_error(Failure::from(error)))
    }

    /// Inserts the events in one statement, as [`Warehouse::insert_spans`] does spans; the tables of outcomes and evaluations follow
    /// from it before it is acknowledged.
    pub async fn insert_events(
        &self,
        events: impl IntoIterator<Item = &EventRow> + Send,
        token: &str,
    ) -> Result<(), InsertError> {
        let events: Vec<&EventRow> = events.into_iter().collect();
        self.write("events", &events, token).await.map_err(|error| insert_error(Failure::from(error)))
    }

    pub(crate) async fn write<R>(
        &self,
        table: &str,
        rows: &[&R],
        token: &str,
    ) -> clickhouse::error::Result<()>
    where
        R: RowOwned + RowWrite + Sync,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let mut insert = self
            .database()
            .insert::<R>(table)
            .await?
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT))
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token)
            .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
            .with_setting("async_insert", "0")
            // A client's clock may be anywhere; a batch that spans many days must not be refused for its neighbours' sake.
            .with_setting("max_partitions_per_insert_block", "0");
        for row in rows {
            insert.write(*row).await?;
        }
        insert.end().await
    }

    /// Which of these spans are already stored. Spans sent again long after the first time, with another batch around
    /// them, are found by this; `start_time` must be the one that was stored.
    pub async fn existing_spans(&self, keys: &[SpanKey]) -> Result<HashSet<SpanKey>, WarehouseError> {
        let Some(times) = extent(keys.iter().map(|key| key.start_time)) else { return Ok(HashSet::new()) };
        let wanted: HashSet<&SpanKey> = keys.iter().collect();
        let found = self.find_spans(keys, times).await?;
        Ok(found.into_iter().filter(|key| wanted.contains(key)).collect())
    }

    /// As [`Warehouse::existing_spans`], of spans that were stored with any start in `times`, nanoseconds since the epoch: for those
    /// that a collector had to give a time. Of the keys the time is not looked at, and those that are returned are among `keys`.
    pub async fn existing_spans_within(
        &self,
        keys: &[SpanKey],
        times: RangeInclusive<i64>,
    ) -> Result<HashSet<SpanKey>, WarehouseError> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let found: HashSet<SpanKey> =
            self.find_spans(keys, times).await?.into_iter().map(SpanKey::timeless).collect();
        Ok(keys.iter().filter(|key| found.contains(&(*key).clone().timeless())).cloned().collect())
    }

    async fn find_spans(
        &self,
        keys: &[SpanKey],
        times: RangeInclusive<i64>,
    ) -> Result<Vec<SpanKey>, WarehouseError> {
        let tenants: BTreeSet<&str> = keys.iter().map(|k| k.tenant_id.as_str()).collect();
        let traces: BTreeSet<&str> = keys.iter().map(|k| k.trace_id.as_str()).collect();
        let spans: BTreeSet<&str> = keys.iter().map(|k| k.span_id.as_str()).collect();
        let found = self
            .read(read::EXISTING_SPANS, Limits { result_rows: 10_000_000, ..Limits::NARROW })
            .param("tenants", tenants)
            .param("from_ns", times.start())
            .param("to_ns", times.end())
            .param("traces", traces)
            .param("spans", spans)
            .fetch_all::<Found>();
        let found = within(found).await.map_err(failed("look up spans that may already be stored"))?;
        Ok(found.into_iter().map(SpanKey::from).collect())
    }

    /// Which of these events are already stored, as [`Warehouse::existing_spans`] tells it of spans.
    pub async fn existing_events(&self, keys: &[EventKey]) -> Result<HashSet<EventKey>, WarehouseError> {
        let Some(times) = extent(keys.iter().map(|key| key.time)) else { return Ok(HashSet::new()) };
        let wanted: HashSet<&EventKey> = keys.iter().collect();
        let found = self.find_events(keys, times).await?;
        Ok(found.into_iter().filter(|key| wanted.contains(key)).collect())
    }

    /// As [`Warehouse::existing_spans_within`], of events.
    pub async fn existing_events_within(
        &self,
        keys: &[EventKey],
        times: RangeInclusive<i64>,
    ) -> Result<HashSet<EventKey>, WarehouseError> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let found: HashSet<EventKey> =
            self.find_events(keys, times).await?.into_iter().map(EventKey::timeless).collect();
        Ok(keys.iter().filter(|key| found.contains(&(*key).clone().timeless())).cloned().collect())
    }

    async fn find_events(
        &self,
        keys: &[EventKey],
        times: RangeInclusive<i64>,
    ) -> Result<Vec<EventKey>, WarehouseError> {
        let tenants: BTreeSet<&str> = keys.iter().map(|k| k.tenant_id.as_str()).collect();
        let events: BTreeSet<&str> = keys.iter().map(|k| k.event_id.as_str()).collect();
        let found = self
            .read(read::EXISTING_EVENTS, Limits { result_rows: 10_000_000, ..Limits::NARROW })
            .param("tenants", tenants)
            .param("from_ns", times.start())
            .param("to_ns", times.end())
            .param("events", events)
            .fetch_all::<FoundEvent>();
        let found = within(found).await.map_err(failed("look up events that may already be stored"))?;
        Ok(found.into_iter().map(EventKey::from).collect())
    }
}

/// From the first to the last.
fn extent(times: impl Iterator<Item = i64> + Clone) -> Option<RangeInclusive<i64>> {
    Some(times.clone().min()?..=times.max()?)
}

impl SpanKey {
    fn timeless(self) -> Self {
        Self { start_time: 0, ..self }
    }
}

impl EventKey {
    fn timeless(self) -> Self {
        Self { time: 0, ..self }
    }
}

#[derive(Row, Deserialize)]
struct Found {
    tenant_id: String,
    start_ns: i64,
    trace_id: String,
    span_id: String,
}

impl From<Found> for SpanKey {
    fn from(found: Found) -> Self {
        Self {
            tenant_id: found.tenant_id,
            trace_id: found.trace_id,
            span_id: found.span_id,
            start_time: found.start_ns,
        }
    }
}

#[derive(Row, Deserialize)]
struct FoundEvent {
    tenant_id: String,
    time_ns: i64,
    event_id: String,
}

impl From<FoundEvent> for EventKey {
    fn from(found: FoundEvent) -> Self {
        Self { tenant_id: found.tenant_id, event_id: found.event_id, time: found.time_ns }
    }
}
