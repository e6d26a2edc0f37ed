//! The official packages of OpenAI and Anthropic, unmodified but for base URL and key. What they must hold is in the scripts beside.

use crate::tower::Tower;
use serde_json::{Value, json};
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

/// Models that the simulated pool serves: their names tell how they are asked to think.
const POOL: &str = "[[sim.models]]\nname = \"sim-small\"\n[[sim.models]]\nname = \"claude-sonnet-4-5\"\n\
    [[sim.models]]\nname = \"gemini-3-pro\"\n[sim.aws]\naccess_key_id = \"AKIDSIM\"\nsecret_access_key = \"aws-secret\"\n";

#[tokio::test]
async fn the_python_packages_work_over_every_providers_protocol() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(config.path(), POOL).unwrap();
    let tower = Tower::start_with(config.path()).await;
    let python = python();
    let base = tower.api("/admin/v1/providers/sim").await["base_url"].as_str().unwrap().to_owned();
    let pool = base.strip_suffix("/v1").unwrap();
    for (protocol, below, model) in [
        ("openai", "/v1", "sim-small"),
        ("azure", "", "sim-small"),
        ("anthropic", "/v1", "claude-sonnet-4-5"),
        ("gemini", "/v1beta", "gemini-3-pro"),
        ("bedrock", "", "claude-sonnet-4-5"),
    ] {
        let mut provider = json!({"id": format!("at-{protocol}"), "base_url": format!("{pool}{below}"),
            "secret": "literal:sk-sim", "protocol": protocol});
        if protocol == "bedrock" {
            provider["secret"] = json!("literal:aws-secret");
            provider["settings"] = json!({"region": "us-east-1", "access_key_id": "AKIDSIM"});
        }
        create(&tower, "providers", &provider).await;
        for modifier in ["", "break", "cut", "error-400", "error-429", "error-529"] {
            let with = |name: &str, mark| {
                if modifier.is_empty() { name.into() } else { format!("{name}{mark}{modifier}") }
            };
            let model = json!({"name": with(protocol, "-"), "provider": format!("at-{protocol}"),
                "upstream_model": with(model, ":")});
            create(&tower, "models", &model).await;
        }
    }
    // What is written now is in force within two seconds; the last model is there once all are.
    let ask = json!({"model": "bedrock-error-529", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let started = std::time::Instant::now();
    while tower.http.call(&tower.gateway("/v1/messages"), tower.text("/tenant_key"), &ask).await.status == 404
    {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "the models do not show");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let printed = run(&tower, Command::new(python).arg(folder().join("protocols_sdk.py")));
    assert!(printed.ends_with("all good\n"), "{printed}");
    tower.stop().await;
}

async fn create(tower: &Tower, what: &str, body: &Value) {
    let url = tower.console(&format!("/admin/v1/{what}"));
    let answer = tower.http.call(&url, tower.text("/admin_key"), body).await;
    assert_eq!(answer.status, 201, "{body}: {}", answer.text());
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
