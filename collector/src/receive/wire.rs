//! An export request, read one level at a time: its spans or log records stay encoded until each is decoded on its own, so a broken
//! one is rejected alone and the size of each is known before it is unfolded. To this depth, requests of traces and of logs are one
//! message on the wire, and so are the answers to them. What a request becomes in memory is told, and bounded, before it is
//! decoded.

use super::Signal;
use crate::parts::{self, Kind, PART_BYTES};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// `ExportTraceServiceRequest` to the depth of spans, `ExportLogsServiceRequest` to that of log records.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    /// Items by resource.
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<OfResource>,
}

/// `ResourceSpans` or `ResourceLogs`.
#[derive(Clone, PartialEq, Message)]
pub struct OfResource {
    /// Where they come from.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Items by scope.
    #[prost(message, repeated, tag = "2")]
    pub scopes: Vec<OfScope>,
}

/// `ScopeSpans` or `ScopeLogs`.
#[derive(Clone, PartialEq, Message)]
pub struct OfScope {
    /// What made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// Each an encoded `Span` or `LogRecord`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub items: Vec<Bytes>,
}

/// Most resources, scopes, items and attributes of resources and scopes in a request.
const MOST_PARTS: usize = 100_000;
/// The same of JSON, where spans are decoded whole: objects and, as a list may have other items, commas.
const MOST_JSON: (usize, usize) = (500_000, 2_000_000);
/// What an object and a comma of JSON take in memory at most.
const JSON_BYTES: (usize, usize) = (512, 48);

/// A request is made of too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// In protobuf.
    #[error(
        "the request has more than {MOST_PARTS} resources, scopes, spans, log records and attributes of resources: expected fewer in a request"
    )]
    Parts,
    /// In JSON.
    #[error("the request has more than {} objects or {} commas: expected fewer spans in a request", MOST_JSON.0, MOST_JSON.1)]
    Json,
}

/// Bytes that decoding protobuf will take, beyond what its texts take.
pub fn weigh_protobuf(body: &[u8]) -> Result<usize, TooMany> {
    let parts = parts::count(Kind::Request, body, MOST_PARTS);
    if parts <= MOST_PARTS { Ok(parts * PART_BYTES) } else { Err(TooMany::Parts) }
}

/// The same of JSON.
pub fn weigh_json(body: &[u8]) -> Result<usize, TooMany> {
    let (mut objects, mut commas, mut in_text, mut escaped) = (0, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => objects += 1,
            b',' if !in_text => commas += 1,
            _ => {}
        }
    }
    let is_within = objects <= MOST_JSON.0 && commas <= MOST_JSON.1;
    if is_within { Ok(objects * JSON_BYTES.0 + commas * JSON_BYTES.1) } else { Err(TooMany::Json) }
}

/// Reads protobuf.
pub fn from_protobuf(signal: Signal, body: Bytes) -> Result<ExportRequest, String> {
    ExportRequest::decode(body)
        .map_err(|error| format!("the body is not a valid {}: {error}", signal.request_name()))
}

/// Reads OTLP's JSON: camelCase names, ids as hex digits, enums as numbers.
pub fn from_json(signal: Signal, body: &[u8]) -> Result<ExportRequest, String> {
    let encoded = match signal {
        Signal::Traces => {
            serde_json::from_slice::<ExportTraceServiceRequest>(body).map(|it| it.encode_to_vec())
        }
        Signal::Logs => serde_json::from_slice::<ExportLogsServiceRequest>(body).map(|it| it.encode_to_vec()),
    };
    let encoded = encoded.map_err(|error| {
        format!("the body is not a valid {} in OTLP's JSON encoding: {error}", signal.request_name())
    })?;
    if let Err(error) = weigh_protobuf(&encoded) {
        return Err(error.to_string());
    }
    // One path from here on; JSON is not the fast one.
    from_protobuf(signal, encoded.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(body in prop::collection::vec(any::<u8>(), 0..2048)) {
            for signal in [Signal::Traces, Signal::Logs] {
                let _ = from_json(signal, &body);
                let _ = from_protobuf(signal, body.clone().into());
            }
        }

        #[test]
        fn any_text_is_a_request_or_an_error(body in r#"\{"resource(Spans|Logs)":\[.{0,200}"#) {
            for signal in [Signal::Traces, Signal::Logs] {
                let _ = from_json(signal, body.as_bytes());
            }
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut body =
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":"#.to_owned();
        body.push_str(&r#"{"arrayValue":{"values":["#.repeat(50_000));
        assert!(from_json(Signal::Traces, body.as_bytes()).is_err());
        // An AnyValue in an ArrayValue in an AnyValue …, as attribute of a resource.
        let mut nested: Vec<u8> = Vec::new();
        for tag in [0x0a_u8, 0x2a].into_iter().cycle().take(2_000) {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(nested.len() as u64, &mut outer);
            outer.extend(nested);
            nested = outer;
        }
        for tag in [0x12_u8, 0x0a, 0x0a, 0x0a] {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(nested.len() as u64, &mut outer);
            outer.extend(nested);
            nested = outer;
        }
        assert!(from_protobuf(Signal::Traces, nested.into()).is_err());
    }
}
