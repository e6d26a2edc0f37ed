//! Embeds the console's browser assets into the server, when `CONTROL_TOWER_CONSOLE_DIR` names the folder that
//! `cargo xtask console` made. Without it the server builds all the same, and serves its pages without hydration.

#[path = "build/fingerprint.rs"]
mod fingerprint;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FOLDER: &str = "CONTROL_TOWER_CONSOLE_DIR";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed={FOLDER}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/fingerprint.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let server = std::env::var_os("CARGO_FEATURE_SSR").is_some();
    let folder = std::env::var_os(FOLDER).filter(|value| server && !value.is_empty()).map(PathBuf::from);
    let code = match folder {
        Some(folder) => embedded(&folder)?,
        None => absent("this binary was built without them: build it with `cargo xtask build`"),
    };
    std::fs::write(out.join("embedded.rs"), code)?;
    Ok(())
}

fn absent(reason: &str) -> String {
    format!(
        "pub(super) static FILES: &[File] = &[];\npub(super) static MANIFEST: Result<&str, &str> = Err({reason:?});\n"
    )
}

fn embedded(folder: &Path) -> Result<String, Box<dyn Error>> {
    let folder = std::path::absolute(folder)?;
    println!("cargo:rerun-if-changed={}", folder.join("manifest.json").display());
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let root = root.parent().ok_or("the crate has no parent folder")?;
    for shared in fingerprint::SHARED {
        println!("cargo:rerun-if-changed={}", root.join(shared).display());
    }
    let manifest = folder.join("manifest.json");
    let Ok(text) = std::fs::read_to_string(&manifest) else {
        return Ok(absent(&format!(
            "{FOLDER} named a folder without manifest.json: run `cargo xtask console`"
        )));
    };
    if !text.contains(&fingerprint::fingerprint(root)?) {
        println!(
            "cargo:warning=the console's browser assets are older than its sources: pages will not hydrate"
        );
        return Ok(absent("they were older than the server's sources: build again with `cargo xtask build`"));
    }
    let mut files = String::new();
    for entry in std::fs::read_dir(folder.join("assets"))? {
        let path = entry?.path();
        let name =
            path.file_name().and_then(|name| name.to_str()).ok_or("an asset's name is not text")?.to_owned();
        if path.extension().is_some_and(|extension| extension == "br") {
            continue;
        }
        let packed = path.with_file_name(format!("{name}.br"));
        let packed = if packed.is_file() {
            format!("Some(include_bytes!({:?}))", packed.display().to_string())
        } else {
            String::from("None")
        };
        writeln!(
            files,
            "    File {{ name: {name:?}, raw: include_bytes!({:?}), brotli: {packed} }},",
            path.display().to_string()
        )?;
    }
    Ok(format!(
        "pub(super) static FILES: &[File] = &[\n{files}];\npub(super) static MANIFEST: Result<&str, &str> = Ok(include_str!({:?}));\n",
        manifest.display().to_string()
    ))
}
