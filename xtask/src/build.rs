//! Building the product: engine library, weights, console assets, the one binary.

use crate::{console, engine, models, sh};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Where the binary's build finds the console's assets to embed.
pub const CONSOLE_DIR: &str = "CONTROL_TOWER_CONSOLE_DIR";

/// Builds everything; returns the binary's path.
pub fn build(debug: bool) -> Result<PathBuf> {
    engine::fetch()?;
    models::fetch()?;
    console_assets()?;
    binary(debug)
}

/// Builds the binary alone, with the console's assets if they were built before; returns its path.
pub fn binary(debug: bool) -> Result<PathBuf> {
    let profile = if debug { "dev" } else { "release" };
    let mut cargo = sh::cargo();
    cargo.args(["build", "--package", "control-tower", "--profile", profile]);
    let assets = sh::target().join("console");
    if assets.exists() {
        cargo.env(CONSOLE_DIR, assets);
    }
    sh::run(&mut cargo)?;
    Ok(sh::target().join(if debug { "debug" } else { "release" }).join("control-tower"))
}

/// Builds the console's browser assets; returns their directory.
pub fn console_assets() -> Result<PathBuf> {
    let out = sh::target().join("console");
    console::build(&sh::root(), &out)?;
    Ok(out)
}

/// Builds everything and becomes `control-tower up`.
pub fn up(debug: bool, rest: &[String]) -> Result<()> {
    let binary = build(debug)?;
    let mut tower = std::process::Command::new(&binary);
    tower.arg("up").args(rest);
    // Replacing this process hands signals and the exit status straight through.
    let error = std::os::unix::process::CommandExt::exec(&mut tower);
    Err(error).with_context(|| format!("could not start {}", binary.display()))
}
