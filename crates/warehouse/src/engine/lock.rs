//! One process per data directory: an advisory lock on a file in it, which the system drops when the process ends, however
//! it ends. The file names the holder.

use super::EngineError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Creates the directory when missing and locks it; the lock lasts as long as the returned file.
pub(super) fn acquire(path: &Path) -> Result<File, EngineError> {
    let io = |action, source| EngineError::Io { action, path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| io("create", e))?;
    let lock_path = path.join("control-tower.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|e| io("open the lock file in", e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder).unwrap_or(0);
            let holder = if read == 0 { "unknown".to_owned() } else { holder.trim().to_owned() };
            return Err(EngineError::Locked { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(io("lock", error)),
    }
    file.set_len(0).map_err(|e| io("write the lock file in", e))?;
    writeln!(file, "{}", std::process::id()).map_err(|e| io("write the lock file in", e))?;
    Ok(file)
}
