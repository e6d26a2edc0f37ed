//! What the collector counts of itself. Every span or log record that comes in is accepted or rejected; every accepted one is
//! inserted, recognised as sent before, or set aside: for each signal `received = accepted + rejected`, and `accepted = inserted +
//! deduplicated + refused + what is in the spool`, less what no row could be made of (`undecodable`), whose signal nobody knows.

use crate::normalise::Tally;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Label = [(&'static str, &'static str); 1];
/// A counter with one label.
pub type Labelled = Family<Label, Counter>;

/// Handles on all metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests by protocol and outcome.
    pub requests: Family<[(&'static str, &'static str); 2], Counter>,
    /// Bytes of requests, decompressed.
    pub request_bytes: Counter,
    /// Spans that came in.
    pub received: Counter,
    /// Spans that are durable.
    pub accepted: Counter,
    /// Spans that were not taken, by reason.
    pub rejected: Labelled,
    /// Spans by the names they used.
    pub dialects: Labelled,
    /// Log records that came in.
    pub events_received: Counter,
    /// Log records that are durable.
    pub events_accepted: Counter,
    /// Log records that were not taken, by reason.
    pub events_rejected: Labelled,
    /// Log records in ClickHouse.
    pub events_inserted: Counter,
    /// Attributes that went into the maps, by namespace.
    pub unknown_attributes: Labelled,
    /// Attributes that contradicted one of higher authority.
    pub conflicting_attributes: Counter,
    /// Attributes that did not fit their column's type.
    pub invalid_attributes: Counter,
    /// Spans cut down to metadata for their size.
    pub truncated: Counter,
    /// Bytes cut off.
    pub truncated_bytes: Counter,
    /// Spans moved into the accepted window of time.
    pub moved: Counter,
    /// Spans that ended before they started.
    pub negative_durations: Counter,
    /// Spans from which content was taken because the tenant does not record it.
    pub redacted: Counter,
    /// Rows in ClickHouse.
    pub inserted: Counter,
    /// Rows that had been sent before, by how that was known, and signal.
    deduplicated: Family<[(&'static str, &'static str); 2], Counter>,
    /// Rows that ClickHouse refuses, set aside in files, by signal.
    refused: Labelled,
    /// Of the inserted, spans that are in the table but perhaps not in its views, set aside in files too.
    pub half_inserted: Counter,
    /// Records of the spool that are no rows, set aside in files.
    pub undecodable: Counter,
    /// Failed inserts, by kind.
    pub insert_errors: Labelled,
    /// Seconds an insert took.
    pub insert_seconds: Histogram,
    /// Rows of an insert.
    pub batch_rows: Histogram,
    /// Whether the last exchange with ClickHouse went well.
    pub clickhouse_up: Gauge,
}

impl Metrics {
    /// Creates and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_bytes: Counter::default(),
            received: Counter::default(),
            accepted: Counter::default(),
            rejected: Family::default(),
            dialects: Family::default(),
            events_received: Counter::default(),
            events_accepted: Counter::default(),
            events_rejected: Family::default(),
            events_inserted: Counter::default(),
            unknown_attributes: Family::default(),
            conflicting_attributes: Counter::default(),
            invalid_attributes: Counter::default(),
            truncated: Counter::default(),
            truncated_bytes: Counter::default(),
            moved: Counter::default(),
            negative_durations: Counter::default(),
            redacted: Counter::default(),
            inserted: Counter::default(),
            deduplicated: Family::default(),
            refused: Family::default(),
            half_inserted: Counter::default(),
            undecodable: Counter::default(),
            insert_errors: Family::default(),
            insert_seconds: Histogram::new([
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            batch_rows: Histogram::new([1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0]),
            clickhouse_up: Gauge::default(),
        };
        metrics.register_intake(registry);
        metrics.register_writer(registry);
        metrics
    }

    fn register_intake(&self, r: &mut Registry) {
        r.register("collector_requests", "Export requests by protocol and outcome", self.requests.clone());
        r.register_with_unit(
            "collector_request",
            "Decompressed bytes of requests",
            Unit::Bytes,
            self.request_bytes.clone(),
        );
        r.register("collector_spans_received", "Spans that came in", self.received.clone());
        r.register("collector_spans_accepted", "Spans that are durable in the spool", self.accepted.clone());
        r.register("collector_spans_rejected", "Spans that were not taken, by reason", self.rejected.clone());
        r.register(
            "collector_spans_dialect",
            "Spans by the attribute names they used",
            self.dialects.clone(),
        );
        r.register("collector_events_received", "Log records that came in", self.events_received.clone());
        let accepted = self.events_accepted.clone();
        r.register("collector_events_accepted", "Log records that are durable in the spool", accepted);
        let rejected = self.events_rejected.clone();
        r.register("collector_events_rejected", "Log records that were not taken, by reason", rejected);
        let unknown = self.unknown_attributes.clone();
        r.register("collector_attributes_unknown", "Attributes kept in the map, by namespace", unknown);
        let conflicting = self.conflicting_attributes.clone();
        r.register(
            "collector_attributes_conflicting",
            "Attributes that contradict one of higher authority",
            conflicting,
        );
        let invalid = self.invalid_attributes.clone();
        r.register("collector_attributes_invalid", "Attributes that do not fit their column's type", invalid);
        r.register(
            "collector_spans_truncated",
            "Spans cut down to metadata for their size",
            self.truncated.clone(),
        );
        r.register(
            "collector_truncated_content_bytes",
            "Bytes cut off spans and resources",
            self.truncated_bytes.clone(),
        );
        r.register(
            "collector_spans_moved",
            "Spans moved into the accepted window of time",
            self.moved.clone(),
        );
        let negative = self.negative_durations.clone();
        r.register("collector_spans_negative_duration", "Spans that ended before they started", negative);
        let redacted = self.redacted.clone();
        r.register(
            "collector_spans_redacted",
            "Spans whose content the tenant's policy does not keep",
            redacted,
        );
    }

    fn register_writer(&self, r: &mut Registry) {
        r.register("collector_spans_inserted", "Rows inserted into ClickHouse", self.inserted.clone());
        let events = self.events_inserted.clone();
        r.register("collector_events_inserted", "Log records inserted into ClickHouse", events);
        let deduplicated = self.deduplicated.clone();
        r.register("collector_spans_deduplicated", "Spans sent before, by how that was known", deduplicated);
        r.register(
            "collector_spans_refused",
            "Spans that ClickHouse refuses, set aside in files",
            self.refused.clone(),
        );
        r.register(
            "collector_spans_half_inserted",
            "Spans in the table but perhaps not in sums, because ClickHouse did not complete their insert; set aside in files",
            self.half_inserted.clone(),
        );
        r.register(
            "collector_records_undecodable",
            "Spool records that are no rows, set aside",
            self.undecodable.clone(),
        );
        r.register("collector_insert_errors", "Failed inserts, by kind", self.insert_errors.clone());
        r.register_with_unit(
            "collector_insert",
            "Duration of inserts",
            Unit::Seconds,
            self.insert_seconds.clone(),
        );
        r.register("collector_batch_rows", "Rows of inserts", self.batch_rows.clone());
        r.register(
            "collector_clickhouse_up",
            "1 when the last exchange with ClickHouse went well",
            self.clickhouse_up.clone(),
        );
    }

    /// Rows of a signal that had been sent before; how that is known.
    pub fn deduplicated(&self, known_from: &'static str, signal: &'static str) -> Counter {
        self.deduplicated.get_or_create(&[("known_from", known_from), ("signal", signal)]).clone()
    }

    /// Rows of a signal that ClickHouse refuses.
    pub fn refused(&self, signal: &'static str) -> Counter {
        self.refused.get_or_create(&[("signal", signal)]).clone()
    }

    /// Counts what was noticed while normalising.
    pub fn count(&self, tally: &Tally) {
        for (dialect, spans) in &tally.dialects {
            self.dialects.get_or_create(&[("dialect", dialect.as_str())]).inc_by(*spans);
        }
        for (namespace, attributes) in &tally.unknown_attributes {
            self.unknown_attributes.get_or_create(&[("namespace", *namespace)]).inc_by(*attributes);
        }
        self.conflicting_attributes.inc_by(tally.conflicts);
        self.invalid_attributes.inc_by(tally.invalid_values);
        self.truncated.inc_by(tally.truncated_spans);
        self.truncated_bytes.inc_by(tally.truncated_bytes);
        self.moved.inc_by(tally.moved_spans);
        self.negative_durations.inc_by(tally.negative_durations);
    }
}
