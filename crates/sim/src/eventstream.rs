//! `application/vnd.amazon.eventstream`: AWS's framing of streams, each message with lengths, headers and checksums.
//!
//! A message: total length and length of the headers (each four bytes, big-endian), CRC-32 of those eight bytes, headers,
//! payload, CRC-32 of all before. A header: length of its name (one byte), name, type (7 is text), length of its value (two
//! bytes), value.

use bytes::Bytes;
use serde_json::Value;

/// The content type of a stream.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// The type of a header that is text.
const TEXT: u8 = 7;

/// An event of this type.
pub(crate) fn event(kind: &str, payload: &Value) -> Bytes {
    message(
        &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
        payload,
    )
}

/// An error that ends a stream.
pub(crate) fn exception(kind: &str, payload: &Value) -> Bytes {
    let headers =
        [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    message(&headers, payload)
}

fn message(headers: &[(&str, &str)], payload: &Value) -> Bytes {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        encoded.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        encoded.extend_from_slice(name.as_bytes());
        encoded.push(TEXT);
        encoded.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        encoded.extend_from_slice(value.as_bytes());
    }
    let payload = payload.to_string();
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = Vec::with_capacity(16 + encoded.len() + payload.len());
    message.extend_from_slice(&length(16 + encoded.len() + payload.len()));
    message.extend_from_slice(&length(encoded.len()));
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&encoded);
    message.extend_from_slice(payload.as_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    Bytes::from(message)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// The messages of a stream: what they are, and their payload.
    pub(crate) fn decode(mut bytes: &[u8]) -> Vec<(String, Value)> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let total = number(&bytes[..4]) as usize;
            let headers = number(&bytes[4..8]) as usize;
            assert_eq!(number(&bytes[8..12]), crc32fast::hash(&bytes[..8]));
            assert_eq!(number(&bytes[total - 4..total]), crc32fast::hash(&bytes[..total - 4]));
            let (name, value) = (bytes[12] as usize, &bytes[12..12 + headers]);
            let length = u16::from_be_bytes([value[2 + name], value[3 + name]]) as usize;
            let kind = String::from_utf8(value[4 + name..4 + name + length].to_vec()).unwrap();
            messages.push((kind, serde_json::from_slice(&bytes[12 + headers..total - 4]).unwrap()));
            bytes = &bytes[total..];
        }
        messages
    }

    #[test]
    fn a_message_is_what_its_parts_say() {
        let payload = json!({"p": 1});
        let mut stream = event("messageStart", &payload).to_vec();
        stream.extend_from_slice(&exception("throttlingException", &payload));
        let decoded = decode(&stream);
        assert_eq!(decoded[0], ("messageStart".to_owned(), payload.clone()));
        assert_eq!(decoded[1], ("throttlingException".to_owned(), payload));
    }
}
