//! An export request, read one level at a time: its spans stay encoded until each is decoded on its own, so a broken span is
//! rejected alone and the size of each is known before it is unfolded.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// `ExportTraceServiceRequest`, to the depth of spans.
#[derive(Clone, PartialEq, Message)]
pub struct TraceRequest {
    /// Spans by resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// `ResourceSpans`.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// Where they come from.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Spans by scope.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// `ScopeSpans`.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// What made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// Each an encoded `Span`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub spans: Vec<Bytes>,
}

/// Reads protobuf.
pub fn from_protobuf(body: Bytes) -> Result<TraceRequest, String> {
    TraceRequest::decode(body)
        .map_err(|error| format!("the body is not a valid ExportTraceServiceRequest: {error}"))
}

/// Reads OTLP's JSON: camelCase names, ids as hex digits, enums as numbers.
pub fn from_json(body: &[u8]) -> Result<TraceRequest, String> {
    let request: ExportTraceServiceRequest = serde_json::from_slice(body).map_err(|error| {
        format!("the body is not a valid ExportTraceServiceRequest in OTLP's JSON encoding: {error}")
    })?;
    // One path from here on; JSON is not the fast one.
    from_protobuf(request.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(body in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = from_json(&body);
            let _ = from_protobuf(body.into());
        }

        #[test]
        fn any_text_is_a_request_or_an_error(body in r#"\{"resourceSpans":\[.{0,200}"#) {
            let _ = from_json(body.as_bytes());
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut body =
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":"#.to_owned();
        body.push_str(&r#"{"arrayValue":{"values":["#.repeat(50_000));
        assert!(from_json(body.as_bytes()).is_err());
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
        assert!(from_protobuf(nested.into()).is_err());
    }
}
