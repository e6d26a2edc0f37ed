//! The proof: every check and every test, in one command that also installs what they need.

use crate::{build, engine, models, sh, tidy};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// One named step of the proof.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("tidy", tidy::run),
    ("fmt", || sh::run(sh::cargo().args(["fmt", "--all", "--check"]))),
    ("clippy", clippy),
    ("deny", deny),
    ("parts", parts),
    ("console", || build::console_assets().map(drop)),
    ("tests", tests),
];

/// Debian packages that tests start for real: a program of each tells whether it is there.
const DEBIAN: [(&str, &[&str]); 3] = [
    ("chromium", &["/usr/bin/chromium"]),
    ("postgresql", &["/usr/lib/postgresql/*/bin/initdb"]),
    ("redis-server", &["/usr/bin/redis-server"]),
];

/// Runs every step, or those named in `only`.
pub fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        let known: Vec<_> = STEPS.iter().map(|(step, _)| *step).collect();
        bail!("--only {unknown:?}: expected one of {}", known.join(", "));
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    for (name, step) in
        STEPS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name))
    {
        let start = Instant::now();
        step().with_context(|| format!("step {name} failed"))?;
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
    }
    eprintln!("all good in {:.0} s: {}", begun.elapsed().as_secs_f64(), times.join(", "));
    Ok(())
}

fn clippy() -> Result<()> {
    sh::run(sh::cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

/// Licences, bans and sources of every dependency. Advisories are fetched from the network: run `cargo deny check` where there is one.
fn deny() -> Result<()> {
    let deny = tool("cargo-deny", "0.20.2")?;
    sh::run(sh::command(deny).args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))
}

/// Installs what the tests start for real.
fn parts() -> Result<()> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(_, signs)| !signs.iter().any(|sign| exists(sign)))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        if !sh::has("apt-get") {
            bail!(
                "the tests need {}: install them with your system's package manager",
                missing.join(" and ")
            );
        }
        sh::run(sh::command("apt-get").arg("update").arg("--quiet"))?;
        let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
        sh::run(
            sh::command("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install).args(&missing),
        )?;
    }
    engine::fetch()?;
    models::fetch()?;
    python()?;
    for folder in ["crates/control-tower/tests/sdk", "web/tests/browser"] {
        node_modules(&sh::root().join(folder))?;
    }
    Ok(())
}

/// Whether a path exists; `*` stands for any one folder.
fn exists(pattern: &str) -> bool {
    match pattern.split_once("/*/") {
        None => Path::new(pattern).exists(),
        Some((before, after)) => {
            let folders = std::fs::read_dir(before).into_iter().flatten().flatten();
            folders.into_iter().any(|folder| folder.path().join(after).exists())
        }
    }
}

/// The virtual environment with the pinned Python packages of the SDK tests.
fn venv() -> PathBuf {
    sh::target().join("sdk-venv")
}

fn python() -> Result<()> {
    let requirements = sh::root().join("crates/control-tower/tests/sdk/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("could not read {}", requirements.display()))?;
    let stamp = venv().join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    sh::run(sh::command("python3").args(["-m", "venv", "--clear"]).arg(venv()))?;
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    sh::run(Command::new(venv().join("bin/pip")).args(install).arg(&requirements))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}

fn node_modules(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted =
        std::fs::read_to_string(&lock).with_context(|| format!("could not read {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    sh::run(
        sh::command("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder),
    )?;
    std::fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))
}

fn tests() -> Result<()> {
    let nextest = tool("cargo-nextest", "0.9.143")?;
    let mut command = sh::command(nextest);
    // `--run-ignored all`: the long forms of tests are part of the proof.
    command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--run-ignored", "all"]);
    command.env(build::CONSOLE_DIR, sh::target().join("console"));
    command.env("CONTROL_TOWER_TEST_PYTHON", venv().join("bin/python"));
    sh::run(&mut command)
}

/// A cargo subcommand of a pinned version: the one on the PATH, or one built into the cache.
fn tool(name: &str, version: &str) -> Result<PathBuf> {
    if sh::has(name) {
        return Ok(PathBuf::from(name));
    }
    let root = sh::cache()?.join("tools");
    let place = root.join("bin").join(name);
    if !place.is_file() {
        let install = ["install", "--locked", "--version", version, "--root"];
        sh::run(sh::cargo().args(install).arg(&root).arg(name).env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(place)
}
