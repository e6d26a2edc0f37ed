//! The bytes of the journal: what is said of buckets, each in a frame.
//!
//! Frame: length u32, CRC-32 u32, content. The CRC covers the position of the frame and its content. All numbers are
//! little-endian; amounts are i128 picodollars.

use contracts::policy::budget::{Span, Window};
use contracts::{Timestamp, Usd};
use std::sync::Arc;

/// Length of what precedes a record's content.
pub(crate) const FRAME_LEN: usize = 8;
/// No record is longer: the longest names two ids and a few hundred buckets.
const MAX_LEN: usize = 1 << 20;

/// The number of a bucket: one account in one window.
pub(crate) type BucketId = u64;

/// What the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A bucket got its number.
    Define(Define),
    /// Buckets changed by the same amounts.
    Shift(Shift, Vec<BucketId>),
    /// A bucket as it stood; only in snapshots.
    State(BucketState),
    /// The end of a snapshot with so many records before it.
    End(u64),
}

/// Who a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Define {
    pub(crate) id: BucketId,
    pub(crate) window: Window,
    pub(crate) span: Span,
    pub(crate) group: Arc<str>,
    pub(crate) account: Arc<str>,
}

/// How buckets change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) spent: Usd,
    pub(crate) dispatched: Usd,
    /// Calls that are under way: one more, one less, or as many.
    pub(crate) calls: i8,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BucketState {
    pub(crate) id: BucketId,
    pub(crate) spent: Usd,
    pub(crate) dispatched: Usd,
    pub(crate) calls: u32,
    /// Records that end at or before this position are counted in.
    pub(crate) at: u64,
}

/// Appends a frame to `out`, whose first byte lies at `base`.
fn frame(out: &mut Vec<u8>, base: u64, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_LEN]);
    content(out);
    let len = u32::try_from(out.len() - start - FRAME_LEN).unwrap_or(u32::MAX);
    let crc = seal(base + start as u64, &out[start + FRAME_LEN..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + FRAME_LEN].copy_from_slice(&crc.to_le_bytes());
}

fn seal(position: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

pub(crate) fn put_define(out: &mut Vec<u8>, base: u64, define: &Define) {
    frame(out, base, |out| {
        out.push(1);
        out.extend_from_slice(&define.id.to_le_bytes());
        out.push(define.window as u8);
        out.extend_from_slice(&define.span.start.unix_nanos().to_le_bytes());
        let end = define.span.end.map_or(i64::MAX, Timestamp::unix_nanos);
        out.extend_from_slice(&end.to_le_bytes());
        for text in [&define.group, &define.account] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    });
}

pub(crate) fn put_shift(
    out: &mut Vec<u8>,
    base: u64,
    shift: Shift,
    buckets: impl ExactSizeIterator<Item = BucketId>,
) {
    frame(out, base, |out| {
        out.push(2);
        out.extend_from_slice(&shift.spent.picos().to_le_bytes());
        out.extend_from_slice(&shift.dispatched.picos().to_le_bytes());
        out.extend_from_slice(&shift.calls.to_le_bytes());
        out.extend_from_slice(&u32::try_from(buckets.len()).unwrap_or(u32::MAX).to_le_bytes());
        for bucket in buckets {
            out.extend_from_slice(&bucket.to_le_bytes());
        }
    });
}

pub(crate) fn put_state(out: &mut Vec<u8>, base: u64, state: &BucketState) {
    frame(out, base, |out| {
        out.push(3);
        out.extend_from_slice(&state.id.to_le_bytes());
        out.extend_from_slice(&state.spent.picos().to_le_bytes());
        out.extend_from_slice(&state.dispatched.picos().to_le_bytes());
        out.extend_from_slice(&state.calls.to_le_bytes());
        out.extend_from_slice(&state.at.to_le_bytes());
    });
}

pub(crate) fn put_end(out: &mut Vec<u8>, base: u64, records: u64) {
    frame(out, base, |out| {
        out.push(4);
        out.extend_from_slice(&records.to_le_bytes());
    });
}

/// Takes the record that begins `bytes`, which lie at `position`; returns it with the length of its frame. `None` when there is
/// no whole record.
pub(crate) fn take(bytes: &[u8], position: u64) -> Option<(Record, usize)> {
    let mut head = Reader(bytes);
    let len = usize::try_from(head.u32()?).ok().filter(|len| *len <= MAX_LEN)?;
    let crc = head.u32()?;
    let content = head.bytes(len)?;
    if seal(position, content) != crc {
        return None;
    }
    let mut reader = Reader(content);
    let record = reader.record()?;
    reader.0.is_empty().then_some((record, FRAME_LEN + len))
}

/// Reads numbers off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.array().map(i64::from_le_bytes).map(Timestamp::from_unix_nanos)
    }

    fn usd(&mut self) -> Option<Usd> {
        self.array().map(i128::from_le_bytes).map(Usd::from_picos)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let len = usize::try_from(self.u32()?).ok()?;
        std::str::from_utf8(self.bytes(len)?).ok().map(Arc::from)
    }

    fn window(&mut self) -> Option<Window> {
        let [number] = self.array()?;
        [Window::Minute, Window::Hour, Window::Day, Window::Month, Window::Total]
            .into_iter()
            .find(|window| *window as u8 == number)
    }

    fn record(&mut self) -> Option<Record> {
        let [kind] = self.array()?;
        Some(match kind {
            1 => {
                let (id, window, start, end) = (self.u64()?, self.window()?, self.time()?, self.time()?);
                let end = Some(end).filter(|end| end.unix_nanos() < i64::MAX);
                let span = Span { start, end };
                Record::Define(Define { id, window, span, group: self.text()?, account: self.text()? })
            }
            2 => {
                let (spent, dispatched) = (self.usd()?, self.usd()?);
                let calls = self.array().map(i8::from_le_bytes)?;
                let count = self.u32()?;
                let buckets = (0..count).map(|_| self.u64()).collect::<Option<_>>()?;
                Record::Shift(Shift { spent, dispatched, calls }, buckets)
            }
            3 => Record::State(BucketState {
                id: self.u64()?,
                spent: self.usd()?,
                dispatched: self.usd()?,
                calls: self.u32()?,
                at: self.u64()?,
            }),
            4 => Record::End(self.u64()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_read_as_they_were_written_and_nowhere_else() {
        let define = Define {
            id: 7,
            window: Window::Day,
            span: Window::Day.span(Timestamp::from_unix_seconds(1_000_000)),
            group: "tenant|acme".into(),
            account: "key|k1|day".into(),
        };
        let shift = Shift { spent: Usd::from_picos(i128::MAX), dispatched: Usd::from_picos(-5), calls: -1 };
        let state = BucketState { id: 7, spent: shift.spent, dispatched: Usd::ZERO, calls: 3, at: 99 };
        let mut bytes = Vec::new();
        put_define(&mut bytes, 500, &define);
        put_shift(&mut bytes, 500, shift, [1, 2, u64::MAX].into_iter());
        put_state(&mut bytes, 500, &state);
        put_end(&mut bytes, 500, 3);
        let expected = [
            Record::Define(define),
            Record::Shift(shift, vec![1, 2, u64::MAX]),
            Record::State(state),
            Record::End(3),
        ];
        let mut at = 0;
        for record in expected {
            assert!(take(&bytes[at..], 501 + at as u64).is_none(), "it was sealed for another position");
            let (read, len) = take(&bytes[at..], 500 + at as u64).unwrap();
            assert_eq!(read, record);
            assert!(take(&bytes[at..at + len - 1], 500 + at as u64).is_none(), "it was torn");
            at += len;
        }
        assert_eq!(at, bytes.len());
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes, 0);
            let _ = Reader(&bytes).record();
        }
    }
}
