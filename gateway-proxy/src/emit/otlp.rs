//! Spans in OTLP's protobuf encoding, written in one pass.
//!
//! `opentelemetry-otlp` writes the same, by way of three models of a span with a hundred short strings each: that took a sixth of
//! all the time of a call (docs/decisions, 9). The tests hold this writer to it, message by message.

use bytes::Bytes;
use contracts::Timestamp;
use opentelemetry::trace::{SpanId, TraceId, TraceState};
use prost::encoding::{WireType, encode_varint, encoded_len_varint};
use std::time::Duration;

/// Bytes that a usual call takes with its content.
const USUAL: usize = 4096;

/// Bytes of a length that is put in later: enough for 32 GiB.
const LENGTH: usize = 5;

/// What OpenTelemetry calls the instrumentation scope.
pub(super) const SCOPE: &str = "control-tower";

/// `SpanFlags` of OTLP: sampled; it is known whether the parent is remote; it is.
const SAMPLED: u32 = 0x001;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Whether a span is of a request that came in or of one that went out. The numbers are OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Client = 3,
}

/// What a span is, its attributes aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) trace_state: &'a TraceState,
    /// [`SpanId::INVALID`] when there is none.
    pub(super) parent: SpanId,
    pub(super) parent_is_remote: bool,
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) started: Timestamp,
    pub(super) took: Duration,
    /// Class of the error, when there was one.
    pub(super) error: Option<&'static str>,
}

/// Takes spans.
pub(super) trait Spans {
    type Attributes: Attributes;

    /// One more span; `fill` puts its attributes.
    fn span(&mut self, head: &Head<'_>, fill: impl FnOnce(&mut Self::Attributes));
}

/// Takes the attributes of one span.
pub(super) trait Attributes {
    fn text(&mut self, name: &'static str, value: &str);
    fn texts(&mut self, name: &'static str, values: &[&str]);
    fn int(&mut self, name: &'static str, value: i64);
    fn double(&mut self, name: &'static str, value: f64);
    fn flag(&mut self, name: &'static str, value: bool);
}

/// An `ExportTraceServiceRequest` of one resource and one scope, written as it goes.
#[derive(Debug)]
pub(super) struct Request {
    to: Encoder,
    resource_spans: Open,
    scope_spans: Open,
}

/// Where a message begins whose length is not known yet.
#[derive(Debug, Clone, Copy)]
struct Open(usize);

/// The fields of one message.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

/// Who sends: `ResourceSpans.resource`, encoded.
#[derive(Debug)]
pub(super) struct Resource(Vec<u8>);

impl Resource {
    pub(super) fn new(attributes: &[(&'static str, &str)]) -> Self {
        let mut resource = Encoder::default();
        for (name, value) in attributes {
            let len = string_len(value.len());
            resource.key_value(1, name, len, |to| to.string(1, value));
        }
        Self(resource.0)
    }
}

impl Request {
    pub(super) fn new(resource: &Resource) -> Self {
        let mut to = Encoder(Vec::with_capacity(USUAL));
        let resource_spans = to.open_ended(1);
        to.bytes(1, &resource.0);
        let scope_spans = to.open_ended(2);
        to.open(1, string_len(SCOPE.len()));
        to.string(1, SCOPE);
        Self { to, resource_spans, scope_spans }
    }

    /// The whole message.
    pub(super) fn finish(mut self) -> Bytes {
        self.to.close(self.scope_spans);
        self.to.close(self.resource_spans);
        self.to.0.into()
    }
}

impl Spans for Request {
    type Attributes = Encoder;

    fn span(&mut self, head: &Head<'_>, fill: impl FnOnce(&mut Encoder)) {
        let to = &mut self.to;
        let span = to.open_ended(2);
        to.bytes(1, &head.trace.to_bytes());
        to.bytes(2, &head.span.to_bytes());
        if *head.trace_state != TraceState::NONE {
            to.string(3, &head.trace_state.header());
        }
        if head.parent != SpanId::INVALID {
            to.bytes(4, &head.parent.to_bytes());
        }
        to.string(5, head.name);
        to.varint(6, head.kind as u64);
        let start = u64::try_from(head.started.unix_nanos()).unwrap_or(0);
        let took = u64::try_from(head.took.as_nanos()).unwrap_or(u64::MAX);
        to.fixed64(7, start);
        to.fixed64(8, start.saturating_add(took));
        fill(to);
        to.status(head.error);
        let remote = if head.parent_is_remote { IS_REMOTE } else { 0 };
        to.fixed32(16, SAMPLED | HAS_IS_REMOTE | remote);
        to.close(span);
    }
}

impl Attributes for Encoder {
    fn text(&mut self, name: &'static str, value: &str) {
        self.attribute(name, string_len(value.len()), |to| to.string(1, value));
    }

    fn texts(&mut self, name: &'static str, values: &[&str]) {
        let array = values.iter().map(|value| message_len(string_len(value.len()))).sum();
        self.attribute(name, message_len(array), |to| {
            to.open(5, array);
            for value in values {
                to.open(1, string_len(value.len()));
                to.string(1, value);
            }
        });
    }

    fn int(&mut self, name: &'static str, value: i64) {
        // As protobuf wants it: the two's complement.
        let value = value.cast_unsigned();
        self.attribute(name, 1 + encoded_len_varint(value), |to| to.varint(3, value));
    }

    fn double(&mut self, name: &'static str, value: f64) {
        self.attribute(name, 1 + size_of::<u64>(), |to| to.fixed64(4, value.to_bits()));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.attribute(name, 2, |to| to.varint(2, u64::from(value)));
    }
}

impl Encoder {
    /// `Span.attributes`; `value` writes an `AnyValue` of `len` bytes.
    fn attribute(&mut self, name: &'static str, len: usize, value: impl FnOnce(&mut Self)) {
        self.key_value(9, name, len, value);
    }

    fn key_value(&mut self, field: u32, name: &str, len: usize, value: impl FnOnce(&mut Self)) {
        self.open(field, string_len(name.len()) + message_len(len));
        self.string(1, name);
        self.open(2, len);
        value(self);
    }

    /// `Span.status`.
    fn status(&mut self, error: Option<&str>) {
        const OK: u64 = 1;
        const ERROR: u64 = 2;
        let message = error.map_or(0, |error| string_len(error.len()));
        self.open(15, message + 2);
        if let Some(error) = error {
            self.string(2, error);
        }
        self.varint(3, if error.is_some() { ERROR } else { OK });
    }

    /// The beginning of a field of `len` bytes.
    fn open(&mut self, field: u32, len: usize) {
        self.key(field, WireType::LengthDelimited);
        self.number(len as u64);
    }

    /// The beginning of a field whose length [`Encoder::close`] will put in: in a number of [`LENGTH`] bytes whatever it is,
    /// which protobuf reads as well as the shortest form.
    fn open_ended(&mut self, field: u32) -> Open {
        self.key(field, WireType::LengthDelimited);
        self.0.extend_from_slice(&[0; LENGTH]);
        Open(self.0.len())
    }

    fn close(&mut self, open: Open) {
        let mut len = self.0.len() - open.0;
        for (at, byte) in self.0[open.0 - LENGTH..open.0].iter_mut().enumerate() {
            let more = if at + 1 < LENGTH { 0x80 } else { 0 };
            *byte = len.to_le_bytes()[0] & 0x7f | more;
            len >>= 7;
        }
    }

    #[inline]
    fn key(&mut self, field: u32, wire: WireType) {
        self.number(u64::from(field) << 3 | wire as u64);
    }

    #[inline]
    fn number(&mut self, value: u64) {
        // Nearly all numbers take one byte.
        match u8::try_from(value) {
            Ok(byte) if byte < 0x80 => self.0.push(byte),
            _ => encode_varint(value, &mut self.0),
        }
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.open(field, value.len());
        self.0.extend_from_slice(value);
    }

    fn string(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn varint(&mut self, field: u32, value: u64) {
        self.key(field, WireType::Varint);
        self.number(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, WireType::SixtyFourBit);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, WireType::ThirtyTwoBit);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// Bytes of a field below 16 that holds a text of `len` bytes.
fn string_len(len: usize) -> usize {
    message_len(len)
}

/// Bytes of a field below 16 that holds a message of `len` bytes.
fn message_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests;
