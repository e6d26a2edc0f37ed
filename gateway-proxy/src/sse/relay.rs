//! An incremental reader of an event stream that leaves its bytes alone.
//!
//! Chunks go in, the same bytes come out at the end of the last whole event in them; what follows is held until its event
//! is whole. So an event can be taken out without a trace, and a stream that breaks off mid-event can still be ended with a
//! well-formed one. Upstreams flush whole events, so as a rule nothing is held and a chunk is handed on as it is, uncopied.
//!
//! Lines end with LF, CRLF or CR, wherever chunks are cut. The format is that of the WHATWG HTML standard, section
//! "Server-sent events".

use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::ops::Range;

/// An event larger than this is not held: see [`Relayed::TooLarge`].
const MOST_HELD: usize = 32 << 20;

/// One event: its `data`, lines joined by LF, and whether anything in it was understood at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    data: Cow<'a, [u8]>,
    malformed: bool,
}

impl<'a> Event<'a> {
    /// An event with this data.
    #[cfg(test)]
    pub(crate) fn from_data(data: &'a str) -> Self {
        Self { data: Cow::Borrowed(data.as_bytes()), malformed: false }
    }

    /// An event of our own with this data, in one line or several.
    pub(crate) const fn of(data: &'a [u8]) -> Self {
        Self { data: Cow::Borrowed(data), malformed: false }
    }

    /// The last of these events, each of which ends with an empty line and no carriage return.
    pub(crate) fn last_of(events: &'a [u8]) -> Self {
        let before = &events[..events.len().saturating_sub(2)];
        Self::read(&events[memchr::memmem::rfind(before, b"\n\n").map_or(0, |at| at + 2)..])
    }

    /// Empty for comments and keep-alives.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether a line of it is neither field nor comment: not an event stream.
    pub(crate) fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Reads the lines of one event, its blank line included.
    fn read(block: &'a [u8]) -> Self {
        let mut event = Self { data: Cow::Borrowed(&[]), malformed: false };
        let mut has_data = false;
        let mut rest = block;
        while !rest.is_empty() {
            let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, after) = (&rest[..end], &rest[(end + 1).min(rest.len())..]);
            rest = after;
            if line.is_empty() || line[0] == b':' {
                continue;
            }
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &line[..colon] {
                b"data" if has_data => {
                    let data = event.data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                b"data" => {
                    has_data = true;
                    event.data = Cow::Borrowed(value);
                }
                b"event" | b"id" | b"retry" => {}
                _ => event.malformed = true,
            }
        }
        event
    }
}

/// Whether an event's bytes go on to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Hide,
}

/// What came of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// Bytes for the client; may be empty.
    Bytes(Bytes),
    /// An event exceeds what may be held; the stream cannot go on.
    TooLarge,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// Bytes of an event that is not whole yet.
    held: BytesMut,
    /// Of `held`: looked at.
    scanned: usize,
    /// Of `held`: start of the current line.
    line_start: usize,
    /// The last byte was a CR that ended a line: a LF right after it belongs to it.
    after_cr: bool,
    /// What became of the event before: its LF goes the same way.
    last: Option<Verdict>,
    /// Whether the first bytes were looked at for a byte order mark.
    started: bool,
}

impl Relay {
    /// Takes in a chunk; `on_event` sees each event that it completes and decides about it.
    pub(crate) fn push(&mut self, chunk: Bytes, mut on_event: impl FnMut(&Event<'_>) -> Verdict) -> Relayed {
        if chunk.is_empty() {
            return Relayed::Bytes(chunk);
        }
        let mut hidden: Vec<Range<usize>> = Vec::new();
        if self.held.is_empty() {
            let whole = self.scan(&chunk, &mut hidden, &mut on_event);
            self.held.extend_from_slice(&chunk[whole..]);
            self.forget(whole);
            return Relayed::Bytes(without(chunk.slice(..whole), &hidden));
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(&chunk);
        let whole = self.scan(&held, &mut hidden, &mut on_event);
        let out = held.split_to(whole).freeze();
        self.forget(whole);
        if held.len() > MOST_HELD {
            return Relayed::TooLarge;
        }
        self.held = held;
        Relayed::Bytes(without(out, &hidden))
    }

    /// Ends the stream: what was held and whether it forms a last event, as when the final blank line is missing.
    pub(crate) fn finish(&mut self, mut on_event: impl FnMut(&Event<'_>) -> Verdict) -> Bytes {
        let held = std::mem::take(&mut self.held).freeze();
        self.forget(held.len());
        if held.is_empty() || on_event(&Event::read(&held)) == Verdict::Hide {
            return Bytes::new();
        }
        held
    }

    /// Whether part of an event is held.
    #[cfg(test)]
    fn is_mid_event(&self) -> bool {
        !self.held.is_empty()
    }

    /// The end of the last whole event in `buffer`, of which `self.scanned` bytes were looked at before.
    fn scan(
        &mut self,
        buffer: &[u8],
        hidden: &mut Vec<Range<usize>>,
        on_event: &mut impl FnMut(&Event<'_>) -> Verdict,
    ) -> usize {
        let mut event_start = 0;
        if self.after_cr && buffer.get(self.scanned) == Some(&b'\n') {
            let at = self.scanned;
            self.scanned += 1;
            self.line_start = self.scanned;
            if at == 0 {
                // The event before ended at the CR: its LF shares its fate.
                event_start = 1;
                if self.last == Some(Verdict::Hide) {
                    hidden.push(0..1);
                }
            }
        }
        self.after_cr = false;
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &buffer[self.scanned..]) {
            let at = self.scanned + found;
            let is_blank = at == self.line_start || self.is_bom_line(&buffer[self.line_start..at]);
            let next = match (buffer[at], buffer.get(at + 1)) {
                (b'\r', Some(b'\n')) => at + 2,
                (b'\r', None) => {
                    self.after_cr = true;
                    at + 1
                }
                _ => at + 1,
            };
            self.scanned = next;
            self.line_start = next;
            if is_blank {
                let block = self.without_bom(&buffer[event_start..at]);
                let verdict = on_event(&Event::read(block));
                if verdict == Verdict::Hide {
                    hidden.push(event_start..next);
                }
                self.last = Some(verdict);
                self.started = true;
                event_start = next;
            }
        }
        self.scanned = buffer.len();
        event_start
    }

    /// Whether a line is nothing but the stream's byte order mark.
    fn is_bom_line(&self, line: &[u8]) -> bool {
        !self.started && line == b"\xEF\xBB\xBF"
    }

    fn without_bom<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        if self.started { block } else { block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block) }
    }

    /// Moves the marks after `whole` bytes have left.
    fn forget(&mut self, whole: usize) {
        self.scanned = self.scanned.saturating_sub(whole);
        self.line_start = self.line_start.saturating_sub(whole);
    }
}

/// `bytes` without `hidden`, copied only when something is hidden in the middle.
fn without(bytes: Bytes, hidden: &[Range<usize>]) -> Bytes {
    match hidden {
        [] => bytes,
        [one] if one.start == 0 => bytes.slice(one.end..),
        [one] if one.end == bytes.len() => bytes.slice(..one.start),
        several => {
            let mut kept = BytesMut::with_capacity(bytes.len());
            let mut from = 0;
            for range in several {
                kept.extend_from_slice(&bytes[from..range.start]);
                from = range.end;
            }
            kept.extend_from_slice(&bytes[from..]);
            kept.freeze()
        }
    }
}

#[cfg(test)]
mod tests;
