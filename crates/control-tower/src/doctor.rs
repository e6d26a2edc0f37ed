//! `control-tower doctor`: what runs, what is reachable, how full the disk is, which versions.

use crate::cli::DoctorArgs;
use crate::output;
use crate::probe::Probe;
use crate::roles;
use crate::up::{Bootstrap, read_pids, read_urls};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use warehouse::Warehouse;

/// How long a role may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Less free disk than this is a problem.
const LEAST_FREE_BYTES: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    version: &'static str,
    engine_version: &'static str,
    data_dir: String,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    detail: String,
}

impl Report {
    fn note(&mut self, name: impl Into<String>, outcome: Result<String, String>) {
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        self.checks.push(Check { name: name.into(), ok, detail });
    }
}

/// Examines the tower of `args.data_dir`; fails when something is amiss.
pub(crate) fn run(args: &DoctorArgs, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        engine_version: warehouse::engine::ENGINE_VERSION,
        data_dir: args.data_dir.display().to_string(),
        ..Report::default()
    };
    roles::block_on(async {
        examine(&mut report, &Probe::new()?, &args.data_dir, file).await;
        Ok(())
    })?;
    report.ok = report.checks.iter().all(|check| check.ok);
    if args.json {
        output::say(&serde_json::to_string_pretty(&report)?);
    } else {
        output::say(&format!(
            "control-tower {}, engine {}, data in {}",
            report.version, report.engine_version, report.data_dir
        ));
        for check in &report.checks {
            output::say(&format!(
                "{} {:<14} {}",
                if check.ok { "ok  " } else { "FAIL" },
                check.name,
                check.detail
            ));
        }
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(report: &mut Report, probe: &Probe, dir: &Path, file: Option<&Path>) {
    let config = roles::load(file);
    report.note(
        "configuration",
        config.as_ref().map(|_| "valid".to_owned()).map_err(|error| format!("{error:#}")),
    );
    report.note("disk", disk(dir));
    if let Ok(config) = &config
        && config.store.clickhouse_url.is_none()
    {
        let places = config.store.engine(Some(dir)).library;
        let found = warehouse::engine::find_library(&places);
        report.note(
            "engine library",
            found.map(|path| path.display().to_string()).map_err(|error| error.to_string()),
        );
    }
    if let Ok(config) = &config
        && !config.gateway.budgets.redis.is_empty()
    {
        report.note("budgets' Redis", redis(&config.gateway).await);
    }
    match read_pids(dir) {
        None => report.note("processes", Err("no tower is up on this directory".to_owned())),
        Some(pids) => {
            let urls = read_urls(dir).unwrap_or_default();
            // Roles that should run, too: one that is being started again has no process for a moment.
            let roles: BTreeSet<&String> = pids.keys().chain(urls.keys()).collect();
            for role in roles {
                let process = process(pids.get(role).copied());
                let health = match urls.get(role) {
                    Some(url) => health(probe, url).await,
                    None => Ok(String::new()),
                };
                report.note(role, both(process, health));
            }
        }
    }
    match Bootstrap::read(dir) {
        Ok(Some(bootstrap)) => clickhouse(report, &bootstrap).await,
        Ok(None) => {
            report.note("bootstrap.json", Err("missing: no tower was ever up on this directory".to_owned()));
        }
        Err(error) => report.note("bootstrap.json", Err(format!("{error:#}"))),
    }
}

fn process(pid: Option<u32>) -> Result<String, String> {
    let pid = pid.ok_or("no process")?;
    let alive = Path::new("/proc").join(pid.to_string()).exists();
    if alive { Ok(format!("process {pid}")) } else { Err(format!("process {pid} is gone")) }
}

/// What a role says about itself.
async fn health(probe: &Probe, url: &str) -> Result<String, String> {
    match probe.get(&format!("{url}/readyz"), PATIENCE).await {
        Ok((status, body)) if status.is_success() => {
            Ok([&format!("{url} is ready"), &reasons(&body)].map(String::as_str).concat())
        }
        Ok((status, body)) => Err(format!("{url}/readyz says {status}{}", reasons(&body))),
        Err(silence) => Err(format!("{url}/readyz: {silence}")),
    }
}

/// What is remarkable about the components of a `/readyz`.
fn reasons(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let components = body["components"].as_object().into_iter().flatten();
    components.filter_map(|(name, state)| Some(format!("; {name}: {}", state["reason"].as_str()?))).collect()
}

/// Fine when both are; says both.
fn both(first: Result<String, String>, second: Result<String, String>) -> Result<String, String> {
    let fine = first.is_ok() && second.is_ok();
    let [first, second] = [first, second].map(|part| part.unwrap_or_else(|why| why));
    let said = if second.is_empty() { first } else { format!("{first}, {second}") };
    if fine { Ok(said) } else { Err(said) }
}

/// Whether ClickHouse, embedded or not, answers and lets us in.
async fn clickhouse(report: &mut Report, bootstrap: &Bootstrap) {
    let version =
        tokio::time::timeout(PATIENCE, Warehouse::connect(bootstrap.warehouse(None)).server_version()).await;
    let outcome = match version {
        Ok(Ok(version)) => Ok(format!("ClickHouse {version}")),
        Ok(Err(error)) => Err(format!("ClickHouse: {:#}", anyhow::Error::new(error))),
        Err(_) => Err(format!("ClickHouse: no answer within {} s", PATIENCE.as_secs())),
    };
    report.note(bootstrap.clickhouse.url.clone(), outcome);
}

/// Whether the Redis that holds budgets lets us in. Its URL may hold a password, so it is not shown.
async fn redis(config: &gateway_proxy::Config) -> Result<String, String> {
    let ca = runtime::tls::authorities("gateway.redis_ca_file", config.redis_ca_file.as_deref());
    let ca = ca.map_err(|error| error.to_string())?;
    let ask = async {
        let client = budget::redis_client(&config.budgets.redis, ca.as_deref())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(_)) => Ok("answers".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Free space where the data is.
fn disk(dir: &Path) -> Result<String, String> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let gib = |bytes: u64| bytes / (1024 * 1024 * 1024);
    let detail = format!("{} GiB free of {} GiB", gib(free), gib(total));
    if free < LEAST_FREE_BYTES { Err(format!("{detail}: expected at least 1 GiB free")) } else { Ok(detail) }
}
