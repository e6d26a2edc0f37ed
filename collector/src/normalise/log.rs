//! From an OTLP log record to its row in `events`: ids, times, name, what it is about, and everything else as texts.

use super::fields::Fields;
use super::limits::Limits;
use super::span::{Origin, Rejected, Source, dropped, hex_id};
use super::{Tally, control_tower, values, window};
use contracts::attributes::{control_tower as names, gen_ai, otel};
use contracts::{TenantId, Timestamp};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use sha2::{Digest, Sha256};
use warehouse::EventRow;

/// Most bytes of a name or an id that its sender chose.
const SHORT: usize = 256;

/// Makes a row of a log record, whose encoding is `encoded`, that came in at `now`.
pub fn normalise_log(
    mut record: LogRecord,
    encoded: &[u8],
    source: &Source,
    origin: Origin<'_>,
    limits: Limits,
    now: Timestamp,
) -> Result<(EventRow, Tally), Rejected> {
    let trace_id = optional::<16>(&record.trace_id, Rejected::LogTraceId)?;
    let span_id = optional::<8>(&record.span_id, Rejected::LogSpanId)?;
    let mut tally = Tally::default();
    limits.cut_log(&mut record, encoded.len(), &mut tally);
    let mut fields = Fields::new(record.attributes);
    // Ours to say.
    fields.take(window::ORIGINAL_START);
    let (tenant_id, key_id, retention_days) = owner(&mut fields, origin)?;
    let claimed =
        if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    let placed = window::place(claimed, claimed, now, retention_days);
    tally.moved_spans += u64::from(placed.moved);
    if placed.moved {
        fields.put(window::ORIGINAL_START, Value::StringValue(claimed.to_string()));
    }
    let observed = i64::try_from(record.observed_time_unix_nano).unwrap_or(0);
    let named = fields.take_text(otel::EVENT_NAME).unwrap_or_default();
    let event_name = if record.event_name.is_empty() { named } else { record.event_name };
    let event_id = fields.take_text(names::EVENT_ID).filter(|id| !id.is_empty());
    let mut row = EventRow {
        tenant_id,
        time: placed.start_ns,
        observed_time: if observed > 0 { observed } else { now.unix_nanos() },
        event_id: short(event_id.unwrap_or_else(|| digest(encoded, source))),
        event_name: short(event_name),
        trace_id,
        span_id,
        response_id: short(fields.take_text(gen_ai::RESPONSE_ID).unwrap_or_default()),
        severity: short(record.severity_text),
        severity_number: u8::try_from(record.severity_number).unwrap_or(0),
        body: record.body.and_then(|body| body.value).map(|body| values::text(&body)).unwrap_or_default(),
        service_name: source.service_name().to_owned(),
        scope_name: source.scope_name().to_owned(),
        scope_version: source.scope_version().to_owned(),
        key_id,
        attributes: fields.into_texts(),
        resource_attributes: source.resource_attributes().to_vec(),
        retention_days,
    };
    row.attributes.extend(source.scope_attributes().iter().cloned());
    dropped(&mut row.attributes, "otel.dropped_attributes_count", record.dropped_attributes_count);
    Ok((row, tally))
}

/// Tenant, key and days to keep: as the tenant's policy or our own service says.
fn owner(fields: &mut Fields, origin: Origin<'_>) -> Result<(String, String, u16), Rejected> {
    match origin {
        Origin::Tenant(policy) => Ok((policy.id.as_str().to_owned(), String::new(), policy.retention_days)),
        Origin::Service { default_retention_days } => {
            let named = fields.take_text(names::TENANT_ID).and_then(|text| text.parse::<TenantId>().ok());
            let days = fields.take(names::RETENTION_DAYS).as_ref().and_then(control_tower::small);
            let key = fields.take_text(names::KEY_ID).unwrap_or_default();
            let days = days.filter(|days| *days > 0).unwrap_or(default_retention_days);
            Ok((named.ok_or(Rejected::Tenant)?.into(), short(key), days))
        }
    }
}

/// A log record need not belong to a span, but an id that is there must be one.
fn optional<const N: usize>(bytes: &[u8], otherwise: Rejected) -> Result<String, Rejected> {
    if bytes.iter().all(|byte| *byte == 0) && (bytes.is_empty() || bytes.len() == N) {
        return Ok(String::new());
    }
    hex_id::<N>(bytes).ok_or(otherwise)
}

/// The id of a record that has none: the same record of the same source, sent again, has the same.
fn digest(encoded: &[u8], source: &Source) -> String {
    let mut digest = Sha256::new();
    for part in [source.service_name().as_bytes(), source.scope_name().as_bytes(), encoded] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    hex::encode(&digest.finalize()[..16])
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SHORT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::policy::TenantPolicy;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use proptest::prelude::*;
    use prost::Message;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
    const NOW_NS: u64 = 1_790_000_000_000_000_000;
    const LIMITS: Limits = Limits { max_span: 8 * 1024 };
    const SERVICE: Origin<'_> = Origin::Service { default_retention_days: 30 };

    fn policy() -> TenantPolicy {
        TenantPolicy { retention_days: 7, ..TenantPolicy::new("acme".parse().unwrap()) }
    }

    fn attribute(key: &str, text: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Value::StringValue(text.into())) });
        KeyValue { key: key.into(), value, ..KeyValue::default() }
    }

    fn made(record: &LogRecord, origin: Origin<'_>) -> Result<(EventRow, Tally), Rejected> {
        let encoded = record.encode_to_vec();
        normalise_log(record.clone(), &encoded, &Source::default(), origin, LIMITS, NOW)
    }

    #[test]
    fn a_service_names_the_tenant_and_a_tenant_is_itself() {
        let record = LogRecord {
            time_unix_nano: NOW_NS - 5,
            event_name: "control_tower.action".into(),
            trace_id: vec![1; 16],
            attributes: vec![
                attribute("control_tower.tenant.id", "globex"),
                attribute("control_tower.key.id", "key_1"),
                attribute("control_tower.event.id", "e1"),
                attribute("gen_ai.response.id", "r1"),
                attribute("other", "x"),
            ],
            ..LogRecord::default()
        };
        let (row, _) = made(&record, SERVICE).unwrap();
        assert_eq!(
            (row.tenant_id.as_str(), row.key_id.as_str(), row.retention_days),
            ("globex", "key_1", 30)
        );
        assert_eq!(
            (row.event_id.as_str(), row.response_id.as_str(), row.time),
            ("e1", "r1", NOW.unix_nanos() - 5)
        );
        assert_eq!((row.trace_id.len(), row.span_id.as_str()), (32, ""));
        assert_eq!(row.attributes, [("other".to_owned(), "x".to_owned())]);
        let policy = policy();
        let (row, _) = made(&record, Origin::Tenant(&policy)).unwrap();
        assert_eq!((row.tenant_id.as_str(), row.key_id.as_str(), row.retention_days), ("acme", "", 7));
    }

    #[test]
    fn without_an_id_the_content_is_the_id() {
        let record = |text: &str| LogRecord {
            time_unix_nano: NOW_NS,
            body: Some(AnyValue { value: Some(Value::StringValue(text.into())) }),
            ..LogRecord::default()
        };
        let policy = policy();
        let id = |text| made(&record(text), Origin::Tenant(&policy)).unwrap().0.event_id;
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
    }

    #[test]
    fn bad_ids_are_refused_and_missing_ones_are_not() {
        let policy = policy();
        let with = |trace_id: Vec<u8>, span_id: Vec<u8>| {
            let record = LogRecord { trace_id, span_id, time_unix_nano: NOW_NS, ..LogRecord::default() };
            made(&record, Origin::Tenant(&policy)).map(|(row, _)| (row.trace_id, row.span_id))
        };
        assert_eq!(with(vec![], vec![0; 8]), Ok((String::new(), String::new())));
        assert_eq!(with(vec![1; 5], vec![]), Err(Rejected::LogTraceId));
        assert_eq!(with(vec![1; 16], vec![0; 3]), Err(Rejected::LogSpanId));
        assert_eq!(made(&LogRecord::default(), SERVICE).map(|_| ()), Err(Rejected::Tenant));
    }

    #[test]
    fn a_large_record_is_cut_and_a_broken_clock_is_mended() {
        let policy = policy();
        let record = LogRecord {
            time_unix_nano: 5,
            body: Some(AnyValue { value: Some(Value::StringValue("x".repeat(20_000))) }),
            attributes: vec![attribute("long", &"y".repeat(9_000)), attribute("short", "s")],
            ..LogRecord::default()
        };
        let (row, tally) = made(&record, Origin::Tenant(&policy)).unwrap();
        assert_eq!((row.body.as_str(), row.time), ("", NOW.unix_nanos()));
        assert!(row.attributes.iter().any(|(key, _)| key == "short"));
        assert!(row.attributes.iter().any(|(_, text)| text.contains("body")), "{:?}", row.attributes);
        assert_eq!((tally.truncated_spans, tally.moved_spans), (1, 1));
    }

    proptest! {
        #[test]
        fn any_record_is_a_row_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let policy = policy();
            if let Ok(record) = LogRecord::decode(&bytes[..]) {
                let _ = normalise_log(record, &bytes, &Source::default(), Origin::Tenant(&policy), LIMITS, NOW);
            }
        }
    }
}
