//! Server-sent events, cut from bytes however they arrive.

use crate::problem::Invalid;

/// One event may be this long. A provider that sends more without end must not fill our memory.
const MAX_EVENT: usize = 32 << 20;

/// Reads events. Only an event's data is kept: every protocol here names the kind of its events within the data, too.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    /// The bytes of a line that has not ended.
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    is_started: bool,
}

impl SseReader {
    /// Calls `each` with the data of every event that ends in `bytes`.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        while !bytes.is_empty() {
            if self.after_return && bytes[0] == b'\n' {
                bytes = &bytes[1..];
            }
            self.after_return = false;
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.check(bytes.len())?;
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            self.after_return = bytes[end] == b'\r';
            self.check(end)?;
            if self.line.is_empty() {
                self.line(&bytes[..end], each)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.line(&line, each)?;
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The stream is over; an event that lacks only its empty line counts.
    pub fn finish(&mut self, each: &mut impl FnMut(&[u8]) -> Result<(), Invalid>) -> Result<(), Invalid> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.line(&line, each)?;
        }
        self.line(b"", each)
    }

    fn check(&self, more: usize) -> Result<(), Invalid> {
        let length = self.line.len() + self.data.len() + more;
        if length > MAX_EVENT {
            return Err(Invalid::new(
                "event",
                format!("{length} bytes"),
                format!("at most {MAX_EVENT} bytes"),
            ));
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let line = if self.is_started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.is_started = true;
        if line.is_empty() {
            if self.has_data {
                self.has_data = false;
                let mut data = std::mem::take(&mut self.data);
                let result = each(&data);
                data.clear();
                self.data = data;
                return result;
            }
            return Ok(());
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        Ok(())
    }
}

/// Writes `data: …` with an object.
pub(crate) fn data(out: &mut Vec<u8>, fill: impl FnOnce(&mut crate::write::Object<'_>)) {
    out.extend_from_slice(b"data: ");
    crate::write::object(out, fill);
    out.extend_from_slice(b"\n\n");
}

/// Writes `event: …` and `data: …` with an object whose `type` is the event's name.
pub(crate) fn event(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut crate::write::Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    crate::write::object(out, |o| {
        o.put("type", name);
        fill(o);
    });
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut reader, mut got) = (SseReader::default(), Vec::new());
        let mut each = |data: &[u8]| {
            got.push(data.to_vec());
            Ok(())
        };
        for piece in pieces {
            reader.push(piece, &mut each).unwrap();
        }
        reader.finish(&mut each).unwrap();
        got
    }

    #[test]
    fn every_line_ending_and_every_split_gives_the_same_events() {
        let text = "\u{feff}: hello\r\nevent: x\r\ndata: {\"a\":\r\ndata: \"é\"}\r\n\r\ndata:two\r\rid: 7\n\ndata: three"
            .as_bytes();
        let expected = [&b"{\"a\":\n\"\xc3\xa9\"}"[..], b"two", b"three"];
        assert_eq!(all(&[text]), expected);
        for cut in 0..=text.len() {
            // A mark at the start that is cut in pieces is found in the whole line.
            assert_eq!(all(&[&text[..cut], &text[cut..]]), expected, "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(all(&bytes), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes in prop::collection::vec(prop::sample::select(b"data: \r\n{}x".to_vec()), 0..200), size in 1_usize..9) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(all(&pieces), all(&[&bytes]));
        }
    }
}
