//! The house as tidy sees it: tracked files with their texts, and packages with their dependencies.

use crate::sh;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// What the rules look at.
pub struct House {
    /// Path from the root → text. Files that are not UTF-8 (pictures, weights) are left out.
    pub files: BTreeMap<String, String>,
    /// Package name → names of its dependencies of every kind but development.
    pub packages: BTreeMap<String, Vec<String>>,
}

impl House {
    /// Reads what git tracks, or would track, below `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let listed =
            sh::output(sh::command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
        let read =
            |path: &str| std::fs::read_to_string(root.join(path)).ok().map(|text| (path.to_owned(), text));
        let files = listed.lines().filter_map(read).collect();
        Ok(Self { files, packages: packages()? })
    }
}

fn packages() -> Result<BTreeMap<String, Vec<String>>> {
    let text = sh::output(sh::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let packages = json["packages"].as_array().context("cargo metadata lists no packages")?;
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let dependencies = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
    };
    Ok(packages.iter().map(|package| (name(package), dependencies(package))).collect())
}

/// Names of everything that the console's wasm is built from.
pub fn wasm_dependencies() -> Result<Vec<String>> {
    let args = "tree --package web --no-default-features --features hydrate --target wasm32-unknown-unknown \
                --edges normal --prefix none --format {p}";
    let text = sh::output(sh::cargo().args(args.split_whitespace()))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}
