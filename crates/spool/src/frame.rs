//! The bytes of a segment: a header, then records, each in a frame.
//!
//! Header, 32 bytes: `CTSPOOL1`, identity u64, position of the header's first byte u64, reuse u32, CRC-32 of all before u32.
//! Reuse is 1 when the file held another stretch of the stream before, so that its records may follow those of this one; they
//! are sealed for other positions, and so cannot pass for records here. Otherwise it is 0.
//! Frame: marker u32, length u32, CRC-32 u32, content. The marker derives from the spool's random identity; the CRC covers
//! the content, its length, the frame's position and the identity. All numbers are little-endian.

use crate::MAX_RECORD_BYTES;

/// Length of a segment's header.
pub(crate) const HEADER_LEN: usize = 32;
/// Length of what precedes a record's content.
pub(crate) const FRAME_LEN: usize = 12;
/// The first bytes of a segment; the digit is the format's version.
pub(crate) const MAGIC: &str = "CTSPOOL1";

/// The random identity of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

/// What the bytes at a position are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A record whose content has this length.
    Record(usize),
    /// Perhaps a record, of which so many bytes must be at hand to tell.
    NeedBytes(usize),
    /// Not a record.
    Damaged,
}

impl Identity {
    /// What every frame begins with.
    pub(crate) fn marker(self) -> [u8; 4] {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(b"marker");
        hasher.update(&self.0.to_le_bytes());
        hasher.finalize().to_le_bytes()
    }

    /// The header of the segment that begins at `base`, in a file that `is_reused` or new.
    pub(crate) fn header(self, base: u64, is_reused: bool) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(MAGIC.as_bytes());
        header[8..16].copy_from_slice(&self.0.to_le_bytes());
        header[16..24].copy_from_slice(&base.to_le_bytes());
        header[24..28].copy_from_slice(&u32::from(is_reused).to_le_bytes());
        let crc = crc32fast::hash(&header[..28]);
        header[28..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// What precedes content of length `len`, whose checksum is `content`, in the frame at `position`.
    pub(crate) fn frame(self, position: u64, len: u32, content: crc32fast::Hasher) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        frame[..4].copy_from_slice(&self.marker());
        frame[4..8].copy_from_slice(&len.to_le_bytes());
        frame[8..].copy_from_slice(&self.seal(position, len, content).to_le_bytes());
        frame
    }

    /// Looks for a record in `bytes`, which lie at `position`; `left` bytes remain from there to the end of what was written.
    pub(crate) fn parse(self, bytes: &[u8], position: u64, left: u64) -> Parsed {
        if left < FRAME_LEN as u64 {
            return Parsed::Damaged;
        }
        let Some((head, content)) = bytes.split_at_checked(FRAME_LEN) else {
            return Parsed::NeedBytes(FRAME_LEN);
        };
        let len = u32_at(head, 4);
        let frame_len = FRAME_LEN + len as usize;
        if head[..4] != self.marker() || len as usize > MAX_RECORD_BYTES || frame_len as u64 > left {
            return Parsed::Damaged;
        }
        let Some(content) = content.get(..len as usize) else {
            return Parsed::NeedBytes(frame_len);
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(content);
        if self.seal(position, len, hasher) == u32_at(head, 8) {
            Parsed::Record(len as usize)
        } else {
            Parsed::Damaged
        }
    }

    fn seal(self, position: u64, len: u32, mut content: crc32fast::Hasher) -> u32 {
        let mut tail = [0; 20];
        tail[..8].copy_from_slice(&position.to_le_bytes());
        tail[8..16].copy_from_slice(&self.0.to_le_bytes());
        tail[16..].copy_from_slice(&len.to_le_bytes());
        content.update(&tail);
        content.finalize()
    }
}

/// What a segment's header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    /// Whether the file held another stretch before.
    pub(crate) is_reused: bool,
}

/// Reads a segment's header; `None` when it is damaged.
pub(crate) fn read_header(header: &[u8; HEADER_LEN]) -> Option<Header> {
    let sound = header.starts_with(MAGIC.as_bytes()) && crc32fast::hash(&header[..28]) == u32_at(header, 28);
    sound.then(|| Header { identity: Identity(u64_at(header, 8)), is_reused: u32_at(header, 24) == 1 })
}

/// Four bytes of `bytes` at `at`, which the caller knows to exist.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

/// Eight bytes of `bytes` at `at`, which the caller knows to exist.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
