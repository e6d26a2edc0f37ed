//! From an OTLP span to its row: ids, time, kind, status, and the order in which the dialects are asked.

use super::draft::Draft;
use super::events::{self, Event};
use super::fields::Fields;
use super::limits::Limits;
use super::{Tally, control_tower, gen_ai, openinference, openllmetry, values, vercel, window};
use contracts::attributes::{control_tower as names, otel};
use contracts::policy::TenantPolicy;
use contracts::{TenantId, Timestamp};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use warehouse::SpanRow;

/// On whose word a span is taken.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// A tenant's own: its spans are its, and `control_tower.*` means nothing.
    Tenant(&'a TenantPolicy),
    /// A service of ours, which names the tenant of each span and fills our own columns.
    Service {
        /// Days to keep a span that does not say.
        default_retention_days: u16,
    },
}

/// Why a span cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Trace id.
    #[error("trace_id is not valid: expected 16 bytes, not all zero")]
    TraceId,
    /// Span id.
    #[error("span_id is not valid: expected 8 bytes, not all zero")]
    SpanId,
    /// A service's span that names no tenant.
    #[error(
        "control_tower.tenant.id is missing or not valid: expected a tenant id on each span and log record of a service"
    )]
    Tenant,
    /// A log record's trace id.
    #[error("trace_id is not valid: expected none, or 16 bytes")]
    LogTraceId,
    /// A log record's span id.
    #[error("span_id is not valid: expected none, or 8 bytes")]
    LogSpanId,
    /// Bytes that are no span and no log record.
    #[error("it is not valid protobuf")]
    Undecodable,
}

impl Rejected {
    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TraceId | Self::LogTraceId => "trace_id",
            Self::SpanId | Self::LogSpanId => "span_id",
            Self::Tenant => "tenant",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Resource and scope of a group of spans, prepared once.
#[derive(Debug, Clone, Default)]
pub struct Source {
    service_name: String,
    resource_attributes: Vec<(String, String)>,
    scope_name: String,
    scope_version: String,
    scope_attributes: Vec<(String, String)>,
}

impl Source {
    /// Prepares a resource.
    pub fn resource(resource: Option<Resource>, limits: Limits, tally: &mut Tally) -> Self {
        let Some(mut resource) = resource else { return Self::default() };
        limits.cut_shared(&mut resource.attributes, tally);
        let mut fields = Fields::new(resource.attributes);
        let service_name = fields.take_text(otel::SERVICE_NAME).unwrap_or_default();
        let mut resource_attributes = fields.into_texts();
        dropped(&mut resource_attributes, "otel.dropped_attributes_count", resource.dropped_attributes_count);
        Self { service_name, resource_attributes, ..Self::default() }
    }

    /// The same resource with a scope.
    #[must_use]
    pub fn with_scope(&self, scope: Option<InstrumentationScope>, limits: Limits, tally: &mut Tally) -> Self {
        let Some(mut scope) = scope else { return self.clone() };
        limits.cut_shared(&mut scope.attributes, tally);
        let texts = Fields::new(scope.attributes).into_texts();
        Self {
            scope_name: scope.name,
            scope_version: scope.version,
            scope_attributes: texts
                .into_iter()
                .map(|(key, text)| (format!("otel.scope.{key}"), text))
                .collect(),
            ..self.clone()
        }
    }

    pub(super) fn service_name(&self) -> &str {
        &self.service_name
    }

    pub(super) fn scope_name(&self) -> &str {
        &self.scope_name
    }

    pub(super) fn scope_version(&self) -> &str {
        &self.scope_version
    }

    pub(super) fn scope_attributes(&self) -> &[(String, String)] {
        &self.scope_attributes
    }

    pub(super) fn resource_attributes(&self) -> &[(String, String)] {
        &self.resource_attributes
    }
}

/// Makes a row of a span of `size` encoded bytes that came in at `now`.
pub fn normalise(
    mut span: Span,
    size: usize,
    source: &Source,
    origin: Origin<'_>,
    limits: Limits,
    now: Timestamp,
) -> Result<(SpanRow, Tally), Rejected> {
    let trace_id = hex_id::<16>(&span.trace_id).ok_or(Rejected::TraceId)?;
    let span_id = hex_id::<8>(&span.span_id).ok_or(Rejected::SpanId)?;
    let mut tally = Tally::default();
    limits.cut_span(&mut span, size, &mut tally);
    let mut draft = Draft { row: SpanRow::default(), fields: Fields::new(span.attributes), tally };
    // Ours to say.
    draft.fields.take(window::ORIGINAL_START);
    let retention_days = owner(&mut draft, origin)?;
    let placed = window::place(span.start_time_unix_nano, span.end_time_unix_nano, now, retention_days);
    draft.tally.moved_spans += u64::from(placed.moved);
    draft.tally.negative_durations += u64::from(placed.negative);
    let (status, status_message) = status(span.status);
    draft.row = SpanRow {
        trace_id,
        span_id,
        parent_span_id: hex_id::<8>(&span.parent_span_id).unwrap_or_default(),
        start_time: placed.start_ns,
        duration_ns: placed.duration_ns,
        trace_state: span.trace_state,
        name: span.name,
        kind: kind(span.kind).to_owned(),
        status: status.to_owned(),
        status_message,
        service_name: source.service_name.clone(),
        scope_name: source.scope_name.clone(),
        scope_version: source.scope_version.clone(),
        resource_attributes: source.resource_attributes.clone(),
        ..draft.row
    };
    let events: Vec<Event> = span.events.into_iter().map(event).collect();
    dialects(&mut draft, events, origin, &placed);
    if draft.row.retention_days == 0 {
        draft.row.retention_days = retention_days;
    }
    if placed.moved {
        draft.fields.put(window::ORIGINAL_START, Value::StringValue(span.start_time_unix_nano.to_string()));
    }
    links(&mut draft, span.links);
    let Draft { mut row, fields, mut tally } = draft;
    for (key, text) in fields.into_texts() {
        tally.unknown(&key);
        row.span_attributes.push((key, text));
    }
    row.span_attributes.extend(source.scope_attributes.iter().cloned());
    dropped(&mut row.span_attributes, "otel.dropped_attributes_count", span.dropped_attributes_count);
    dropped(&mut row.span_attributes, "otel.dropped_events_count", span.dropped_events_count);
    dropped(&mut row.span_attributes, "otel.dropped_links_count", span.dropped_links_count);
    Ok((row, tally))
}

/// Sets the tenant and returns the days to keep the span: as the tenant's policy or our own service says.
fn owner(draft: &mut Draft, origin: Origin<'_>) -> Result<u16, Rejected> {
    match origin {
        Origin::Tenant(policy) => {
            policy.id.as_str().clone_into(&mut draft.row.tenant_id);
            Ok(policy.retention_days)
        }
        Origin::Service { default_retention_days } => {
            let named =
                draft.fields.take_text(names::TENANT_ID).and_then(|text| text.parse::<TenantId>().ok());
            draft.row.tenant_id = named.ok_or(Rejected::Tenant)?.into();
            let says = draft.fields.get(names::RETENTION_DAYS).and_then(control_tower::small);
            Ok(says.filter(|days| *days > 0).unwrap_or(default_retention_days))
        }
    }
}

/// Asks the dialects in the order of their authority.
fn dialects(draft: &mut Draft, events: Vec<Event>, origin: Origin<'_>, placed: &window::Placed) {
    gen_ai::main(draft);
    if matches!(origin, Origin::Service { .. }) {
        control_tower::apply(draft);
    }
    let events = events::apply(draft, events, placed.start_ns);
    gen_ai::older(draft);
    openinference::apply(draft);
    openllmetry::apply(draft);
    vercel::apply(draft);
    gen_ai::general(draft);
    events::error_type(draft, &events);
    for event in events {
        draft.row.event_time_ns.push(event.time_ns);
        draft.row.event_name.push(event.name);
        draft.row.event_attributes.push(event.fields.into_texts());
    }
}

fn event(event: opentelemetry_proto::tonic::trace::v1::span::Event) -> Event {
    Event {
        time_ns: i64::try_from(event.time_unix_nano).unwrap_or(i64::MAX),
        name: event.name,
        fields: Fields::new(event.attributes),
    }
}

/// Links have columns for their ids; attributes and state of a link become an attribute of the span.
fn links(draft: &mut Draft, links: Vec<Link>) {
    for (index, link) in links.into_iter().enumerate() {
        draft.row.link_trace_id.push(hex_id::<16>(&link.trace_id).unwrap_or_default());
        draft.row.link_span_id.push(hex_id::<8>(&link.span_id).unwrap_or_default());
        if !link.attributes.is_empty() {
            let attributes = values::json(&list(link.attributes)).to_string();
            draft.fields.put(&format!("otel.links.{index}.attributes"), Value::StringValue(attributes));
        }
        if !link.trace_state.is_empty() {
            draft
                .fields
                .put(&format!("otel.links.{index}.trace_state"), Value::StringValue(link.trace_state));
        }
    }
}

fn list(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList { values })
}

/// An id of `N` bytes as hex digits, unless it is of another length or all zero.
pub(super) fn hex_id<const N: usize>(bytes: &[u8]) -> Option<String> {
    (bytes.len() == N && bytes.iter().any(|byte| *byte != 0)).then(|| hex::encode(bytes))
}

fn kind(kind: i32) -> &'static str {
    match SpanKind::try_from(kind) {
        Ok(SpanKind::Internal) => "internal",
        Ok(SpanKind::Server) => "server",
        Ok(SpanKind::Client) => "client",
        Ok(SpanKind::Producer) => "producer",
        Ok(SpanKind::Consumer) => "consumer",
        Ok(SpanKind::Unspecified) | Err(_) => "unspecified",
    }
}

fn status(status: Option<Status>) -> (&'static str, String) {
    let Some(status) = status else { return ("unset", String::new()) };
    let code = match StatusCode::try_from(status.code) {
        Ok(StatusCode::Ok) => "ok",
        Ok(StatusCode::Error) => "error",
        Ok(StatusCode::Unset) | Err(_) => "unset",
    };
    (code, status.message)
}

/// What the sender itself says that it dropped.
pub(super) fn dropped(attributes: &mut Vec<(String, String)>, key: &str, count: u32) {
    if count > 0 {
        attributes.push((key.to_owned(), count.to_string()));
    }
}
