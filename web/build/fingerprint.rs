//! One number for everything that both sides of the console are rendered from. The wasm of other sources than the server's
//! would take over pages that it would have written differently, so both carry the number and it must agree.
//!
//! Used by the server's build script and by `xtask`, which builds the wasm.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

/// Folders whose sources both sides share, below the repository's root.
pub const SHARED: [&str; 2] = ["web/src", "crates/contracts/src"];
/// Folders and files among them that only the server renders from.
const SERVER_ONLY: [&str; 8] = [
    "crates/contracts/src/attributes.rs",
    "crates/contracts/src/policy.rs",
    "crates/contracts/src/price",
    "crates/contracts/src/price.rs",
    "web/src/admin",
    "web/src/admin.rs",
    "web/src/server",
    "web/src/server.rs",
];

/// The fingerprint of the sources below `root`, as hex.
pub fn fingerprint(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for folder in SHARED {
        collect(&root.join(folder), &mut files)?;
    }
    files.retain(|file| !SERVER_ONLY.iter().any(|only| file.starts_with(root.join(only))));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(root).unwrap_or(&file).hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
