//! The command line.

use crate::admin::AdminCommand;
use crate::eval::EvalCommand;
use crate::watch::TopArgs;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One place where every model call is admitted, routed, paid for and explained.
#[derive(Debug, Parser)]
#[command(name = "control-tower", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file (TOML). Each key can be overridden by the environment: `CONTROL_TOWER__SECTION__KEY`.
    #[arg(long, global = true, value_name = "FILE", env = "CONTROL_TOWER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole control tower on this machine.
    Up(UpArgs),
    #[command(flatten)]
    Role(Role),
    /// Serve simulated models that speak the protocols of OpenAI, Azure, Anthropic, Gemini and Bedrock.
    Sim(SimArgs),
    /// Bring ClickHouse's schema up to date.
    Migrate {
        /// No collector runs meanwhile: views that change are loaded anew, so that they know a batch again after the server's next restart.
        #[arg(long)]
        alone: bool,
    },
    #[command(flatten)]
    Admin(AdminCommand),
    /// Judge releases before they ship: truth sets, runs, comparisons, experiments.
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Check a configuration and say what is wrong with it.
    Check(CheckArgs),
    /// Show what goes on in the gateways: pools, queues, budgets, caches, and what is spent.
    Top(TopArgs),
    /// Say what runs, what is reachable, how full the disk is, which versions.
    Doctor(DoctorArgs),
}

/// A role that runs until it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Role {
    /// The OpenAI-compatible proxy.
    Gateway(RoleArgs),
    /// OTLP in, ClickHouse out.
    Collector(RoleArgs),
    /// Judges production calls, and whatever it is asked about.
    Evaluator(RoleArgs),
    /// The console, its JSON API and the admin API.
    Web(RoleArgs),
    /// The embedded ClickHouse engine. Stops when its standard input ends.
    Store,
}

/// How a role ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(crate) struct RoleArgs {
    /// Stop when standard input ends, as under a supervisor that holds the other end.
    #[arg(long)]
    pub(crate) stop_on_stdin_end: bool,
}

/// `control-tower up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = "data", env = "CONTROL_TOWER_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Added to every port, so that several towers run on one machine.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_base: u16,
    /// Show the roles' logs here, each line with its role, instead of in `DIR/logs`.
    #[arg(long)]
    pub(crate) show_logs: bool,
}

/// `control-tower sim`.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// Where to listen; overrides `sim.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Recorded answers (JSON Lines, plain or gzip); adds to `sim.answers`.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) answers: Vec<PathBuf>,
    /// Append each served call to this file (JSON Lines); overrides `sim.log`.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) role: RoleArgs,
}

/// `control-tower check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file to check; `--config` and the environment otherwise.
    pub(crate) file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `control-tower doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The directory of the tower to examine.
    #[arg(long, value_name = "DIR", default_value = "data", env = "CONTROL_TOWER_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_two_commands_or_options_have_one_name() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cascades_are_kept_and_fitted_under_one_name() {
        for line in [
            "control-tower cascade list --data-dir d",
            "control-tower cascade set cheap --file cheap.toml --json",
            "control-tower cascade fit --answers a.jsonl --tiers a,b --target-quality 0.9 --json",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(matches!(parsed.unwrap().command, Command::Admin(AdminCommand::Cascade(_))), "{line}");
        }
    }
}
