//! Control Tower: one binary, several roles.
//!
//! `control-tower up` is the whole product on one machine: it starts the other roles as child processes of itself and
//! keeps them alive. At scale each role runs alone (`control-tower gateway --config …`). The same binary checks a
//! configuration, says how a running tower fares and what goes on in it, and administers tenants, keys, models and prices.

mod admin;
mod cascade;
mod check;
mod cli;
mod compilers;
mod config;
mod doctor;
mod eval;
mod output;
mod probe;
mod roles;
mod store;
mod up;
mod watch;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            output::fail(&format!("control-tower: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up(args) => up::run(&args, file)?,
        Command::Role(role) => roles::run(role, file)?,
        Command::Sim(args) => roles::sim(args, file)?,
        Command::Admin(command) => admin::run(command, file)?,
        Command::Migrate { alone } => roles::migrate(file, alone)?,
        Command::Eval(command) => return eval::run(command, file),
        Command::Check(args) => return Ok(check::run(&args, file)),
        Command::Top(args) => return watch::run(&args),
        Command::Doctor(args) => return doctor::run(&args, file),
    }
    Ok(ExitCode::SUCCESS)
}
