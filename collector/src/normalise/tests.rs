//! Every dialect, attribute by attribute, and whatever else a sender may think of.

mod dialects;
mod hostile;
mod sdks;

use super::{Limits, Origin, Rejected, Source, Tally, normalise};
use contracts::Timestamp;
use contracts::policy::TenantPolicy;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message;
use warehouse::SpanRow;

const NOW_S: i64 = 1_790_000_000;
const START_NS: u64 = 1_789_999_990_000_000_000;
const LIMITS: Limits = Limits { max_span: 4 * 1024 * 1024 };

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn int(number: i64) -> Value {
    Value::IntValue(number)
}

fn wrapped(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::ArrayValue(ArrayValue { values: items.into_iter().map(wrapped).collect() })
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::KvlistValue(KeyValueList { values: attributes(entries) })
}

fn attributes<const N: usize>(entries: [(&str, Value); N]) -> Vec<KeyValue> {
    let entry = |(key, value): (&str, Value)| KeyValue {
        key: key.into(),
        value: Some(wrapped(value)),
        ..KeyValue::default()
    };
    entries.into_iter().map(entry).collect()
}

fn event<const N: usize>(name: &str, after_ns: u64, entries: [(&str, Value); N]) -> Event {
    Event {
        time_unix_nano: START_NS + after_ns,
        name: name.into(),
        attributes: attributes(entries),
        dropped_attributes_count: 0,
    }
}

fn span<const N: usize>(entries: [(&str, Value); N]) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "a span".into(),
        start_time_unix_nano: START_NS,
        end_time_unix_nano: START_NS + 2_000_000_000,
        attributes: attributes(entries),
        ..Span::default()
    }
}

fn tenant() -> TenantPolicy {
    TenantPolicy { retention_days: 14, ..TenantPolicy::new("acme".parse().unwrap()) }
}

fn as_tenant(span: Span) -> Result<(SpanRow, Tally), Rejected> {
    let size = span.encoded_len();
    let now = Timestamp::from_unix_seconds(NOW_S);
    normalise(span, size, &Source::default(), Origin::Tenant(&tenant()), LIMITS, now)
}

fn as_service(span: Span) -> Result<(SpanRow, Tally), Rejected> {
    let size = span.encoded_len();
    let now = Timestamp::from_unix_seconds(NOW_S);
    let origin = Origin::Service { default_retention_days: 30 };
    normalise(span, size, &Source::default(), origin, LIMITS, now)
}

/// The row of a tenant's span with these attributes, all of which are expected to be understood.
fn understood<const N: usize>(entries: [(&str, Value); N]) -> SpanRow {
    let (row, tally) = as_tenant(span(entries)).unwrap();
    assert_eq!(row.span_attributes, [], "nothing is left over");
    assert_eq!((tally.conflicts, tally.invalid_values), (0, 0), "{tally:?}");
    row
}
