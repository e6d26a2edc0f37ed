//! AWS's binary event stream: frames with a prelude, typed headers and two CRC-32 sums.
//!
//! A frame is `total length (u32) · headers' length (u32) · CRC of these 8 bytes · headers · payload · CRC of all before`, big
//! endian. A header is `length of name (u8) · name · type (u8) · value`. Amazon Transcribe's "Event stream encoding" page
//! describes it. Of the headers only strings matter here.

use crate::problem::Invalid;

const PRELUDE: usize = 12;
const OVERHEAD: usize = PRELUDE + 4;
/// AWS's own limit of a message.
const MAX_FRAME: usize = 16 << 20;

/// One frame's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame<'a> {
    /// `event`, `exception` or `error`.
    pub message_type: &'a str,
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub kind: &'a str,
    /// `:error-message`, of errors without a payload.
    pub error_message: &'a str,
    pub payload: &'a [u8],
}

/// Cuts frames from bytes however they arrive.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    kept: Vec<u8>,
}

impl FrameReader {
    /// Calls `each` with every frame that ends in `bytes`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Frame<'_>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        if self.kept.is_empty() {
            let rest = frames(bytes, each)?;
            self.kept.extend_from_slice(rest);
        } else {
            let mut kept = std::mem::take(&mut self.kept);
            kept.extend_from_slice(bytes);
            let rest = frames(&kept, each)?.len();
            kept.drain(..kept.len() - rest);
            self.kept = kept;
        }
        Ok(())
    }

    /// The stream is over: half a frame is an error.
    pub fn finish(&self) -> Result<(), Invalid> {
        if self.kept.is_empty() {
            return Ok(());
        }
        Err(wrong("frame", format!("{} bytes", self.kept.len()), "a whole frame before the stream ends"))
    }
}

/// All whole frames of `bytes`; returns what is left.
fn frames<'a>(
    mut bytes: &'a [u8],
    each: &mut impl FnMut(Frame<'_>) -> Result<(), Invalid>,
) -> Result<&'a [u8], Invalid> {
    while bytes.len() >= PRELUDE {
        let total = number(bytes, 0);
        if crc32fast::hash(&bytes[..8]) != checksum(bytes, 8) {
            return Err(wrong("frame.prelude_crc", "another sum", "the CRC-32 of the first 8 bytes"));
        }
        let headers = number(bytes, 4);
        if total > MAX_FRAME || headers > total || total < OVERHEAD + headers {
            return Err(wrong("frame.total_length", total, "room for the headers, and at most 16 MiB"));
        }
        if bytes.len() < total {
            break;
        }
        let (frame, rest) = bytes.split_at(total);
        if crc32fast::hash(&frame[..total - 4]) != checksum(frame, total - 4) {
            return Err(wrong("frame.message_crc", "another sum", "the CRC-32 of the frame"));
        }
        let mut content = Frame { payload: &frame[PRELUDE + headers..total - 4], ..Frame::default() };
        read_headers(&frame[PRELUDE..PRELUDE + headers], &mut content)
            .ok_or_else(|| wrong("frame.headers", "bytes in another form", "names with typed values"))?;
        each(content)?;
        bytes = rest;
    }
    Ok(bytes)
}

fn read_headers<'a>(mut bytes: &'a [u8], frame: &mut Frame<'a>) -> Option<()> {
    while let Some((&length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (&kind, rest) = rest.split_first()?;
        // Booleans, then integers of 1, 2, 4 and 8 bytes, byte buffers, strings, timestamps, UUIDs.
        let (prefix, size) = match kind {
            0 | 1 => (0, 0),
            2 => (0, 1),
            3 => (0, 2),
            4 => (0, 4),
            5 | 8 => (0, 8),
            6 | 7 => (2, usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]))),
            9 => (0, 16),
            _ => return None,
        };
        let value = rest.get(prefix..prefix + size)?;
        bytes = &rest[prefix + size..];
        if kind == 7 {
            let text = std::str::from_utf8(value).ok()?;
            match name {
                b":message-type" => frame.message_type = text,
                b":event-type" | b":exception-type" | b":error-code" => frame.kind = text,
                b":error-message" => frame.error_message = text,
                _ => {}
            }
        }
    }
    Some(())
}

fn checksum(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(bytes: &[u8], at: usize) -> usize {
    usize::try_from(checksum(bytes, at)).unwrap_or(usize::MAX)
}

fn wrong(field: &str, value: impl std::fmt::Display, expected: &str) -> Invalid {
    Invalid::new(field, value, expected)
}

/// A frame with string headers, as simulated providers send it. Headers that do not fit are left out.
pub fn encode_frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        if let (Ok(name_length), Ok(value_length)) = (u8::try_from(name.len()), u16::try_from(value.len())) {
            head.push(name_length);
            head.extend_from_slice(name.as_bytes());
            head.push(7);
            head.extend_from_slice(&value_length.to_be_bytes());
            head.extend_from_slice(value.as_bytes());
        }
    }
    let total = u32::try_from(OVERHEAD + head.len() + payload.len()).unwrap_or(u32::MAX);
    let mut out = total.to_be_bytes().to_vec();
    out.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Got = Vec<(String, String, Vec<u8>)>;

    fn read(pieces: &[&[u8]]) -> Result<Got, Invalid> {
        let (mut reader, mut got) = (FrameReader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece, &mut |frame| {
                got.push((frame.message_type.to_owned(), frame.kind.to_owned(), frame.payload.to_vec()));
                Ok(())
            })?;
        }
        reader.finish()?;
        Ok(got)
    }

    /// The empty message of AWS's own test vectors, and its sums.
    #[test]
    fn the_reference_vector_is_read() {
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(read(&[&empty]).unwrap(), [(String::new(), String::new(), Vec::new())]);
        assert_eq!(encode_frame(&[], b""), empty);
    }

    proptest! {
        #[test]
        fn frames_survive_every_split(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..4), size in 1_usize..60) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend(encode_frame(&[(":message-type", "event"), (":event-type", "x"), ("other", "é")], payload));
            }
            let expected: Got = payloads.into_iter().map(|p| ("event".to_owned(), "x".to_owned(), p)).collect();
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(read(&pieces).unwrap(), expected);
        }

        #[test]
        fn a_changed_bit_is_seen(payload in prop::collection::vec(any::<u8>(), 0..40), bit in any::<prop::sample::Index>()) {
            let mut frame = encode_frame(&[(":event-type", "x")], &payload);
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&[&frame]).is_err());
        }

        #[test]
        fn any_bytes_end_in_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&[&bytes]);
        }

        #[test]
        fn any_headers_end_in_a_frame_or_an_error(head in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = u32::try_from(OVERHEAD + head.len()).unwrap().to_be_bytes().to_vec();
            out.extend_from_slice(&u32::try_from(head.len()).unwrap().to_be_bytes());
            out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
            out.extend_from_slice(&head);
            out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
            let _ = read(&[&out]);
        }
    }
}
