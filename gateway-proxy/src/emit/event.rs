//! What happened, other than a call, as an OTLP log record: one `ExportLogsServiceRequest`, as the shipper sends it.

use crate::config::Unknown;
use crate::identity::Identity;
use bytes::Bytes;
use contracts::Timestamp;
use contracts::attributes::{control_tower as ct, otel};
use contracts::policy::KeyPolicy;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// OTLP's `SEVERITY_NUMBER_INFO`.
const INFO: i32 = 9;

/// What is to be recorded.
#[derive(Debug)]
pub(crate) struct Event {
    /// Name of the event.
    pub(crate) name: &'static str,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// What makes several events one outcome.
    pub(crate) idempotency_key: Option<String>,
    /// 32 hex digits, or empty.
    pub(crate) trace: String,
    /// 16 hex digits, or empty.
    pub(crate) span: String,
    id: String,
    received: Timestamp,
    attributes: Vec<KeyValue>,
}

impl Event {
    /// An outcome, of the key's tenant, as this request said it. Every request is an event of its own; idempotency keys are told
    /// apart where outcomes are read.
    pub(crate) fn outcome(identity: &Identity, key: &KeyPolicy, unknown: Unknown) -> Self {
        let mut event = Self::new("", identity, key, identity.request_id.replacen("req_", "out_", 1));
        event.text(ct::OUTCOME_UNKNOWN, unknown.as_str().to_owned());
        event
    }

    /// Something that happened to a call of the key's tenant. `id` names it among all events of the tenant.
    pub(crate) fn new(name: &'static str, identity: &Identity, key: &KeyPolicy, id: String) -> Self {
        let mut event = Self {
            name,
            time: identity.started,
            idempotency_key: None,
            trace: String::new(),
            span: String::new(),
            id: id.clone(),
            received: identity.started,
            attributes: Vec::with_capacity(12),
        };
        event.text(ct::TENANT_ID, key.tenant.id.as_str().to_owned());
        event.text(ct::KEY_ID, key.id.as_str().to_owned());
        event.put(ct::RETENTION_DAYS, Value::IntValue(i64::from(key.tenant.retention_days)));
        event.text(ct::EVENT_ID, id);
        event
    }

    pub(crate) fn text(&mut self, name: &str, value: String) {
        self.put(name, Value::StringValue(value));
    }

    pub(crate) fn double(&mut self, name: &str, value: f64) {
        self.put(name, Value::DoubleValue(value));
    }

    fn put(&mut self, name: &str, value: Value) {
        self.attributes.push(attribute(name, value));
    }

    /// What the client is told.
    pub(crate) fn answer(&self) -> String {
        let object = if self.name == ct::EVENT_ACTION { "action" } else { "feedback" };
        let answer = serde_json::json!({
            "id": self.id,
            "object": object,
            "status": "accepted",
            "idempotency_key": self.idempotency_key,
            "time": self.time.unix_seconds(),
        });
        answer.to_string()
    }

    /// As a record of the spool.
    pub(crate) fn encode(mut self) -> Bytes {
        if let Some(key) = self.idempotency_key.take() {
            self.text(ct::IDEMPOTENCY_KEY, key);
        }
        let nanos = |time: Timestamp| u64::try_from(time.unix_nanos()).unwrap_or(0);
        let record = LogRecord {
            time_unix_nano: nanos(self.time),
            observed_time_unix_nano: nanos(self.received),
            severity_number: INFO,
            severity_text: "INFO".to_owned(),
            event_name: self.name.to_owned(),
            trace_id: bytes_of(&self.trace),
            span_id: bytes_of(&self.span),
            attributes: self.attributes,
            ..LogRecord::default()
        };
        let service = |name, value: &str| attribute(name, Value::StringValue(value.to_owned()));
        let resource = Resource {
            attributes: vec![
                service(otel::SERVICE_NAME, "control-tower-gateway"),
                service(otel::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            ],
            ..Resource::default()
        };
        let scope =
            InstrumentationScope { name: "control-tower".to_owned(), ..InstrumentationScope::default() };
        let scope_logs =
            vec![ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() }];
        let resource_logs =
            vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }];
        ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The bytes of an id that was checked to be hex digits.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = hex.as_bytes().iter().filter_map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
