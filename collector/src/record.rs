//! A span as the spool holds it: one byte that names the format, then the row in postcard.
//!
//! Postcard knows no field names, so a change of [`SpanRow`] changes the format: raise [`FORMAT`] then, and keep a reader of
//! the one before, because an upgrade finds records of the old version in the spool. A test pins the bytes of a row.

use warehouse::SpanRow;

/// The format that is written.
const FORMAT: u8 = 1;

/// Why a record is not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Nothing, or a format of another version.
    #[error("record of format {0:?}: expected {FORMAT}")]
    Format(Option<u8>),
    /// The rest is not a row.
    #[error("record cannot be decoded")]
    Decode(#[from] postcard::Error),
}

/// A row as a record.
pub fn encode(row: &SpanRow) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(row, vec![FORMAT])
}

/// A record as a row.
pub fn decode(record: &[u8]) -> Result<SpanRow, RecordError> {
    match record.split_first() {
        Some((&FORMAT, body)) => Ok(postcard::from_bytes(body)?),
        other => Err(RecordError::Format(other.map(|(format, _)| *format))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> SpanRow {
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
        assert_eq!(decode(&encode(&row()).unwrap()).unwrap(), row());
    }

    #[test]
    fn the_format_has_not_changed_without_a_new_number() {
        // When this fails, SpanRow changed: raise FORMAT and keep decoding the format before.
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(encode(&row()).unwrap()));
        assert_eq!(
            (FORMAT, digest.as_str()),
            (1, "d0563855b52eba00accee6d5aac952490701bc575c563f78045b641667d060ec")
        );
    }

    #[test]
    fn an_unknown_format_is_named() {
        assert_eq!(decode(&[9, 1]), Err(RecordError::Format(Some(9))));
        assert_eq!(decode(&[]), Err(RecordError::Format(None)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
            let mut marked = vec![FORMAT];
            marked.extend(bytes);
            let _ = decode(&marked);
        }
    }
}
