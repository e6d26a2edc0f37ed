//! Measurements, side by side with peers in one run.
//!
//! `gateway` starts the harness in `bench/gateways`: one core for the gateway, one for the mock upstream and the load, the same
//! load for every peer. Ours runs with all that production has on: authentication, pricing, tracing, spool and shipping. `--full` adds
//! the gateway with everything on that a call can use.
//!
//! `embedder` runs `bench/embedder`: ours and onnxruntime in turns on one core.
//!
//! `cascade` runs `bench/cascade`: recorded answers of real models through a gateway whose cascade was fitted on the other half of them.

mod full;

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
        /// A binary that is built already.
        #[arg(long, value_name = "FILE")]
        tower: Option<PathBuf>,
        /// Rounds; the tables show medians.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Scenarios, described in bench/gateways/README.md.
        #[arg(long, default_value = "S1,S2,S3,S4")]
        scenarios: String,
        /// Gateways to compare.
        #[arg(long, default_value = "direct,nginx,ours")]
        peers: String,
        /// Also ours with everything on that a call can use (plans, budgets, queue, pool, cascade, cache, prompt), and the streams S2s.
        #[arg(long)]
        full: bool,
        /// Of that also with budgets in Redis.
        #[arg(long, requires = "full")]
        redis: bool,
        /// Afterwards serve this many calls with ours and report its memory.
        #[arg(long, default_value_t = 0)]
        soak: u64,
    },
    /// What a cascade that was fitted on half of the recorded answers makes of the other half, through a gateway.
    Cascade {
        /// Recorded answers, as `control-tower cascade fit` takes them.
        #[arg(long, value_name = "FILE")]
        answers: PathBuf,
        /// Where the randomness of each division into halves begins.
        #[arg(long, default_value = "1,2,3")]
        seeds: String,
        /// Most that a request may cost in the mean, as a share of the last tier's.
        #[arg(long, default_value = "48%")]
        target_cost: String,
        /// Only so many prompts of each half; 0 for all.
        #[arg(long, default_value_t = 0)]
        prompts: u32,
        /// Use words alone, not the embedder.
        #[arg(long)]
        lexical: bool,
        /// A binary that is built already.
        #[arg(long, value_name = "FILE")]
        tower: Option<PathBuf>,
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
        Bench::Gateway { tower, rounds, scenarios, peers, full, redis, soak } => {
            let (mut scenarios, mut peers) = (scenarios.clone(), peers.clone());
            if *full {
                scenarios = scenarios.replace("S2,", "S2,S2s,");
                peers = format!("{peers},{}", full::PEERS);
            }
            if *redis {
                peers = format!("{peers},{}", full::WITH_REDIS);
            }
            gateway(tower.as_deref(), *rounds, &scenarios, &peers, *soak)
        }
        Bench::Cascade { answers, seeds, target_cost, prompts, lexical, tower } => {
            let tower = tower.clone().map_or_else(|| build::binary(false), Ok)?;
            let mut bench = sh::command("python3");
            bench.arg(sh::root().join("bench/cascade/replay.py")).arg("--tower").arg(tower);
            bench.arg("--answers").arg(std::path::absolute(answers)?);
            bench.args(["--seeds", seeds, "--target-cost", target_cost, "--prompts", &prompts.to_string()]);
            if !lexical {
                bench.arg("--model-dir").arg(models::fetch()?);
            }
            bench.arg("--work").arg(emptied("bench/cascade")?);
            sh::run(&mut bench)
        }
        Bench::Embedder { rounds, threads } => embedder(*rounds, *threads),
    }
}

fn gateway(tower: Option<&Path>, rounds: u32, scenarios: &str, peers: &str, soak: u64) -> Result<()> {
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
    // Gateways are started in the harness's own folder.
    let tower = tower.map_or_else(|| build::binary(false), |tower| Ok(std::path::absolute(tower)?))?;

    let work = emptied("bench/gateways")?;
    let peers_file = work.join("peers.json");
    std::fs::write(&peers_file, peers_json(&harness, &tower, &work, peers)?)?;

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

/// A directory of the target's with nothing in it: every run starts from an empty control database and an empty spool.
fn emptied(name: &str) -> Result<PathBuf> {
    let work = sh::target().join(name);
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
    Ok(work)
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

/// Where a peer of ours has its configuration, control database, spool and budgets.
struct Place {
    tower: PathBuf,
    dir: PathBuf,
}

/// An API key.
struct Key {
    id: String,
    secret: String,
}

impl Place {
    fn new(tower: &Path, dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let config = format!(
            "[control]\nurl = \"sqlite://{db}\"\n\n[gateway]\nlisten = \"{LISTEN}\"\ncollector_url = \"http://127.0.0.1:9000\"\n\
             collector_key = \"a-service-key-for-the-benchmark-only\"\n\n[gateway.spool]\ndir = \"{spool}\"\n\n\
             [gateway.budgets]\ndir = \"{budgets}\"\n",
            db = dir.join("control.db").display(),
            spool = dir.join("spool").display(),
            budgets = dir.join("budgets").display(),
        );
        std::fs::write(dir.join("control-tower.toml"), config)?;
        Ok(Self { tower: tower.to_owned(), dir })
    }

    fn admin(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.tower);
        command.args(args).arg("--json").arg("--config").arg(self.dir.join("control-tower.toml"));
        sh::output(&mut command)
    }

    fn seed(&self) -> Result<()> {
        self.admin(&["prices", "seed"]).map(drop)
    }

    /// A key of the tenant `bench`.
    fn key(&self, more: &[&str]) -> Result<Key> {
        let create = ["key", "create", "--tenant", "bench", "--name", "bench"];
        let created: serde_json::Value = serde_json::from_str(&self.admin(&[&create[..], more].concat())?)?;
        let text = |field: &str| {
            created[field]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("key create printed no {field}"))
        };
        Ok(Key { id: text("id")?, secret: text("secret")? })
    }
}

/// Writes the control database of ours as it is without policies; returns a tenant's key.
fn prepare(place: &Place) -> Result<String> {
    place.seed()?;
    place.admin(&[
        "provider",
        "create",
        "openai",
        "--base-url",
        UPSTREAM,
        "--secret",
        "literal:sk-upstream",
    ])?;
    place.admin(&["model", "create", "gpt-4o-mini", "--provider", "openai"])?;
    place.admin(&["tenant", "create", "bench", "--name", "Bench"])?;
    Ok(place.key(&[])?.secret)
}

/// The harness's list of peers with ours filled in.
fn peers_json(harness: &Path, tower: &Path, work: &Path, wanted: &str) -> Result<String> {
    let text = std::fs::read_to_string(harness.join("peers.json"))?;
    let mut peers: serde_json::Value = serde_json::from_str(&text)?;
    for name in wanted.split(',') {
        let is_full = name == full::WITH_REDIS || full::PEERS.split(',').any(|peer| peer == name);
        if name != "ours" && !is_full {
            continue;
        }
        let place = Place::new(tower, work.join(name))?;
        let key = if is_full { full::prepare(&place)? } else { prepare(&place)? };
        let ours = serde_json::json!({
            "cmd": [tower, "gateway", "--config", place.dir.join("control-tower.toml")],
            "url": format!("http://{LISTEN}/v1/chat/completions"),
            "model": "gpt-4o-mini",
            "headers": [format!("Authorization: Bearer {key}")],
            "ready_timeout": 60,
        });
        peers[name] = if is_full { full::peer(ours, name) } else { ours };
    }
    Ok(peers.to_string())
}
