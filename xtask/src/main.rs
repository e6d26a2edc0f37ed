//! Builds, runs, tests and tidies Control Tower: `cargo xtask <command>`.
//!
//! `up` and `test` are the two commands of the README; the others are the steps that they are made of. Whatever a step
//! needs that a bare machine lacks (the engine's library, the embedder's weights, Chromium, PostgreSQL, npm and Python packages) the step installs
//! itself, pinned.

#![expect(clippy::print_stderr, reason = "a build tool speaks to the person who runs it")]

mod bench;
mod build;
mod console;
mod engine;
mod models;
mod sh;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, run, test and tidy Control Tower")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and start a whole control tower on this machine.
    Up {
        /// Build without optimisation: starts sooner, serves slower.
        #[arg(long)]
        debug: bool,
        /// Passed on to `control-tower up`, such as --data-dir DIR --port-base N --config FILE.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Build the engine library's place, the console's assets and the binary.
    Build {
        /// Build without optimisation.
        #[arg(long)]
        debug: bool,
    },
    /// Prove it: tidy, format, lints, licences, unit and property tests, end-to-end tests with real parts.
    Test {
        /// Only these steps, comma-separated, such as tidy,fmt,clippy.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Check the house rules (docs/ARCHITECTURE.md, "Never").
    Tidy,
    /// Fetch the embedded ClickHouse engine's library into the user's cache.
    Engine,
    /// Fetch the default embedder's weights into the user's cache.
    Models,
    /// Build the console's browser assets.
    Console,
    /// Measure, side by side with peers, in one run.
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { debug, rest } => build::up(debug, &rest),
        Command::Build { debug } => build::build(debug).map(drop),
        Command::Test { only } => test::run(&only),
        Command::Tidy => tidy::run(),
        Command::Engine => engine::fetch().map(drop),
        Command::Models => models::fetch().map(drop),
        Command::Console => build::console_assets().map(drop),
        Command::Bench { what } => bench::run(&what),
    }
}
