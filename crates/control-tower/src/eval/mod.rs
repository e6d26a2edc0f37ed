//! `control-tower eval`: judging releases before they ship, and the judges themselves.
//!
//! - `dataset`: truth sets, made from files or production calls, kept in ClickHouse by the hash of their content;
//! - `run`: a truth set through the gateway, judged, within a cost ceiling, taken up again after a crash;
//! - `compare`: two runs, paired;
//! - `experiment`: the arms of an experiment in production;
//! - `detector`: the grounding detector on labelled answers.

mod compare;
mod dataset;
mod detector;
mod experiment;
mod run;

use crate::config::TowerConfig;
use crate::up::Bootstrap;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use contracts::TenantId;
use contracts::reads::TenantScope;
use control::Judging;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use warehouse::Warehouse;

/// What to evaluate.
#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Truth sets: create, list, show, export.
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Send a truth set through the gateway and judge the answers. The same --run again takes it up where it stopped.
    Run(Box<run::RunArgs>),
    /// Compare two runs over the same rows: paired differences with intervals, whole and by slice.
    Compare(compare::CompareArgs),
    /// Compare the arms of an experiment in production: effects that may be watched, guardrails, a decision.
    Experiment(experiment::ExperimentArgs),
    /// Measure the grounding detector on labelled answers.
    Detector(detector::DetectorArgs),
}

/// Which tower, and whose data.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory of a tower started with `up`: gateway, key, tenant and ClickHouse are taken from its `bootstrap.json`.
    #[arg(long, value_name = "DIR", env = "CONTROL_TOWER_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Whose data; the first tenant of the tower otherwise.
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
}

/// Runs the command; says how the process ends.
pub(crate) fn run(command: EvalCommand, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        EvalCommand::Detector(args) => detector::run(&args).map(|()| ExitCode::SUCCESS),
        EvalCommand::Dataset(command) => block_on(dataset::run(command, config)),
        EvalCommand::Run(args) => block_on(run::run(*args, config)),
        EvalCommand::Compare(args) => block_on(compare::run(args, config)),
        EvalCommand::Experiment(args) => block_on(experiment::run(args, config)),
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(future)
}

impl Place {
    fn bootstrap(&self) -> anyhow::Result<Option<Bootstrap>> {
        Bootstrap::read(&self.data_dir)
    }

    fn tenant(&self) -> anyhow::Result<TenantId> {
        if let Some(tenant) = &self.tenant {
            return Ok(tenant.clone());
        }
        let Some(bootstrap) = self.bootstrap()? else {
            bail!(
                "whose data? Give --tenant, or the --data-dir of a tower ({} is none)",
                self.data_dir.display()
            );
        };
        bootstrap.tenant_id.parse().context("bootstrap.json: tenant_id")
    }

    fn scope(&self) -> anyhow::Result<TenantScope> {
        Ok(TenantScope::one(self.tenant()?))
    }

    /// That of the tower, or else of the configuration.
    fn warehouse(&self, config: Option<&Path>) -> anyhow::Result<Warehouse> {
        if let Some(bootstrap) = self.bootstrap()? {
            return Ok(Warehouse::connect(bootstrap.warehouse(None)));
        }
        let config: TowerConfig = crate::roles::load(config)?;
        Ok(Warehouse::connect(config.store.warehouse()))
    }

    /// The evaluator's part of the control database: that of the configuration, or else of the data directory.
    async fn judging(&self, config: Option<&Path>) -> anyhow::Result<Judging> {
        let config: TowerConfig = crate::roles::load(config)?;
        let url = if let Some(url) = config.control.url {
            url
        } else {
            let path = self.data_dir.join("control.db");
            anyhow::ensure!(
                path.exists(),
                "there is no control database at {}: give the --data-dir of a tower, or control.url",
                path.display()
            );
            format!("sqlite://{}", path.display())
        };
        Judging::open(&url).await.context("open the control database")
    }
}

/// A moment in nanoseconds since the epoch as people write it.
fn when(nanos: i64) -> String {
    control::records::render_time(contracts::Timestamp::from_unix_nanos(nanos))
}
