//! A row as the spool holds it: one byte that names the format, one that says who sent it, then the row in postcard.
//!
//! Postcard knows no field names, so a change of [`SpanRow`](warehouse::SpanRow) changes the format: raise [`SPAN`] then, and keep a reader of
//! the one before, because an upgrade finds records of the old version in the spool; so it is with events and [`EVENT`]. A test pins
//! the bytes of a row.

use crate::row::Row;

/// The format in which spans are written.
const SPAN: u8 = 2;
/// The format in which events are written.
const EVENT: u8 = 0x81;

/// What the sender of a span says of whether it was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A tenant's program: its clock may be anywhere near.
    Tenant,
    /// A service of ours, on a machine whose clock we keep.
    Service,
    /// A service of ours that is not sure whether this request arrived before.
    ServiceAgain,
}

/// Why a record is not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Nothing, or a format of another version.
    #[error("record of format {0:?}: expected {SPAN} or {EVENT}")]
    Format(Option<u8>),
    /// Nobody that we know.
    #[error("record of sender {0:?}: expected 0, 1 or 2")]
    Sender(Option<u8>),
    /// The rest is not a row.
    #[error("record cannot be decoded")]
    Decode(#[from] postcard::Error),
}

/// A row as a record.
pub fn encode(row: &Row, sender: Sender) -> Result<Vec<u8>, postcard::Error> {
    let sender = match sender {
        Sender::Tenant => 0,
        Sender::Service => 1,
        Sender::ServiceAgain => 2,
    };
    match row {
        Row::Span(row) => postcard::to_extend(&**row, vec![SPAN, sender]),
        Row::Event(row) => postcard::to_extend(&**row, vec![EVENT, sender]),
    }
}

/// A record as a row and who sent it.
pub fn decode(record: &[u8]) -> Result<(Row, Sender), RecordError> {
    let Some((format @ (&SPAN | &EVENT), record)) = record.split_first() else {
        return Err(RecordError::Format(record.first().copied()));
    };
    let (sender, body) = match record.split_first() {
        Some((0, body)) => (Sender::Tenant, body),
        Some((1, body)) => (Sender::Service, body),
        Some((2, body)) => (Sender::ServiceAgain, body),
        other => return Err(RecordError::Sender(other.map(|(sender, _)| *sender))),
    };
    let row = if *format == SPAN {
        Row::Span(postcard::from_bytes(body)?)
    } else {
        Row::Event(postcard::from_bytes(body)?)
    };
    Ok((row, sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warehouse::{EventRow, SpanRow};

    fn row() -> Row {
        Row::from(span())
    }

    fn event() -> Row {
        Row::from(EventRow {
            tenant_id: "acme".into(),
            time: 1_790_000_000_000_000_000,
            event_id: "e1".into(),
            event_name: "control_tower.action".into(),
            severity_number: 9,
            attributes: vec![("a".into(), "b".into())],
            retention_days: 30,
            ..EventRow::default()
        })
    }

    fn span() -> SpanRow {
        SpanRow {
            tenant_id: "acme".into(),
            start_time: 1_790_000_000_000_000_000,
            duration_ns: 7,
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            span_id: "b7ad6b7169203331".into(),
            cost_total: -170_141_183_460_469_231_731_687_303_715_884_105_728,
            span_attributes: vec![("a".into(), "b".into())],
            event_time_ns: vec![1],
            event_name: vec!["e".into()],
            event_attributes: vec![vec![("k".into(), "v".into())]],
            retention_days: 30,
            ..SpanRow::default()
        }
    }

    #[test]
    fn a_row_round_trips() {
        for sender in [Sender::Tenant, Sender::Service, Sender::ServiceAgain] {
            assert_eq!(decode(&encode(&row(), sender).unwrap()).unwrap(), (row(), sender));
            assert_eq!(decode(&encode(&event(), sender).unwrap()).unwrap(), (event(), sender));
        }
    }

    #[test]
    fn the_format_has_not_changed_without_a_new_number() {
        // When this fails, SpanRow or EventRow changed: raise its number and keep decoding the format before.
        let digest = |row: &Row| {
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(encode(row, Sender::Tenant).unwrap()))
        };
        assert_eq!(
            (SPAN, digest(&row()).as_str()),
            (2, "81c64ae78b9170863e5e9abe60587903aed797bcc01fc3dfb0c7feee4535e294")
        );
        assert_eq!(
            (EVENT, digest(&event()).as_str()),
            (0x81, "6c56a80eac5558a4c30ad68fbf31f47daccbdef48c80ac296f5c7b4cb9f93b11")
        );
    }

    #[test]
    fn an_unknown_format_is_named() {
        assert_eq!(decode(&[9, 1]), Err(RecordError::Format(Some(9))));
        assert_eq!(decode(&[]), Err(RecordError::Format(None)));
        assert_eq!(decode(&[SPAN, 9]), Err(RecordError::Sender(Some(9))));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
            for format in [SPAN, EVENT] {
                let mut marked = vec![format, 1];
                marked.extend(&bytes);
                let _ = decode(&marked);
            }
        }
    }
}
