//! The console's browser assets: the wasm and its loader, and the chart library; hashed by content and compressed.
//!
//! `OUT/manifest.json` names them for the server, which embeds `OUT/assets/` (see `web/build.rs`). The style sheets and the
//! small script written by hand are not here: the server always carries them.

#[path = "../../web/build/fingerprint.rs"]
mod fingerprint;

use crate::sh;
use anyhow::{Context, Result, bail};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use wasm_bindgen_cli_support::Bindgen;

/// More compressed wasm than this is a regression.
const MOST_WASM_BROTLI: usize = 700 * 1024;

/// Builds the assets of the console of the repository at `root` into `out_dir`, and replaces what was there.
pub fn build(root: &Path, out_dir: &Path) -> Result<()> {
    // Taken before the build: sources that change meanwhile do not match and are built again.
    let fingerprint = fingerprint::fingerprint(root).context("read the console's sources")?;
    let work = out_dir.with_extension("work");
    recreate(&work)?;
    let wasm = compile(&work)?;
    let charts = chart_library(root)?;
    let assets = work.join("assets");
    recreate(&assets)?;
    let (loader, module) = bind(&wasm, &work)?;
    let module_name = publish(&assets, "console", "wasm", &module)?;
    let loader_name = publish(&assets, "console-loader", "js", &loader)?;
    let script_name = publish(&assets, "uplot", "js", &fs::read(charts.join("uPlot.iife.min.js"))?)?;
    let style_name = publish(&assets, "uplot", "css", &fs::read(charts.join("uPlot.min.css"))?)?;
    let size = fs::metadata(assets.join(format!("{module_name}.br")))?.len();
    eprintln!("console: wasm {} KB, {} KB with brotli", module.len() / 1024, size / 1024);
    if usize::try_from(size)? > MOST_WASM_BROTLI {
        bail!("the console's wasm is {size} bytes with brotli: expected at most {MOST_WASM_BROTLI}");
    }
    let manifest = serde_json::json!({
        "fingerprint": fingerprint,
        "loader": loader_name,
        "wasm": module_name,
        "chart_script": script_name,
        "chart_style": style_name,
    });
    let manifest = serde_json::to_string_pretty(&manifest)?;
    // The manifest names its files by their content. Where it stays, they stay untouched, or else cargo would take them for
    // new and build the server again.
    if fs::read_to_string(out_dir.join("manifest.json")).is_ok_and(|there| there == manifest) {
        return fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()));
    }
    fs::write(work.join("manifest.json"), manifest)?;
    if out_dir.exists() {
        fs::remove_dir_all(out_dir).with_context(|| format!("remove {}", out_dir.display()))?;
    }
    fs::rename(&work, out_dir).with_context(|| format!("put the assets into {}", out_dir.display()))
}

/// What the browser's half is compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// Installs the standard library of [`TARGET`] where it is missing: rustup may have been told to install nothing by itself, also not what
/// `rust-toolchain.toml` asks for.
fn standard_library() -> Result<()> {
    let sysroot = sh::output(sh::command("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).exists() || !sh::has("rustup") {
        return Ok(());
    }
    sh::run(sh::command("rustup").args(["target", "add", TARGET]))
}

/// Compiles the wasm, in a target directory of its own so that it and the server do not evict each other.
fn compile(work: &Path) -> Result<PathBuf> {
    standard_library()?;
    let target = work.with_file_name("wasm");
    let args = ["build", "--package", "web", "--lib", "--no-default-features", "--features", "hydrate"];
    let args = args.into_iter().chain(["--target", TARGET, "--profile", "wasm", "--locked"]);
    sh::run(sh::cargo().args(args).env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS"))?;
    Ok(target.join(TARGET).join("wasm/web.wasm"))
}

/// Makes the loader script and the final module of the compiled wasm.
fn bind(wasm: &Path, work: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let out = work.join("bindgen");
    Bindgen::new()
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .omit_default_module_path(true)
        .generate(&out)
        .with_context(|| format!("bind {}", wasm.display()))?;
    let files = (fs::read(out.join("web.js"))?, fs::read(out.join("web_bg.wasm"))?);
    fs::remove_dir_all(&out)?;
    Ok(files)
}

/// Installs the chart library as the lock file pins it; returns the folder of its built files.
fn chart_library(root: &Path) -> Result<PathBuf> {
    let web = root.join("web");
    let args = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"];
    sh::run(sh::command("npm").args(args).current_dir(&web))?;
    Ok(web.join("node_modules/uplot/dist"))
}

/// Writes a file under a name that carries its hash, and its compressed form beside it; returns the name.
fn publish(assets: &Path, stem: &str, extension: &str, content: &[u8]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let name = format!("{stem}-{:016x}.{extension}", hasher.finish());
    let mut packed = Vec::with_capacity(content.len() / 3);
    let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &*content, &mut packed, &params)
        .with_context(|| format!("compress {name}"))?;
    fs::write(assets.join(&name), content)?;
    fs::write(assets.join(format!("{name}.br")), packed)?;
    Ok(name)
}

fn recreate(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}
