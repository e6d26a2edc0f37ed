//! `control-tower up`: the whole tower on one machine.
//!
//! A start: the data directory is locked, its credentials are found or made ([`bootstrap`], [`first_start`]), the roles are
//! started as child processes ([`plan`], [`supervisor`]), the schema is brought up to date as soon as the engine answers, and
//! when every role says it is ready one line says so. A role that dies is started again at once, one that hangs is
//! killed first ([`pulse`]). A stop goes against the way of the data: the gateway drains, then the collector takes up what is
//! left, the engine stops last.

mod bootstrap;
mod first_start;
mod place;
mod plan;
mod pulse;
mod supervisor;

pub(crate) use bootstrap::Bootstrap;
pub(crate) use place::{Place, read_pids, read_urls};

use crate::cli::UpArgs;
use crate::config::TowerConfig;
use crate::output;
use crate::probe::Probe;
use crate::roles;
use anyhow::Context;
use plan::{Plan, Spec};
use runtime::{Clock, Shutdown};
use std::path::Path;
use std::time::{Duration, Instant};
use supervisor::{Board, Child};
use warehouse::Warehouse;

/// How long the whole start may take; an engine that repairs a large data directory takes the longest.
const START_DEADLINE: Duration = Duration::from_mins(3);

/// Starts a tower and keeps it up until it is told to stop.
pub(crate) fn run(args: &UpArgs, file: Option<&Path>) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = roles::load(file)?;
    runtime::telemetry::init_with("up", &config.log)?;
    roles::block_on(up(args, config, file, started))
}

async fn up(args: &UpArgs, config: TowerConfig, file: Option<&Path>, started: Instant) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals();
    let place = Place::open(&args.data_dir)?;
    place.wait_for_predecessors().await;
    let plan = Plan::new(&place, args, &config, file)?;
    let (bootstrap, pool) = first_start::prepare(&plan, &config, &Clock::system()).await?;
    bootstrap.write(&place)?;
    let specs = plan.specs(&config, &bootstrap, pool)?;
    let board = Board::new(&place, &specs)?;
    let mut tower = Tower { children: Vec::new(), board: board.clone(), probe: Probe::new()? };
    let outcome = tokio::select! {
        ready = tower.start(specs, &bootstrap, config.store.cluster.clone()) => ready,
        () = shutdown.triggered() => Ok(()),
    };
    if outcome.is_ok() && !shutdown.is_triggered() {
        summary(&bootstrap, &place, pool);
        output::say(&format!("ready in {:.1} s", started.elapsed().as_secs_f64()));
        shutdown.triggered().await;
    }
    tower.stop().await;
    board.clear();
    outcome
}

/// Whether the simulated pool runs beside the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Providers are configured, and it is not one of them.
    Real,
    /// It is a provider of this tower.
    Simulated,
}

struct Tower {
    /// In the order in which they are stopped.
    children: Vec<Child>,
    board: Board,
    probe: Probe,
}

impl Tower {
    async fn start(
        &mut self,
        specs: Vec<Spec>,
        bootstrap: &Bootstrap,
        cluster: Option<String>,
    ) -> anyhow::Result<()> {
        let (early, late): (Vec<Spec>, Vec<Spec>) = specs.into_iter().partition(|spec| spec.before_schema);
        let deadline = Instant::now() + START_DEADLINE;
        for spec in early {
            self.children.push(Child::start(spec, self.board.clone(), self.probe.clone()));
        }
        self.wait_until_ready("store", deadline).await?;
        // Every role that reads or writes ClickHouse finds its tables there. Into a server of its own nobody else inserts yet.
        let warehouse = Warehouse::connect(bootstrap.warehouse(cluster));
        let migrated =
            if self.has_own_store() { warehouse.migrate_alone().await } else { warehouse.migrate().await };
        migrated.context("cannot bring ClickHouse's schema up to date")?;
        for spec in late {
            self.children.push(Child::start(spec, self.board.clone(), self.probe.clone()));
        }
        self.children.sort_by_key(|child| child.spec().stop_order);
        for index in 0..self.children.len() {
            let Some(child) = self.children.get(index) else { break };
            let role = child.spec().role;
            self.wait_until_ready(role, deadline).await?;
        }
        Ok(())
    }

    /// Whether the ClickHouse of this tower is the embedded engine.
    fn has_own_store(&self) -> bool {
        self.children.iter().any(|child| child.spec().role == "store")
    }

    /// Waits for a role; fails when it keeps dying or takes too long. A role that is not ours to start is ready.
    async fn wait_until_ready(&self, role: &str, deadline: Instant) -> anyhow::Result<()> {
        let Some(child) = self.children.iter().find(|child| child.spec().role == role) else { return Ok(()) };
        loop {
            if self.probe.is_ok(&child.spec().ready_url()).await {
                return Ok(());
            }
            child.check_alive(&self.board)?;
            if Instant::now() > deadline {
                let unready = self.probe.get(&child.spec().ready_url(), Duration::from_secs(2)).await;
                let answer = unready.map_or_else(
                    |silence| silence.to_string(),
                    |(_, body)| String::from_utf8_lossy(&body).into_owned(),
                );
                anyhow::bail!("{role} did not become ready within {} s: {answer}", START_DEADLINE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn stop(self) {
        for child in self.children {
            child.stop().await;
        }
    }
}

fn summary(bootstrap: &Bootstrap, place: &Place, pool: Pool) {
    let dir = place.dir().display();
    if pool == Pool::Simulated {
        output::fail("no provider is configured: simulated models answer (sim-small, sim-large, …)");
    }
    output::fail(&format!(
        "console  {}  (user {}, password in {dir}/bootstrap.json)\n\
         gateway  {}/v1  (point an OpenAI SDK's base_url there, api_key = tenant_key in {dir}/bootstrap.json)\n\
         OTLP     {} (gRPC)  {} (HTTP)",
        bootstrap.console_url,
        bootstrap.console_user,
        bootstrap.gateway_url,
        bootstrap.otlp_grpc_url,
        bootstrap.otlp_http_url,
    ));
}
