//! Administration on the command line: tenants, keys, providers, models, routes, prices, users; policy, prompts, and who changed what.
//!
//! The commands open the control database directly, so they work before anything runs and while the web role is down.
//! Running roles take a change up within 2 seconds. Each prints a table or a line for people, or JSON with `--json`: the
//! same JSON that the admin API answers with.

mod audit;
mod caches;
mod documents;
mod experiments;
mod keys;
mod live;
mod models;
mod output;
mod prices;
mod prompts;
mod providers;
mod routes;
mod spec_file;
mod tenants;
mod users;
mod when;

use crate::cascade::{self, FitArgs};
use crate::compilers::COMPILERS;
use crate::config::TowerConfig;
use crate::output::fail;
use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use contracts::Timestamp;
use contracts::policy::Kind;
use control::{Actor, Control};
use runtime::Clock;
use std::path::{Path, PathBuf};

/// What to administer.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Tenants: list, show, create, change, delete.
    #[command(visible_alias = "tenants")]
    Tenant(On<tenants::TenantCommand>),
    /// API keys of tenants: list, create (the secret is shown once), change, revoke, delete.
    #[command(visible_alias = "keys")]
    Key(On<keys::KeyCommand>),
    /// Providers: where models are served.
    #[command(visible_alias = "providers")]
    Provider(On<providers::ProviderCommand>),
    /// Models at providers.
    #[command(visible_alias = "models")]
    Model(On<models::ModelCommand>),
    /// Routes: names that lead to a model, and what they do on the way.
    #[command(visible_alias = "routes")]
    Route(On<routes::RouteCommand>),
    /// Rate plans: how often and how much a tenant or a key may call.
    #[command(visible_alias = "plans")]
    Plan(On<documents::DocumentCommand>),
    /// Budgets: how much may be spent, and how much of it is used.
    #[command(visible_alias = "budgets")]
    Budget(On<BudgetCommand>),
    /// Pools: the deployments of a model, what waits before them, and how they do.
    #[command(visible_alias = "pools")]
    Pool(On<PoolCommand>),
    /// Cascades: which models a route asks in turn, and their thresholds fitted on recorded answers.
    #[command(visible_alias = "cascades")]
    Cascade(On<CascadeCommand>),
    /// Caches: which answers may be given again.
    #[command(visible_alias = "caches")]
    Cache(On<CacheCommand>),
    /// Guardrails: what may go in and come out.
    #[command(visible_alias = "guardrails")]
    Guardrail(On<documents::DocumentCommand>),
    /// Experiments: what a route compares.
    #[command(visible_alias = "experiments")]
    Experiment(On<ExperimentCommand>),
    /// Prompts: versions that never change, labels that move.
    #[command(visible_alias = "prompts")]
    Prompt(On<prompts::PromptCommand>),
    /// Who changed what.
    Audit(On<audit::AuditCommand>),
    /// The price book: list, import public price lists, write, delete.
    #[command(visible_alias = "price")]
    Prices(On<prices::PricesCommand>),
    /// Users of the console.
    #[command(visible_alias = "users")]
    User(On<users::UserCommand>),
    /// Keys of the admin API.
    #[command(visible_alias = "admin-keys")]
    AdminKey(On<users::AdminKeyCommand>),
}

/// What to do with cascades: what can be done with any document, and to make one.
#[derive(Debug, Subcommand)]
pub(crate) enum CascadeCommand {
    #[command(flatten)]
    Kept(documents::DocumentCommand),
    /// Fit weights and thresholds on recorded answers, and say what they are worth on prompts that were not fitted on.
    Fit(Box<FitArgs>),
}

/// What to do with budgets: what can be done with any document, and to see what is used of them.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    #[command(flatten)]
    Kept(documents::DocumentCommand),
    /// Show what is spent, held and left in the current window, as the running gateways know it.
    Use(live::LiveArgs),
}

/// What to do with pools: what can be done with any document, and to see how they do.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    #[command(flatten)]
    Kept(documents::DocumentCommand),
    /// Show how deployments do and what waits before them, as the running gateways know it.
    Health(live::LiveArgs),
}

/// What to do with caches: what can be done with any document, and to purge them.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    #[command(flatten)]
    Kept(documents::DocumentCommand),
    /// Answer nothing any more with what was kept until now.
    Purge(documents::Which),
}

/// What to do with experiments: what can be done with any document, and to stop them, let them go on, and see what they deal.
#[derive(Debug, Subcommand)]
pub(crate) enum ExperimentCommand {
    #[command(flatten)]
    Kept(documents::DocumentCommand),
    /// Pause one: everybody gets the control.
    Pause(documents::Which),
    /// Let a paused one run again: everybody comes back to their arms.
    Resume(documents::Which),
    /// Show what each arm gets of new users, conversations or requests, and what was measured of it.
    Shares(documents::Which),
}

/// A command on the control database.
#[derive(Debug, Args)]
pub(crate) struct On<C: Subcommand> {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: C,
}

/// Which control database, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// URL of the control database; `control.url` of the configuration otherwise.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CONTROL_TOWER_CONTROL_URL",
        hide_env_values = true
    )]
    control_url: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// A data directory, and where it is named: on the command line it says which control database is meant, in the environment it is
/// what is left where nothing else says.
#[derive(Debug)]
struct DataDir {
    path: Option<PathBuf>,
    is_from_environment: bool,
}

/// As clap knows it.
#[derive(Debug, Args)]
struct DataDirArg {
    /// Data directory of a tower started with `up`: its control database is meant, unless `--control-url` is given. From the environment
    /// it counts where `control.url` is not configured.
    #[arg(long, global = true, value_name = "DIR", env = "CONTROL_TOWER_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl FromArgMatches for DataDir {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_from_environment = matches.value_source("data_dir") == Some(ValueSource::EnvVariable);
        Ok(Self { path: DataDirArg::from_arg_matches(matches)?.data_dir, is_from_environment })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for DataDir {
    fn augment_args(command: clap::Command) -> clap::Command {
        DataDirArg::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        DataDirArg::augment_args_for_update(command)
    }
}

/// What every command works with.
struct Work {
    control: Control,
    now: Timestamp,
    json: bool,
}

/// Runs an administrative command; what it finds goes to standard output.
pub(crate) fn run(command: AdminCommand, config: Option<&Path>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            AdminCommand::Tenant(on) => tenants::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Key(on) => keys::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Provider(on) => providers::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Model(on) => models::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Route(on) => routes::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Plan(on) => document(Kind::Plan, on, config).await,
            AdminCommand::Budget(On { place, command: BudgetCommand::Kept(command) }) => {
                document(Kind::Budget, On { place, command }, config).await
            }
            AdminCommand::Budget(On { place, command: BudgetCommand::Use(args) }) => {
                live::budgets(&args, place.data_dir.path.as_deref(), place.json).await
            }
            AdminCommand::Pool(On { place, command: PoolCommand::Kept(command) }) => {
                document(Kind::Pool, On { place, command }, config).await
            }
            AdminCommand::Pool(On { place, command: PoolCommand::Health(args) }) => {
                live::pools(&args, place.data_dir.path.as_deref(), place.json).await
            }
            AdminCommand::Cascade(On { place, command: CascadeCommand::Kept(command) }) => {
                document(Kind::Cascade, On { place, command }, config).await
            }
            AdminCommand::Cascade(On { command: CascadeCommand::Fit(args), .. }) => cascade::run(&args),
            AdminCommand::Cache(on) => caches::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Guardrail(on) => document(Kind::Guardrail, on, config).await,
            AdminCommand::Experiment(on) => {
                experiments::run(on.command, open(&on.place, config).await?).await
            }
            AdminCommand::Prompt(on) => prompts::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Audit(on) => audit::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::Prices(on) => {
                let work = open(&on.place, config).await?;
                prices::run(&on.command, &work.control, work.now, work.json).await
            }
            AdminCommand::User(on) => users::run(on.command, open(&on.place, config).await?).await,
            AdminCommand::AdminKey(on) => {
                users::run_admin_key(on.command, open(&on.place, config).await?).await
            }
        }
    })
}

async fn document(
    kind: Kind,
    on: On<documents::DocumentCommand>,
    config: Option<&Path>,
) -> anyhow::Result<()> {
    documents::run(kind, on.command, open(&on.place, config).await?).await
}

async fn open(place: &Place, config: Option<&Path>) -> anyhow::Result<Work> {
    let url = url(place, config)?;
    // Most often a slip of the directory: say so, but do not stand in the way of who sets up a database first.
    if let Some(path) = url.strip_prefix("sqlite://").map(Path::new)
        && !path.exists()
    {
        fail(&format!("there is no control database at {}: making an empty one", path.display()));
    }
    let control = Control::open(&url).await.context("cannot open the control database")?;
    let control = control.as_actor(Actor::cli()).compiling(COMPILERS);
    Ok(Work { control, now: Clock::system().now(), json: place.json })
}

fn url(place: &Place, config: Option<&Path>) -> anyhow::Result<String> {
    if let Some(url) = &place.control_url {
        return Ok(url.clone());
    }
    let of_dir = |dir: &PathBuf| format!("sqlite://{}", dir.join("control.db").display());
    let DataDir { path, is_from_environment } = &place.data_dir;
    if let Some(dir) = path.as_ref().filter(|_| !is_from_environment) {
        return Ok(of_dir(dir));
    }
    let control = runtime::config::load::<TowerConfig>(config)?.control;
    Ok(match (&control.url, path) {
        (None, Some(dir)) => of_dir(dir),
        _ => control.url().to_owned(),
    })
}
