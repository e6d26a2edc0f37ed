//! Segment files: their names, and how records are read out of them whatever the bytes are.

use crate::frame::{FRAME_LEN, HEADER_LEN, Identity, Parsed};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at a time, at least.
const CHUNK: u64 = 256 * 1024;
const SUFFIX: &str = ".segment";

/// The file that was read to its end and waits to become a segment again.
pub(crate) fn spare(dir: &Path) -> PathBuf {
    dir.join("spare")
}

/// A segment: the file that holds the stream from `base` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Position of the header's first byte; also the file's name.
    pub(crate) base: u64,
    /// Position after the last record.
    pub(crate) end: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) contents: Vec<Bytes>,
    /// Bytes of them all.
    pub(crate) bytes: usize,
    /// Position after the last of them.
    pub(crate) after_last: u64,
    /// Where each damaged stretch that was skipped begins.
    pub(crate) damaged: Vec<u64>,
}

/// How much to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Limits {
    pub(crate) const NONE: Self = Self { records: usize::MAX, bytes: usize::MAX };

    /// Whether nothing more should be taken. A record that does not fit into an empty batch is taken all the same.
    pub(crate) fn reached(self, so_far: &Records, next: usize) -> bool {
        let count = so_far.contents.len();
        count >= self.records.max(1) || (count > 0 && so_far.bytes.saturating_add(next) > self.bytes)
    }
}

impl Segment {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}{SUFFIX}", self.base))
    }

    pub(crate) fn len(&self) -> u64 {
        self.end - self.base
    }

    /// Position of the first record.
    pub(crate) fn first(&self) -> u64 {
        self.base + HEADER_LEN as u64
    }

    /// The base in a segment's file name; `None` for other files.
    pub(crate) fn base_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(SUFFIX)?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    }
}

/// Reads records of `segment` from the position `from` on into `out`, up to `limits`. Returns the position after the last
/// byte that was dealt with; damaged bytes are skipped up to the next record or the end.
pub(crate) fn read(
    file: &File,
    segment: Segment,
    identity: Identity,
    from: u64,
    limits: Limits,
    out: &mut Records,
) -> io::Result<u64> {
    // The file may have lost its end with the machine's power.
    let end = segment.end.min(segment.base.saturating_add(file.metadata()?.len()));
    let marker = identity.marker();
    let mut position = from.max(segment.first());
    let mut want = CHUNK;
    let mut skipping = false;
    while position < end && !limits.reached(out, 0) {
        let chunk = read_chunk(file, position - segment.base, want.min(end - position))?;
        want = CHUNK;
        let mut at = 0;
        while at < chunk.len() {
            let here = position + at as u64;
            match identity.parse(&chunk[at..], here, end - here) {
                Parsed::Record(len) => {
                    if limits.reached(out, len) {
                        return Ok(here);
                    }
                    let content = at + FRAME_LEN;
                    out.contents.push(chunk.slice(content..content + len));
                    out.bytes += len;
                    out.after_last = here + (FRAME_LEN + len) as u64;
                    at = content + len;
                    skipping = false;
                }
                Parsed::NeedBytes(bytes) => {
                    want = CHUNK.max(bytes as u64);
                    break;
                }
                Parsed::Damaged => {
                    if !skipping {
                        out.damaged.push(here);
                        skipping = true;
                    }
                    at = next_marker(&chunk, at + 1, marker, here + (chunk.len() - at) as u64 == end);
                }
            }
        }
        position += at as u64;
    }
    Ok(if position >= end { segment.end } else { position })
}

fn read_chunk(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut chunk = vec![0; len];
    file.read_exact_at(&mut chunk, offset)?;
    Ok(chunk.into())
}

/// Where the next frame may begin, at or after `at`. A marker may be cut by the end of a chunk that is not the last, so the
/// search goes on three bytes before it.
fn next_marker(chunk: &[u8], at: usize, marker: [u8; 4], last: bool) -> usize {
    let found = chunk[at..].windows(marker.len()).position(|window| window == marker);
    let nowhere = if last { chunk.len() } else { at.max(chunk.len().saturating_sub(marker.len() - 1)) };
    found.map_or(nowhere, |distance| at + distance)
}
