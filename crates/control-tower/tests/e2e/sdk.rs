//! The official OpenAI packages, unmodified but for base URL and key. What they must hold is in the scripts beside.

use crate::tower::Tower;
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test]
async fn the_python_package_works() {
    let tower = Tower::start().await;
    let python = python();
    let printed = run(&tower, Command::new(python).arg(folder().join("openai_sdk.py")));
    assert!(printed.ends_with("all good\n"), "{printed}");
    tower.stop().await;
}

#[tokio::test]
async fn the_node_package_works() {
    let tower = Tower::start().await;
    node_modules();
    let printed = run(&tower, Command::new("node").arg(folder().join("openai_sdk.mjs")));
    assert!(printed.ends_with("all good\n"), "{printed}");
    tower.stop().await;
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

fn run(tower: &Tower, command: &mut Command) -> String {
    command.env("CONTROL_TOWER_GATEWAY_URL", tower.text("/gateway_url"));
    command.env("CONTROL_TOWER_TENANT_KEY", tower.text("/tenant_key"));
    let output = command.output().unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    printed.into_owned()
}

/// The interpreter that `cargo xtask test` prepared, or else one with the pinned packages that this test makes for itself.
fn python() -> PathBuf {
    if let Some(prepared) = std::env::var_os("CONTROL_TOWER_TEST_PYTHON") {
        return PathBuf::from(prepared);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-venv");
    let requirements = folder().join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let stamp = venv.join("installed.txt");
    if !std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
        succeed(Command::new(venv.join("bin/pip")).args(install).arg(&requirements));
        std::fs::write(&stamp, wanted).unwrap();
    }
    venv.join("bin/python")
}

/// The packages of the lock file, where `cargo xtask test` puts them too.
fn node_modules() {
    if !folder().join("node_modules/openai").is_dir() {
        succeed(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(folder()),
        );
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
