//! The embedded ClickHouse engine's library: an npm package of 178 MB, pinned by version and integrity hash in
//! `crates/warehouse/engine/package-lock.json`, unpacked once into the user's cache where every clone finds it.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const LIBRARY: &str = "libchdb.so";

/// Makes sure that the library is in the cache; returns its path.
pub fn fetch() -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "the embedded engine is packaged for Linux on x86-64 with glibc only; \
             elsewhere set [store] clickhouse_url to a ClickHouse server"
        );
    }
    let manifest = sh::root().join("crates/warehouse/engine");
    let version = pinned_version(&manifest.join("package.json"))?;
    let place = sh::cache()?.join("engine").join(&version);
    let library = place.join(LIBRARY);
    if library.is_file() {
        return Ok(library);
    }
    let work = sh::cache()?.join(format!("engine/.fetch-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("could not create {}", work.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(manifest.join(file), work.join(file)).with_context(|| format!("could not copy {file}"))?;
    }
    // `npm ci` refuses a package whose content does not have the lock's integrity hash.
    let installed = sh::run(
        sh::command("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&work),
    );
    let unpacked = installed.and_then(|()| {
        fs::create_dir_all(&place)?;
        let from = work.join("node_modules").join(PACKAGE).join(LIBRARY);
        fs::rename(&from, &library).with_context(|| format!("{PACKAGE} {version} holds no {LIBRARY}"))
    });
    // The temporary copy is of no use any more, whatever happened.
    let _ = fs::remove_dir_all(&work);
    unpacked?;
    eprintln!("engine {version} is at {}", library.display());
    Ok(library)
}

fn pinned_version(manifest: &std::path::Path) -> Result<String> {
    let text =
        fs::read_to_string(manifest).with_context(|| format!("could not read {}", manifest.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let version = json["dependencies"][PACKAGE].as_str();
    Ok(version.with_context(|| format!("{} does not pin {PACKAGE}", manifest.display()))?.to_owned())
}
