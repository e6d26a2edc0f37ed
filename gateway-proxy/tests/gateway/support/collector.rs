//! A collector that keeps what it gets, or answers as told.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A span, made easy to look at.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "a trace's span is identified by a span id")]
pub struct Span {
    /// Name.
    pub name: String,
    /// Hex.
    pub trace_id: String,
    /// Hex.
    pub span_id: String,
    /// Hex.
    pub parent: String,
    /// As it came.
    pub trace_state: String,
    /// 2 server, 3 client.
    pub kind: i32,
    /// Nanoseconds.
    pub duration: u64,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
}

impl Span {
    /// An attribute, empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A log record, made easy to look at.
#[derive(Debug, Clone)]
pub struct Event {
    /// Name.
    pub name: String,
    /// Hex.
    pub trace_id: String,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An attribute, empty when absent.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Decides about a batch by its bytes.
type Judge = Box<dyn Fn(&[u8]) -> StatusCode + Send + Sync>;

struct Shared {
    spans: Mutex<Vec<Span>>,
    events: Mutex<Vec<Event>>,
    headers: Mutex<Vec<HeaderMap>>,
    judge: Judge,
}

/// A running collector.
pub struct Collector {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Collector {
    /// Accepts everything.
    pub async fn start() -> Self {
        Self::judging(|_| StatusCode::OK).await
    }

    /// Accepts what `judge` says 200 to.
    pub async fn judging(judge: impl Fn(&[u8]) -> StatusCode + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            spans: Mutex::default(),
            events: Mutex::default(),
            headers: Mutex::default(),
            judge: Box::new(judge),
        });
        let router = Router::new()
            .route("/v1/traces", post(take))
            .route("/v1/logs", post(take_logs))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, shared }
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.shared.spans.lock().unwrap().clone()
    }

    /// Waits until there are `count` events; returns them.
    pub async fn events(&self, count: usize) -> Vec<Event> {
        for _ in 0..1_000 {
            let events = self.shared.events.lock().unwrap().clone();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} events were expected");
    }

    /// The headers of the batches so far.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.shared.headers.lock().unwrap().clone()
    }

    /// Waits until there are `count` calls; returns them.
    pub async fn calls(&self, count: usize) -> Vec<Span> {
        for _ in 0..1_000 {
            let calls: Vec<Span> =
                self.spans().into_iter().filter(|s| s.get("control_tower.record") == "call").collect();
            if calls.len() >= count {
                return calls;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} calls were expected, there are {:?}", self.spans());
    }

    /// The only call.
    pub async fn call(&self) -> Span {
        self.calls(1).await.remove(0)
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = (shared.judge)(&body);
    if status.is_success() {
        let batch = ExportTraceServiceRequest::decode(body).expect("valid protobuf");
        shared.spans.lock().unwrap().extend(spans(batch));
        shared.headers.lock().unwrap().push(headers);
    }
    status
}

async fn take_logs(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let status = (shared.judge)(&body);
    if status.is_success() {
        let batch = ExportLogsServiceRequest::decode(body).expect("valid protobuf");
        let scopes = batch.resource_logs.into_iter().flat_map(|r| r.scope_logs);
        shared.events.lock().unwrap().extend(scopes.flat_map(|s| s.log_records).map(|record| {
            Event {
                name: record.event_name,
                trace_id: hex(&record.trace_id),
                time: record.time_unix_nano,
                attributes: record
                    .attributes
                    .into_iter()
                    .filter_map(|kv| Some((kv.key, text(kv.value?.value?))))
                    .collect(),
            }
        }));
    }
    status
}

fn spans(batch: ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = batch.resource_spans.into_iter().flat_map(|r| r.scope_spans);
    scopes
        .flat_map(|s| s.spans)
        .map(|span| Span {
            name: span.name,
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            trace_state: span.trace_state,
            kind: span.kind,
            duration: span.end_time_unix_nano - span.start_time_unix_nano,
            attributes: span
                .attributes
                .into_iter()
                .filter_map(|kv| Some((kv.key, text(kv.value?.value?))))
                .collect(),
        })
        .collect()
}

fn text(value: Value) -> String {
    match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::ArrayValue(array) => {
            let items: Vec<String> = array.values.into_iter().filter_map(|v| Some(text(v.value?))).collect();
            items.join(",")
        }
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
