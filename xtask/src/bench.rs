//! Measurements, side by side with peers in one run.
//!
//! `gateway` starts the harness in `bench/gateways`: one core for the gateway, one for the mock upstream and the load, the same
//! load for every peer. Ours runs with all that production has on: authentication, pricing, tracing, spool and shipping.
//!
//! `embedder` runs `bench/embedder`: ours and onnxruntime in turns on one core.

use crate::{build, models, sh};
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::Command;

const UPSTREAM: &str = "http://127.0.0.1:9000/v1";
const LISTEN: &str = "127.0.0.1:8010";

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// Latency, throughput, streams and memory of the gateway beside nginx.
    Gateway {
        /// Rounds; the tables show medians.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Scenarios, described in bench/gateways/README.md.
        #[arg(long, default_value = "S1,S2,S3,S4")]
        scenarios: String,
        /// Gateways to compare.
        #[arg(long, default_value = "direct,nginx,ours")]
        peers: String,
        /// Afterwards serve this many calls with ours and report its memory.
        #[arg(long, default_value_t = 0)]
        soak: u64,
    },
    /// Sentences a second of the embedder beside onnxruntime, on one core and the same weights.
    Embedder {
        /// Rounds, in turns; the table shows medians.
        #[arg(long, default_value_t = 9)]
        rounds: u32,
        /// Threads of each.
        #[arg(long, default_value_t = 1)]
        threads: u32,
    },
}

/// Runs a measurement.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Gateway { rounds, scenarios, peers, soak } => gateway(*rounds, scenarios, peers, *soak),
        Bench::Embedder { rounds, threads } => embedder(*rounds, *threads),
    }
}

fn gateway(rounds: u32, scenarios: &str, peers: &str, soak: u64) -> Result<()> {
    if peers.contains("nginx") && !Path::new("/usr/sbin/nginx").exists() {
        sh::run(sh::command("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "--yes",
            "--quiet",
            "nginx-light",
        ]))?;
    }
    let harness = sh::root().join("bench/gateways");
    let mock = tool(&harness, "mock")?;
    let sload = tool(&harness, "sload")?;
    let tower = build::binary(false)?;

    let work = sh::target().join("bench/gateways");
    // Every run starts from an empty control database and an empty spool.
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work)?;
    let key = prepare(&tower, &work)?;
    let peers_file = work.join("peers.json");
    std::fs::write(&peers_file, peers_json(&harness, &tower, &work, &key)?)?;

    let results = work.join("run.jsonl");
    let mut bench = sh::command("python3");
    bench.arg(harness.join("bench.py")).args(["--peers", peers, "--scenarios", scenarios]);
    bench
        .arg("--rounds")
        .arg(rounds.to_string())
        .arg("--out")
        .arg(&results)
        .arg("--peers-file")
        .arg(&peers_file);
    bench.arg("--mock").arg(&mock).arg("--sload").arg(&sload);
    if soak > 0 {
        bench.arg("--soak").arg(soak.to_string());
    }
    sh::run(&mut bench)?;
    sh::run(sh::command("python3").arg(harness.join("report.py")).arg(&results))
}

fn embedder(rounds: u32, threads: u32) -> Result<()> {
    let harness = sh::root().join("bench/embedder");
    let model = models::fetch()?;
    sh::run(sh::cargo().args([
        "build",
        "--release",
        "--package",
        "inference",
        "--example",
        "embedder_rate",
    ]))?;
    let venv = sh::target().join("bench/embedder-venv");
    if !venv.join("bin/python").exists() {
        sh::run(sh::command("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let install = ["install", "--quiet", "--disable-pip-version-check", "--requirement"];
    sh::run(Command::new(venv.join("bin/pip")).args(install).arg(harness.join("requirements.txt")))?;
    let mut bench = Command::new(venv.join("bin/python"));
    bench.arg(harness.join("bench.py")).args(["--rounds", &rounds.to_string()]);
    bench.args(["--threads", &threads.to_string()]);
    bench.arg("--program").arg(sh::target().join("release/examples/embedder_rate"));
    bench.arg("--model").arg(model);
    sh::run(&mut bench)
}

/// Builds one program of the harness, optimised, apart from the workspace.
fn tool(harness: &Path, name: &str) -> Result<PathBuf> {
    let target = sh::target().join("bench").join(name);
    let manifest = harness.join(name).join("Cargo.toml");
    sh::run(
        sh::cargo()
            .args(["build", "--release", "--manifest-path"])
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(target.join("release").join(name))
}

/// Writes ours' configuration and control database; returns a tenant's key.
fn prepare(tower: &Path, work: &Path) -> Result<String> {
    let config = format!(
        "[control]\nurl = \"sqlite://{db}\"\n\n[gateway]\nlisten = \"{LISTEN}\"\ncollector_url = \"http://127.0.0.1:9000\"\n\
         collector_key = \"a-service-key-for-the-benchmark-only\"\n\n[gateway.spool]\ndir = \"{spool}\"\n",
        db = work.join("control.db").display(),
        spool = work.join("spool").display(),
    );
    std::fs::write(work.join("control-tower.toml"), config)?;
    let admin = |args: &[&str]| {
        let mut command = Command::new(tower);
        command.args(args).arg("--json").arg("--config").arg(work.join("control-tower.toml"));
        sh::output(&mut command)
    };
    admin(&["prices", "seed"])?;
    admin(&["provider", "create", "openai", "--base-url", UPSTREAM, "--secret", "literal:sk-upstream"])?;
    admin(&["model", "create", "gpt-4o-mini", "--provider", "openai"])?;
    admin(&["tenant", "create", "bench", "--name", "Bench"])?;
    let created: serde_json::Value =
        serde_json::from_str(&admin(&["key", "create", "--tenant", "bench", "--name", "bench"])?)?;
    Ok(created["secret"].as_str().context("key create printed no secret")?.to_owned())
}

/// The harness's list of peers with ours filled in.
fn peers_json(harness: &Path, tower: &Path, work: &Path, key: &str) -> Result<String> {
    let text = std::fs::read_to_string(harness.join("peers.json"))?;
    let mut peers: serde_json::Value = serde_json::from_str(&text)?;
    let ours = &mut peers["ours"];
    ours["cmd"] = serde_json::json!([tower, "gateway", "--config", work.join("control-tower.toml")]);
    ours["url"] = format!("http://{LISTEN}/v1/chat/completions").into();
    ours["headers"] = serde_json::json!([format!("Authorization: Bearer {key}")]);
    Ok(peers.to_string())
}
