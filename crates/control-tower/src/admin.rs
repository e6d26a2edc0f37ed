//! Administration on the command line: tenants, keys, providers, models, routes, prices and users.
//!
//! The commands open the control database directly, so they work before anything runs and while the web role is down.
//! Running roles take a change up within 2 seconds. Each prints a table or a line for people, or JSON with `--json`: the
//! same JSON that the admin API answers with.

mod keys;
mod models;
mod output;
mod prices;
mod providers;
mod routes;
mod tenants;
mod users;
mod when;

use crate::config::TowerConfig;
use crate::output::fail;
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::Timestamp;
use control::Control;
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
    /// Routes: names that lead to a model.
    #[command(visible_alias = "routes")]
    Route(On<routes::RouteCommand>),
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
    /// Data directory of a tower started with `up`: its control database is meant.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "control_url")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
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

async fn open(place: &Place, config: Option<&Path>) -> anyhow::Result<Work> {
    let url = url(place, config)?;
    // Most often a slip of the directory: say so, but do not stand in the way of who sets up a database first.
    if let Some(path) = url.strip_prefix("sqlite://").map(Path::new)
        && !path.exists()
    {
        fail(&format!("there is no control database at {}: making an empty one", path.display()));
    }
    let control = Control::open(&url).await.context("cannot open the control database")?;
    Ok(Work { control, now: Clock::system().now(), json: place.json })
}

fn url(place: &Place, config: Option<&Path>) -> anyhow::Result<String> {
    if let Some(url) = &place.control_url {
        return Ok(url.clone());
    }
    if let Some(directory) = &place.data_dir {
        return Ok(format!("sqlite://{}", directory.join("control.db").display()));
    }
    Ok(runtime::config::load::<TowerConfig>(config)?.control.url().to_owned())
}
