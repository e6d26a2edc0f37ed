//! What can go wrong, and where.

use std::io;
use std::path::{Path, PathBuf};

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option makes no sense.
    #[error("spool {}: {field} is {value}: expected {expected}", dir.display())]
    InvalidOption {
        /// The directory.
        dir: PathBuf,
        /// The option.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What is expected.
        expected: &'static str,
    },
    /// Another process has the directory open.
    #[error("spool {}: another process has it open; expected a directory of its own for each process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The system refused.
    #[error("spool: cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// For `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The spool has reached its bound; it takes records again when the reader has committed some.
    #[error("spool {}: full: {bytes} of at most {max_bytes} bytes are used", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// Bytes in use.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The record is longer than [`crate::MAX_RECORD_BYTES`].
    #[error("record of {len} bytes: expected at most {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The system refused, for example because the disk is full. The spool stays usable: the next append tries again.
    #[error("spool: cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl AppendError {
    /// For `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a cursor or an intent could not be kept. The reader stays where it was.
#[derive(Debug, thiserror::Error)]
#[error("spool: cannot write the cursor to {}", path.display())]
pub struct CommitError {
    /// The state file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}
