//! Sizes that one span, resource or scope may have. What is larger is cut down to its metadata: long values go, names, ids,
//! times, counts and short values stay, and the row says what was cut.

use super::Tally;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Values up to this size survive a cut.
const SHORT_VALUE: usize = 1024;
/// Attributes, events and links that survive a cut, of each.
const KEPT_ITEMS: usize = 256;
/// A resource or a scope is copied to each of its spans, so it is held shorter.
const SHARED_BYTES: usize = 64 * 1024;
/// Names and other texts that are no attributes.
const SHORT_TEXT: usize = 4096;

/// The attribute that lists what was cut off a span: a JSON array of attribute names.
pub(super) const CUT: &str = "control_tower.truncated";

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest span, as encoded in protobuf.
    pub max_span: usize,
}

impl Limits {
    /// Most events, links, attributes and items of lists in a span or log record. Numbers of a vector take eleven bytes each, so
    /// that a span has more only if next to nothing is in them.
    pub const fn most_parts(self) -> usize {
        self.max_span / 16
    }

    /// Cuts a span down when it is too large. `size` is its encoded size.
    pub(super) fn cut_span(self, span: &mut Span, size: usize, tally: &mut Tally) {
        shorten(&mut span.name, SHORT_TEXT, tally);
        shorten(&mut span.trace_state, SHORT_TEXT, tally);
        if size <= self.max_span {
            return;
        }
        tally.truncated_spans += 1;
        if let Some(status) = &mut span.status {
            shorten(&mut status.message, SHORT_TEXT, tally);
        }
        let mut cut = Cut::default();
        cut.attributes(&mut span.attributes);
        cut.items(&mut span.events, "events");
        cut.items(&mut span.links, "links");
        for event in &mut span.events {
            shorten(&mut event.name, SHORT_TEXT, tally);
            cut.attributes(&mut event.attributes);
        }
        for link in &mut span.links {
            shorten(&mut link.trace_state, SHORT_TEXT, tally);
            cut.attributes(&mut link.attributes);
        }
        tally.truncated_bytes += cut.bytes;
        cut.tell(&mut span.attributes);
    }

    /// Cuts a log record down when it is too large, as a span is. `size` is its encoded size.
    pub(super) fn cut_log(self, record: &mut LogRecord, size: usize, tally: &mut Tally) {
        if size <= self.max_span {
            return;
        }
        tally.truncated_spans += 1;
        let mut cut = Cut::default();
        cut.attributes(&mut record.attributes);
        let body = record.body.as_ref().map_or(0, Message::encoded_len);
        if body > SHORT_VALUE {
            record.body = None;
            cut.names.push("body".to_owned());
            cut.bytes += body as u64;
        }
        tally.truncated_bytes += cut.bytes;
        cut.tell(&mut record.attributes);
    }

    /// Cuts attributes that many spans share.
    #[expect(clippy::unused_self, reason = "reads as a limit at the call")]
    pub(super) fn cut_shared(self, attributes: &mut Vec<KeyValue>, tally: &mut Tally) {
        let size: usize = attributes.iter().map(Message::encoded_len).sum();
        if size > SHARED_BYTES {
            let mut cut = Cut::default();
            cut.attributes(attributes);
            // Many short ones are too much as well.
            let mut kept = 0;
            attributes.retain(|attribute| {
                kept += attribute.encoded_len();
                let fits = kept <= SHARED_BYTES;
                cut.bytes += if fits { 0 } else { attribute.encoded_len() as u64 };
                fits
            });
            tally.truncated_bytes += cut.bytes;
        }
    }
}

#[derive(Default)]
struct Cut {
    names: Vec<String>,
    bytes: u64,
}

impl Cut {
    fn attributes(&mut self, attributes: &mut Vec<KeyValue>) {
        attributes.retain(|attribute| {
            let size = attribute.encoded_len();
            let short = size <= SHORT_VALUE;
            if !short {
                let mut name = attribute.key.clone();
                name.truncate(name.floor_char_boundary(128));
                self.names.push(name);
                self.bytes += size as u64;
            }
            short
        });
        self.items(attributes, "attributes");
    }

    /// Says in attributes what was cut off.
    fn tell(mut self, attributes: &mut Vec<KeyValue>) {
        self.names.sort_unstable();
        self.names.dedup();
        self.names.truncate(KEPT_ITEMS);
        let names = serde_json::Value::from(self.names).to_string();
        attributes.push(attribute(CUT, Value::StringValue(names)));
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let key = contracts::attributes::control_tower::CONTENT_TRUNCATED_BYTES;
        attributes.push(attribute(key, Value::IntValue(bytes)));
    }

    fn items<T: Message>(&mut self, items: &mut Vec<T>, what: &str) {
        if items.len() > KEPT_ITEMS {
            self.names.push(format!("{} {what}", items.len() - KEPT_ITEMS));
            self.bytes += items.drain(KEPT_ITEMS..).map(|item| item.encoded_len() as u64).sum::<u64>();
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Cuts a text to at most `most` bytes, at a character's boundary.
fn shorten(text: &mut String, most: usize, tally: &mut Tally) {
    if text.len() > most {
        let end = text.floor_char_boundary(most);
        tally.truncated_bytes += (text.len() - end) as u64;
        text.truncate(end);
    }
}
