//! Whatever the spans are, the bytes say what `opentelemetry-otlp` would send for them.

use super::*;
use http::{Request as HttpRequest, Response};
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value as SdkValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

const NAMES: [&str; 4] = ["gen_ai.request.model", "control_tower.cost.total", "a", ""];
const ERRORS: [&str; 2] = ["upstream_timeout", ""];

/// What a span may be.
#[derive(Debug, Clone)]
struct Span {
    ids: ([u8; 16], [u8; 8], [u8; 8]),
    state: Option<(String, String)>,
    is_remote: bool,
    name: String,
    is_server: bool,
    started: i64,
    took: u64,
    error: Option<&'static str>,
    attributes: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    Double(f64),
    Flag(bool),
}

/// Takes spans as the SDK has them.
#[derive(Default)]
struct Sdk(Vec<SpanData>);

impl Spans for Sdk {
    type Attributes = Vec<KeyValue>;

    fn span(&mut self, head: &Head<'_>, fill: impl FnOnce(&mut Vec<KeyValue>)) {
        let mut attributes = Vec::new();
        fill(&mut attributes);
        let nanos = u64::try_from(head.started.unix_nanos()).unwrap();
        let start_time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        let state = head.trace_state.clone();
        self.0.push(SpanData {
            span_context: SpanContext::new(head.trace, head.span, TraceFlags::SAMPLED, false, state),
            parent_span_id: head.parent,
            parent_span_is_remote: head.parent_is_remote,
            span_kind: if head.kind == Kind::Server { SpanKind::Server } else { SpanKind::Client },
            name: head.name.to_owned().into(),
            start_time,
            end_time: start_time + head.took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: head.error.map_or(Status::Ok, Status::error),
            instrumentation_scope: InstrumentationScope::builder(SCOPE).build(),
        });
    }
}

impl Attributes for Vec<KeyValue> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.push(KeyValue::new(name, value.to_owned()));
    }

    fn texts(&mut self, name: &'static str, values: &[&str]) {
        let values = values.iter().map(|value| StringValue::from((*value).to_owned())).collect();
        self.push(KeyValue::new(name, SdkValue::Array(Array::String(values))));
    }

    fn int(&mut self, name: &'static str, value: i64) {
        self.push(KeyValue::new(name, value));
    }

    fn double(&mut self, name: &'static str, value: f64) {
        self.push(KeyValue::new(name, value));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.push(KeyValue::new(name, value));
    }
}

/// Keeps what it is asked to send.
#[derive(Debug, Clone, Default)]
struct Catch(Arc<Mutex<Bytes>>);

impl HttpClient for Catch {
    fn send_bytes<'s, 'a>(
        &'s self,
        request: HttpRequest<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>
    where
        's: 'a,
        Self: 'a,
    {
        *self.0.lock().unwrap() = request.into_body();
        Box::pin(async { Ok(Response::new(Bytes::new())) })
    }
}

/// What `opentelemetry-otlp` sends.
fn exported(resource: &[(&'static str, &str)], spans: Vec<SpanData>) -> Bytes {
    let caught = Catch::default();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(caught.clone())
        .with_endpoint("http://127.0.0.1:1/v1/traces")
        .build()
        .unwrap();
    let attributes = resource.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
    exporter.set_resource(&opentelemetry_sdk::Resource::builder_empty().with_attributes(attributes).build());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(exporter.export(spans)).unwrap();
    caught.0.lock().unwrap().clone()
}

fn write(to: &mut impl Spans, spans: &[Span]) {
    for span in spans {
        let state =
            span.state.clone().map_or(TraceState::NONE, |pair| TraceState::from_key_value([pair]).unwrap());
        let head = Head {
            trace: TraceId::from_bytes(span.ids.0),
            span: SpanId::from_bytes(span.ids.1),
            trace_state: &state,
            parent: SpanId::from_bytes(span.ids.2),
            parent_is_remote: span.is_remote,
            name: &span.name,
            kind: if span.is_server { Kind::Server } else { Kind::Client },
            started: Timestamp::from_unix_nanos(span.started),
            took: Duration::from_nanos(span.took),
            error: span.error,
        };
        to.span(&head, |put| {
            for (name, value) in &span.attributes {
                match value {
                    Value::Text(text) => put.text(name, text),
                    Value::Texts(texts) => {
                        put.texts(name, &texts.iter().map(String::as_str).collect::<Vec<_>>());
                    }
                    Value::Int(int) => put.int(name, *int),
                    Value::Double(double) => put.double(name, *double),
                    Value::Flag(flag) => put.flag(name, *flag),
                }
            }
        });
    }
}

/// The message in `bytes`; the SDK keeps a resource's attributes in no order.
fn decoded(bytes: Bytes) -> ExportTraceServiceRequest {
    let mut message = ExportTraceServiceRequest::decode(bytes).unwrap();
    for resource in message.resource_spans.iter_mut().filter_map(|spans| spans.resource.as_mut()) {
        resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    }
    message
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => ".{0,200}",
        // Lengths of two, three and four bytes.
        1 => (0_usize..70_000).prop_map(|len| "é".repeat(len)),
        1 => Just("x".repeat(2_100_000)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::Text),
        2 => vec(".{0,30}", 0..8).prop_map(Value::Texts),
        2 => any::<i64>().prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Double),
        1 => any::<bool>().prop_map(Value::Flag),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let parent = prop_oneof![Just([0; 8]), any::<[u8; 8]>()];
    let what =
        (".{0,40}", any::<bool>(), any::<bool>(), proptest::option::of(proptest::sample::select(&ERRORS)));
    let state = proptest::option::of(("[a-z]{1,8}", "[a-zA-Z0-9]{1,20}"));
    let attributes = vec((proptest::sample::select(&NAMES), value()), 0..12);
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), parent);
    (ids, state, what, 0..i64::MAX / 2, 0_u64..1 << 50, attributes).prop_map(
        |(ids, state, (name, is_remote, is_server, error), started, took, attributes)| Span {
            ids,
            state,
            is_remote,
            name,
            is_server,
            started,
            took,
            error,
            attributes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_bytes_say_what_the_exporter_would(spans in vec(span(), 1..5), instance in ".{0,40}") {
        let resource = [("service.name", "gateway"), ("service.instance.id", instance.as_str())];
        let (mut ours, mut sdk) = (Request::new(&Resource::new(&resource)), Sdk::default());
        write(&mut ours, &spans);
        write(&mut sdk, &spans);
        prop_assert_eq!(decoded(ours.finish()), decoded(exported(&resource, sdk.0)));
    }
}

#[test]
fn requests_one_after_another_are_one_request() {
    let resource = Resource::new(&[("service.name", "gateway")]);
    let bytes: Vec<u8> = (0..3).flat_map(|_| Request::new(&resource).finish()).collect();
    assert_eq!(decoded(bytes.into()).resource_spans.len(), 3);
}
