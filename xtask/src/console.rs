//! The console's browser assets: wasm, style and charts, hashed and compressed.

use anyhow::Result;
use std::path::Path;

/// Builds the assets of the console at `root` into `out_dir`.
pub fn build(root: &Path, out_dir: &Path) -> Result<()> {
    anyhow::bail!("the console at {} has no browser assets to put into {}", root.display(), out_dir.display())
}
