//! Who a request is: its id, its place in a trace, and when it came.

use contracts::Timestamp;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::net::IpAddr;
use tokio::time::Instant;

/// Draws ids. Tests may give their own generator.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    random: RandomIdGenerator,
}

/// Facts about one request that hold from its first byte on.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// `x-request-id`: `req_` and 32 hex digits.
    pub(crate) request_id: String,
    /// The SERVER span.
    pub(crate) span: SpanContext,
    /// The client's span, when it sent a `traceparent`.
    pub(crate) parent: SpanId,
    /// Whose connection it came by.
    pub(crate) peer: IpAddr,
    /// Time of day.
    pub(crate) started: Timestamp,
    /// The same moment, to measure from.
    pub(crate) at: Instant,
}

impl Ids {
    /// The id of another span.
    pub(crate) fn span(&self) -> SpanId {
        self.random.new_span_id()
    }

    /// Identifies a request; joins the client's trace when `headers` name one.
    pub(crate) fn identify(&self, headers: &HeaderMap, peer: IpAddr, now: Timestamp) -> Identity {
        let remote = headers.contains_key("traceparent").then(|| remote(headers)).flatten();
        let (trace, parent, state) = match remote {
            Some(context) => (context.trace_id(), context.span_id(), context.trace_state().clone()),
            None => (self.random.new_trace_id(), SpanId::INVALID, TraceState::NONE),
        };
        Identity {
            request_id: hex("req_", &self.random.new_trace_id().to_bytes()),
            span: SpanContext::new(trace, self.span(), TraceFlags::SAMPLED, false, state),
            parent,
            peer,
            started: now,
            at: Instant::now(),
        }
    }
}

fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    use opentelemetry::propagation::TextMapPropagator;
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

impl Identity {
    /// The trace.
    pub(crate) fn trace_id(&self) -> TraceId {
        self.span.trace_id()
    }

    /// The trace, 32 hex digits.
    pub(crate) fn trace_hex(&self) -> String {
        hex("", &self.trace_id().to_bytes())
    }

    /// The `traceparent` that makes `span` the parent of what the upstream does.
    pub(crate) fn traceparent(&self, span: SpanId) -> Option<HeaderValue> {
        let mut value = hex("00-", &self.trace_id().to_bytes());
        value.push_str(&hex("-", &span.to_bytes()));
        value.push_str("-01");
        HeaderValue::try_from(value).ok()
    }
}

/// `prefix`, and then `bytes` in hex digits. A call needs five such texts, and the standard formatter takes its time.
fn hex(prefix: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    text.push_str(prefix);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_joins_the_trace_of_its_client() {
        let mut headers = HeaderMap::new();
        let peer = IpAddr::from([127, 0, 0, 1]);
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert("traceparent", HeaderValue::from_static(parent));
        let identity = Ids::default().identify(&headers, peer, Timestamp::default());
        assert_eq!(format!("{:032x}", identity.trace_id()), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(format!("{:016x}", identity.parent), "00f067aa0ba902b7");
        let onward = identity.traceparent(identity.span.span_id()).unwrap();
        let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", identity.span.span_id());
        assert_eq!(onward.to_str().unwrap(), expected);
        assert_eq!(identity.trace_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");

        headers.insert("traceparent", HeaderValue::from_static("garbage"));
        assert_eq!(Ids::default().identify(&headers, peer, Timestamp::default()).parent, SpanId::INVALID);
    }
}
