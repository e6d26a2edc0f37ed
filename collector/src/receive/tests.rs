//! The boundary as senders see it: real listeners, a real spool, and a store that keeps what it gets.

mod logs;
mod over_grpc;
mod over_http;
mod over_tls;

use crate::Config;
use crate::auth::SERVICE_KEY_HEADER;
use crate::row::{Key, Row};
use crate::run::Collector;
use crate::writer::Store;
use bytes::Bytes;
use contracts::Timestamp;
use contracts::policy::{KeyPolicy, Snapshot, TenantPolicy};
use control::SnapshotHandle;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use runtime::config::ByteSize;
use runtime::{Clock, Shutdown};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use warehouse::{EventRow, Failure, InsertError, SpanRow, WarehouseError};

const KEY: &str = "ct-tenant";
const SERVICE_KEY: &str = "a-service-key-of-at-least-32-characters";
const NOW_S: i64 = 1_790_000_000;

/// Keeps rows; takes none while it is down.
#[derive(Debug, Clone, Default)]
struct Kept {
    rows: Arc<Mutex<Vec<SpanRow>>>,
    events: Arc<Mutex<Vec<EventRow>>>,
    down: bool,
}

impl Store for Kept {
    async fn prepare(&self) -> Result<(), WarehouseError> {
        Ok(())
    }

    async fn insert(&self, rows: &[Row], _token: &str) -> Result<(), InsertError> {
        if self.down {
            let reason = Failure::Unreachable("down".into());
            return Err(InsertError::Retryable { reason, after: Duration::from_millis(10) });
        }
        self.rows.lock().unwrap().extend(rows.iter().filter_map(Row::span).cloned());
        self.events.lock().unwrap().extend(rows.iter().filter_map(Row::event).cloned());
        Ok(())
    }

    async fn existing(&self, _keys: &[Key]) -> Result<HashSet<Key>, WarehouseError> {
        Ok(HashSet::new())
    }

    async fn existing_within(
        &self,
        _keys: &[Key],
        _times: RangeInclusive<i64>,
    ) -> Result<HashSet<Key>, WarehouseError> {
        Ok(HashSet::new())
    }
}

/// A collector on free ports.
struct Tower {
    collector: Collector,
    shutdown: Shutdown,
    kept: Kept,
    _dir: tempfile::TempDir,
}

impl Tower {
    fn start() -> Self {
        Self::with(Kept::default(), |config| config)
    }

    fn with(kept: Kept, change: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = change(Config {
            grpc_listen: any,
            http_listen: any,
            spool_dir: dir.path().join("collector"),
            service_key: Some(SERVICE_KEY.into()),
            batch_linger: Duration::from_millis(5),
            drain_deadline: Duration::from_secs(5),
            max_request: ByteSize::mib(16),
            ..Config::default()
        });
        let tenant = |id: &str, capture_content| {
            let policy = TenantPolicy::new(id.parse().unwrap());
            Arc::new(TenantPolicy { retention_days: 7, capture_content, ..policy })
        };
        let mut snapshot = Snapshot { version: 1, ..Snapshot::default() };
        for (secret, tenant) in [(KEY, tenant("acme", true)), ("ct-discreet", tenant("discreet", false))] {
            let id = tenant.id.as_str().parse().unwrap();
            let policy = KeyPolicy::new(id, tenant);
            snapshot.keys.insert(control::secrets::hash(secret), Arc::new(policy));
        }
        let (shutdown, clock) = (Shutdown::manual(), Clock::manual(Timestamp::from_unix_seconds(NOW_S)));
        let snapshots = SnapshotHandle::fixed(snapshot);
        let collector =
            Collector::start(&config, kept.clone(), &snapshots, &clock, shutdown.clone()).unwrap();
        Self { collector, shutdown, kept, _dir: dir }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = http::Request::post(format!("http://{}{path}", self.collector.http_addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Posts protobuf with the tenant's key.
    async fn export(&self, request: &ExportTraceServiceRequest) -> Answer {
        let headers = [("authorization", "Bearer ct-tenant"), ("content-type", "application/x-protobuf")];
        self.post("/v1/traces", &headers, request.encode_to_vec()).await
    }

    /// Stops in order and returns the events that the store got, by id.
    async fn finish_with_events(self) -> Vec<EventRow> {
        let events = self.kept.events.clone();
        self.finish().await;
        let mut events = std::mem::take(&mut *events.lock().unwrap());
        events.sort_by(|a, b| a.event_id.cmp(&b.event_id));
        events
    }

    /// Stops in order and returns the spans that the store got, by name.
    async fn finish(self) -> Vec<SpanRow> {
        self.shutdown.trigger();
        self.collector.finished().await;
        let mut rows = std::mem::take(&mut *self.kept.rows.lock().unwrap());
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    fn protobuf<M: Message + Default>(&self) -> M {
        assert_eq!(self.headers["content-type"], "application/x-protobuf");
        M::decode(self.body.clone()).unwrap()
    }
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn span(number: u8, attributes: Vec<KeyValue>) -> Span {
    let now = u64::try_from(NOW_S).unwrap() * 1_000_000_000;
    Span {
        trace_id: vec![1; 16],
        span_id: vec![number; 8],
        name: format!("span {number}"),
        start_time_unix_nano: now - 1_000,
        end_time_unix_nano: now,
        attributes,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn names(rows: &[SpanRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}
