//! The file `state`: who the spool is, how far its reader has come, and which batch it is about to send.
//!
//! Two slots, written in turn, each with a sequence number and a CRC: whatever write is torn, the other slot is whole.
//! Slot, 64 bytes, at offsets 0 and 4096: `CTSTATE1`, sequence u64, identity u64, cursor u64, intent's from u64 and to u64
//! (both zero for none), zero [u8; 12], CRC-32 u32.

use crate::frame::{Identity, u32_at, u64_at};
use crate::{OpenError, Position};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"CTSTATE1";
const SLOT_LEN: usize = 64;
/// Slots lie in pages of their own, so that no sector holds both.
const SLOT_STRIDE: u64 = 4096;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    pub(crate) cursor: Position,
    pub(crate) intent: Option<(Position, Position)>,
}

impl State {
    fn encode(&self) -> [u8; SLOT_LEN] {
        let (from, to) = self.intent.unwrap_or_default();
        let mut slot = [0; SLOT_LEN];
        slot[..8].copy_from_slice(MAGIC);
        for (at, value) in
            [(8, self.sequence), (16, self.identity.0), (24, self.cursor.0), (32, from.0), (40, to.0)]
        {
            slot[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc32fast::hash(&slot[..60]);
        slot[60..].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8; SLOT_LEN]) -> Option<Self> {
        if !slot.starts_with(MAGIC) || crc32fast::hash(&slot[..60]) != u32_at(slot, 60) {
            return None;
        }
        let (from, to) = (Position(u64_at(slot, 32)), Position(u64_at(slot, 40)));
        Some(Self {
            sequence: u64_at(slot, 8),
            identity: Identity(u64_at(slot, 16)),
            cursor: Position(u64_at(slot, 24)),
            intent: (from < to).then_some((from, to)),
        })
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Opens the file in `dir`, and reads the newer of its sound slots.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<State>), OpenError> {
        let path = dir.join("state");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::io("open", &path))?;
        let newest = [0, SLOT_STRIDE]
            .into_iter()
            .filter_map(|offset| {
                let mut slot = [0; SLOT_LEN];
                // A slot that is missing or cannot be read is a slot that is not sound.
                file.read_exact_at(&mut slot, offset).ok()?;
                State::decode(&slot)
            })
            .max_by_key(|state| state.sequence);
        Ok((Self { file, path }, newest))
    }

    /// Writes a state into the older slot. It survives the process at once, the machine after [`StateFile::sync`].
    pub(crate) fn write(&self, state: &State) -> io::Result<()> {
        self.file.write_all_at(&state.encode(), (state.sequence % 2) * SLOT_STRIDE)
    }

    /// Puts what was written on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_sound_slot_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (file, none) = StateFile::open(dir.path()).unwrap();
        assert_eq!(none, None);
        let first = State { sequence: 1, identity: Identity(7), cursor: Position(10), intent: None };
        let second = State { sequence: 2, intent: Some((Position(10), Position(20))), ..first };
        file.write(&first).unwrap();
        file.write(&second).unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().1, Some(second));
        file.file.write_all_at(b"x", 8).unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().1, Some(first));
        file.file.write_all_at(b"x", SLOT_STRIDE).unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().1, None);
    }
}
