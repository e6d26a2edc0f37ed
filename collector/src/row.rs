//! What the spool carries and the writer moves: a span's row or a log record's.

use crate::normalise::ORIGINAL_START;
use contracts::Timestamp;
use warehouse::{EventKey, EventRow, SpanKey, SpanRow};

/// Clocks that are wrong by less are only ahead.
const AHEAD_NS: i64 = 3_600_000_000_000;

/// A row of either table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of `spans`.
    Span(Box<SpanRow>),
    /// Of `events`.
    Event(Box<EventRow>),
}

/// What makes a row one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// Of a span.
    Span(SpanKey),
    /// Of an event.
    Event(EventKey),
}

impl Row {
    /// The span, if it is one.
    pub fn span(&self) -> Option<&SpanRow> {
        match self {
            Self::Span(row) => Some(row),
            Self::Event(_) => None,
        }
    }

    /// The event, if it is one.
    pub fn event(&self) -> Option<&EventRow> {
        match self {
            Self::Event(row) => Some(row),
            Self::Span(_) => None,
        }
    }

    /// As a metric's label.
    pub const fn signal(&self) -> &'static str {
        match self {
            Self::Span(_) => "traces",
            Self::Event(_) => "logs",
        }
    }

    /// Nanoseconds since the epoch.
    pub fn start_ns(&self) -> i64 {
        match self {
            Self::Span(row) => row.start_time,
            Self::Event(row) => row.time,
        }
    }

    /// Nanoseconds since the epoch.
    pub fn end_ns(&self) -> i64 {
        match self {
            Self::Span(row) => {
                row.start_time.saturating_add(i64::try_from(row.duration_ns).unwrap_or(i64::MAX))
            }
            Self::Event(row) => row.time,
        }
    }

    /// Whether it would lie elsewhere in time had it come at another moment: it was moved to when it came, or lies so far ahead that
    /// it may have been moved when it came before.
    pub fn is_moved(&self, now: Timestamp) -> bool {
        let attributes = match self {
            Self::Span(row) => &row.span_attributes,
            Self::Event(row) => &row.attributes,
        };
        self.start_ns() > now.unix_nanos().saturating_add(AHEAD_NS)
            || attributes.iter().any(|(key, _)| key == ORIGINAL_START)
    }

    /// Days that it is kept.
    pub fn retention_days(&self) -> u16 {
        match self {
            Self::Span(row) => row.retention_days,
            Self::Event(row) => row.retention_days,
        }
    }

    /// The texts by which it is recognised when it comes again. A span's begin with a tenant, which is never empty.
    pub fn identity(&self) -> [&str; 3] {
        match self {
            Self::Span(row) => [&row.tenant_id, &row.trace_id, &row.span_id],
            Self::Event(row) => ["", &row.tenant_id, &row.event_id],
        }
    }

    /// What to ask ClickHouse for.
    pub fn key(&self) -> Key {
        match self {
            Self::Span(row) => Key::Span(SpanKey::from(&**row)),
            Self::Event(row) => Key::Event(EventKey::from(&**row)),
        }
    }
}

impl From<SpanRow> for Row {
    fn from(row: SpanRow) -> Self {
        Self::Span(Box::new(row))
    }
}

impl From<EventRow> for Row {
    fn from(row: EventRow) -> Self {
        Self::Event(Box::new(row))
    }
}
