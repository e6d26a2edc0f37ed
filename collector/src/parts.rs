//! How many parts an encoded message becomes, told before it is decoded.
//!
//! An empty part takes two bytes on the wire and a hundred in memory, so a bound on bytes alone bounds nothing: 64 MiB of empty
//! scopes, which compress to 64 KiB, would be gigabytes. A part is what can be there many times: a resource, scope, span, event,
//! link, attribute, or item of a list. Only tags and lengths are read for this.

use bytes::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint};

/// What a part takes in memory at most, bytes: the largest of them, in a list that has just grown to twice its size.
pub const PART_BYTES: usize = 256;

/// Deeper messages are not decoded either.
const MOST_DEPTH: u32 = 100;

/// The messages of OTLP that have parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ExportTraceServiceRequest` or `ExportLogsServiceRequest`, to the depth of spans or log records.
    Request,
    /// `Span`.
    Span,
    /// `LogRecord`.
    Log,
    /// `ResourceSpans` or `ResourceLogs`.
    OfResource,
    /// `ScopeSpans` or `ScopeLogs`.
    OfScope,
    /// `Resource`.
    Resource,
    /// `EntityRef` of a resource.
    Entity,
    /// `InstrumentationScope`.
    Scope,
    /// `Event` of a span.
    Event,
    /// `Link` of a span.
    Link,
    /// `KeyValue`.
    KeyValue,
    /// `AnyValue`.
    Any,
    /// `ArrayValue`.
    Array,
    /// `KeyValueList`.
    List,
    /// A text, or bytes.
    Leaf,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Kind {
    /// What is in a field, and whether each occurrence of it is a part of its own. Others are skipped when they are decoded.
    const fn field(self, number: u32) -> Option<(Self, bool)> {
        Some(match (self, number) {
            (Self::Request, 1) => (Self::OfResource, true),
            (Self::OfResource, 1) => (Self::Resource, false),
            (Self::OfResource, 2) => (Self::OfScope, true),
            (Self::OfScope, 1) => (Self::Scope, false),
            (Self::OfScope, 2) | (Self::Entity, 3 | 4) => (Self::Leaf, true),
            (Self::Resource, 3) => (Self::Entity, true),
            (Self::Span, 11) => (Self::Event, true),
            (Self::Span, 13) => (Self::Link, true),
            (Self::Resource | Self::List, 1)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Log, 6)
            | (Self::Span, 9) => (Self::KeyValue, true),
            (Self::KeyValue, 2) | (Self::Log, 5) => (Self::Any, false),
            (Self::Any, 5) => (Self::Array, false),
            (Self::Any, 6) => (Self::List, false),
            (Self::Array, 1) => (Self::Any, true),
            _ => return None,
        })
    }
}

/// The parts of a message; counting ends somewhere beyond `most`, or where it is no message any more, which decoding will say.
pub fn count(kind: Kind, encoded: &[u8], most: usize) -> usize {
    let mut parts = 0;
    // What was counted until then is what decoding would have made until then.
    let _decoding_says_so = add(kind, encoded, most, MOST_DEPTH, &mut parts);
    parts
}

/// A message without the fields that would bring it beyond `most` parts; `None` when it is not beyond.
pub fn thinned(kind: Kind, encoded: &Bytes, most: usize) -> Result<Option<Bytes>, Malformed> {
    // A part takes at least two bytes.
    if encoded.len() / 2 <= most || count(kind, encoded, most) <= most {
        return Ok(None);
    }
    let mut kept = Vec::new();
    let (mut parts, mut rest) = (0, &encoded[..]);
    while !rest.is_empty() {
        let before = rest;
        let (number, content) = next(&mut rest)?;
        let field = &before[..before.len() - rest.len()];
        let mut more = 0;
        if let Some(((kind, is_part), content)) = kind.field(number).zip(content) {
            more += usize::from(is_part);
            add(kind, content, most, MOST_DEPTH, &mut more)?;
        }
        if parts + more <= most {
            parts += more;
            kept.extend_from_slice(field);
        }
    }
    Ok(Some(kept.into()))
}

fn add(kind: Kind, encoded: &[u8], most: usize, depth: u32, parts: &mut usize) -> Result<(), Malformed> {
    let mut rest = encoded;
    while !rest.is_empty() && *parts <= most {
        let (number, content) = next(&mut rest)?;
        let Some(((kind, is_part), content)) = kind.field(number).zip(content) else { continue };
        *parts += usize::from(is_part);
        if kind != Kind::Leaf && depth > 0 {
            add(kind, content, most, depth - 1, parts)?;
        }
    }
    Ok(())
}

/// Takes a field off: its number, and its content when it has a length. What is in a group counts as if it were not.
fn next<'a>(rest: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>), Malformed> {
    let (number, wire) = decode_key(rest).map_err(|_| Malformed)?;
    let length = match wire {
        WireType::Varint => {
            decode_varint(rest).map_err(|_| Malformed)?;
            0
        }
        WireType::StartGroup | WireType::EndGroup => 0,
        WireType::ThirtyTwoBit => 4,
        WireType::SixtyFourBit => 8,
        WireType::LengthDelimited => decode_varint(rest).map_err(|_| Malformed)?,
    };
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (content, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok((number, (wire == WireType::LengthDelimited).then_some(content)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use proptest::prelude::*;
    use prost::Message;

    const MOST: usize = usize::MAX;

    fn entry(value: Option<Value>) -> KeyValue {
        KeyValue { key: "k".into(), value: Some(AnyValue { value }), ..KeyValue::default() }
    }

    fn span() -> Span {
        let any = || AnyValue { value: Some(Value::IntValue(1)) };
        let array = Value::ArrayValue(ArrayValue { values: vec![any(), any(), any()] });
        let list = Value::KvlistValue(KeyValueList { values: vec![entry(None), entry(Some(array))] });
        Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            // 1, and within it 2 and 3.
            attributes: vec![entry(Some(list))],
            events: vec![Event { attributes: vec![entry(None)], ..Event::default() }],
            links: vec![Link { attributes: vec![entry(None)], ..Link::default() }, Link::default()],
            ..Span::default()
        }
    }

    #[test]
    fn every_part_counts_wherever_it_is() {
        assert_eq!(count(Kind::Span, &span().encode_to_vec(), MOST), 6 + 2 + 3);
        let scope_spans = vec![ScopeSpans { spans: vec![span(), span()], ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes: vec![entry(None)], ..Resource::default() });
        let of_resource = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        let request = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
            resource_spans: vec![of_resource, ResourceSpans::default()],
        };
        // Two resources, an attribute, a scope and two spans, whose own parts count when each is decoded.
        assert_eq!(count(Kind::Request, &request.encode_to_vec(), MOST), 2 + 1 + 1 + 2);
    }

    #[test]
    fn a_part_takes_less_memory_than_is_said() {
        let largest = [size_of::<KeyValue>(), size_of::<Link>(), size_of::<Event>(), size_of::<AnyValue>()];
        let of_requests = [
            size_of::<crate::receive::OfResource>(),
            size_of::<crate::receive::OfScope>(),
            size_of::<Bytes>(),
        ];
        for size in [largest.as_slice(), &of_requests].concat() {
            assert!(2 * size <= PART_BYTES, "{size}");
        }
    }

    #[test]
    fn what_goes_beyond_is_left_out_and_the_rest_stays() {
        let mut span = span();
        span.links = vec![Link::default(); 1_000];
        span.name = "after the links".into();
        let encoded = Bytes::from(span.encode_to_vec());
        assert_eq!(thinned(Kind::Span, &encoded, 2_000), Ok(None));
        let thin = Span::decode(thinned(Kind::Span, &encoded, 100).unwrap().unwrap()).unwrap();
        assert_eq!((thin.links.len(), &thin.name, &thin.trace_id), (92, &span.name, &span.trace_id));
        assert_eq!((thin.attributes, thin.events), (span.attributes, span.events));
    }

    #[test]
    fn counting_ends_beyond_the_bound() {
        assert_eq!(count(Kind::Request, &[0x0a, 0].repeat(1_000), 10), 11);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_counted_and_thinned(bytes in prop::collection::vec(any::<u8>(), 0..600), most in 0_usize..20) {
            let bytes = Bytes::from(bytes);
            for kind in [Kind::Request, Kind::Span, Kind::Log] {
                let _ = count(kind, &bytes, most);
                if let Ok(Some(thin)) = thinned(kind, &bytes, most) {
                    prop_assert!(count(kind, &thin, MOST) <= most);
                }
            }
        }

        #[test]
        fn no_more_is_decoded_than_was_counted(bytes in prop::collection::vec(prop::sample::select(vec![
            0x4a_u8, 0x5a, 0x6a, 0x00, 0x02, 0x04, 0x0a, 0x12, 0x2a, 0x32, 0x08, 0x01,
        ]), 0..200)) {
            if let Ok(span) = Span::decode(&bytes[..]) {
                let decoded = span.attributes.len() + span.events.len() + span.links.len();
                prop_assert!(decoded <= count(Kind::Span, &bytes, MOST));
            }
        }
    }
}
