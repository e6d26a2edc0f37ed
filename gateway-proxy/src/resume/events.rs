//! A stream's bytes, cut into its events.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The events in `bytes`, each with the blank line that ends it. What stands after the last blank line is an event of its own.
pub(super) fn split(mut bytes: Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    while let Some(end) = end_of_event(&bytes) {
        events.push(bytes.split_to(end));
    }
    if !bytes.is_empty() {
        events.push(bytes);
    }
    events
}

/// Where the first event ends: after the first line that is empty. Lines end with LF, CRLF or CR.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[line_start..]) {
        let at = line_start + found;
        let next = if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') { at + 2 } else { at + 1 };
        if at == line_start {
            return Some(next);
        }
        line_start = next;
    }
    None
}

/// What an event of a response says of the response.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OfResponse<'a> {
    /// Its place among the events.
    #[serde(default)]
    pub(super) sequence_number: Option<u64>,
    /// The response as it stands, where the event says so.
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
}

/// Reads the first `data` line of an event.
pub(super) fn of_response(event: &[u8]) -> OfResponse<'_> {
    let lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    let mut data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    data.next().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_end_at_blank_lines_of_every_kind() {
        let text = "data: 1\n\n: hi\r\n\r\nid: 7\rdata: 2\r\rdata: 3";
        let events = split(Bytes::from_static(text.as_bytes()));
        assert_eq!(events, ["data: 1\n\n", ": hi\r\n\r\n", "id: 7\rdata: 2\r\r", "data: 3"]);
    }

    #[test]
    fn a_response_is_found_in_its_event() {
        let event = b"event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":3,\"response\":{\"id\":\"r\"}}\n\n";
        let of = of_response(event);
        assert_eq!((of.sequence_number, of.response.map(RawValue::get)), (Some(3), Some("{\"id\":\"r\"}")));
        assert_eq!(of_response(b"data: [DONE]\n\n").sequence_number, None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_cutting(text in "[ad:\\n\\r]{0,60}") {
            let events = split(Bytes::copy_from_slice(text.as_bytes()));
            prop_assert_eq!(events.concat(), text.as_bytes());
        }
    }
}
