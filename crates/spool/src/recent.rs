//! The last records, kept in memory for a reader that is nearly up with the writers: it need not read back what was just
//! written. The file stays the truth: what is not here is read there.

use crate::segment::{Limits, Records};
use bytes::Bytes;
use std::collections::VecDeque;

/// Most bytes of records that wait here; a reader that is further behind reads the file.
const MOST_BYTES: usize = 2 << 20;

/// Records in a row, oldest first. Where one was not put here, there is a gap.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    records: VecDeque<Record>,
    bytes: usize,
}

#[derive(Debug)]
struct Record {
    /// Position before it, and before the header of its segment if it is the first there.
    from: u64,
    /// Position after it.
    to: u64,
    content: Bytes,
}

impl Recent {
    /// Keeps a record that was written.
    pub(crate) fn push(&mut self, from: u64, to: u64, content: Bytes) {
        self.bytes += content.len();
        self.records.push_back(Record { from, to, content });
        while self.bytes > MOST_BYTES {
            self.pop();
        }
    }

    /// Hands out the records from the position `from` on, up to `limits`, and the position after them; `None` when they are not
    /// here. What lies before is let go: there is one reader, and it has passed.
    pub(crate) fn take(&mut self, from: u64, limits: Limits) -> Option<(Records, u64)> {
        while self.records.front().is_some_and(|first| first.from < from) {
            self.pop();
        }
        let mut taken = Records::default();
        let mut position = from;
        while let Some(next) = self.records.front()
            && next.from == position
            && !limits.reached(&taken, next.content.len())
            && let Some(next) = self.pop()
        {
            position = next.to;
            taken.bytes += next.content.len();
            taken.after_last = position;
            taken.contents.push(next.content);
        }
        (position > from).then_some((taken, position))
    }

    fn pop(&mut self) -> Option<Record> {
        let first = self.records.pop_front()?;
        self.bytes -= first.content.len();
        Some(first)
    }
}
