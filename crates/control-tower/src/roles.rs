//! Running one role in this process.

use crate::cli::{Role, RoleArgs, SimArgs};
use crate::compilers::COMPILERS;
use crate::config::TowerConfig;
use anyhow::{Context, bail};
use runtime::Shutdown;
use std::path::Path;
use warehouse::Warehouse;

/// Runs `role` until it is told to stop.
pub(crate) fn run(role: Role, file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    match role {
        Role::Gateway(args) => {
            runtime::telemetry::init_with("gateway", &config.log)?;
            let control = config.control.url().to_owned();
            let gateway = config.gateway()?;
            block_on(async { gateway_proxy::run(gateway, &control, shutdown(args)).await })
        }
        Role::Collector(args) => {
            runtime::telemetry::init_with("collector", &config.log)?;
            let warehouse = config.store.warehouse();
            block_on(async {
                collector::run(config.collector, warehouse, config.control.url(), shutdown(args)).await
            })
        }
        Role::Evaluator(args) => {
            runtime::telemetry::init_with("evaluator", &config.log)?;
            let warehouse = config.store.warehouse();
            // The engine's directory lies in the data directory, as the models do.
            let data_dir = config.store.dir.parent().map(Path::to_owned);
            let control = config.control.url().to_owned();
            let evaluator = config.evaluator();
            block_on(async { evaluator::run(evaluator, warehouse, &control, data_dir, shutdown(args)).await })
        }
        Role::Web(args) => {
            runtime::telemetry::init_with("web", &config.log)?;
            let warehouse = config.store.reader();
            block_on(async {
                let control = config.control.url();
                web::server::run(config.web, warehouse, control, COMPILERS, shutdown(args)).await
            })
        }
        Role::Store => {
            runtime::telemetry::init_with("store", &config.log)?;
            if let Some(url) = &config.store.clickhouse_url {
                bail!(
                    "store.clickhouse_url = {url:?}: there is nothing to embed; leave the key out to embed the engine"
                );
            }
            crate::store::run(&config.store)
        }
    }
}

/// Runs the simulated pool, the command line over the configuration.
pub(crate) fn sim(args: SimArgs, file: Option<&Path>) -> anyhow::Result<()> {
    let config = load(file)?;
    runtime::telemetry::init_with("sim", &config.log)?;
    let mut sim = config.sim;
    sim.listen = args.listen.unwrap_or(sim.listen);
    sim.answers.extend(args.answers);
    sim.log = args.log.or(sim.log);
    block_on(async { sim::run(sim, shutdown(args.role)).await })
}

/// Brings ClickHouse's schema up to date; `alone` while nobody inserts.
pub(crate) fn migrate(file: Option<&Path>, alone: bool) -> anyhow::Result<()> {
    let config = load(file)?;
    block_on(async {
        let warehouse = Warehouse::connect(config.store.warehouse());
        if alone {
            warehouse.migrate_alone().await?;
        } else {
            warehouse.migrate().await?;
        }
        Ok(())
    })
}

/// Reads and checks the configuration.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<TowerConfig> {
    let config: TowerConfig = runtime::config::load(file)?;
    match config.problems().as_slice() {
        [] => Ok(config),
        problems => bail!("the configuration is not valid:\n  {}", problems.join("\n  ")),
    }
}

/// Runs a future on a runtime of its own. With one core to run on, threads would only hand work to each other: a single
/// one serves a call with a fifth less CPU time.
pub(crate) fn block_on<F: Future<Output = anyhow::Result<()>>>(future: F) -> anyhow::Result<()> {
    let mut builder = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().context("cannot start the asynchronous runtime")?.block_on(future)
}

fn shutdown(args: RoleArgs) -> Shutdown {
    let shutdown = Shutdown::on_signals();
    if args.stop_on_stdin_end { shutdown.with_parent_watch() } else { shutdown }
}
