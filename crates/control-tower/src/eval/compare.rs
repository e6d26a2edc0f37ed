//! `control-tower eval compare`.

use super::Place;
use crate::output::say;
use anyhow::bail;
use clap::Args;
use evaluator::runs::compare::compare;
use evaluator::runs::{RunResult, account, report, table};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The run before.
    before: String,
    /// The run after.
    after: String,
    /// Slices to look at, separated by commas; all that the rows have, otherwise.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    slices: Vec<String>,
    /// Write the table: Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Reads both runs from ClickHouse and tells what changed.
pub(crate) async fn run(args: CompareArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (scope, warehouse) = (args.place.scope()?, args.place.warehouse(config)?);
    let read = async |run: &str| -> anyhow::Result<Vec<RunResult>> {
        let Some(found) = warehouse.eval_runs(&scope, Some(run)).await?.into_iter().next() else {
            bail!("there is no run {run:?} of this tenant");
        };
        if found.state != "finished" {
            bail!(
                "run {run:?} is not finished ({} of {} results): finish it first",
                found.results,
                found.planned
            );
        }
        Ok(account::fetch(&warehouse, &scope, run).await?)
    };
    let (before, after) = (read(&args.before).await?, read(&args.after).await?);
    let slices = if args.slices.is_empty() { table::slices(&before) } else { args.slices };
    let changes = compare(&before, &after, &slices)?;
    if changes.is_empty() {
        bail!("the runs {:?} and {:?} have no row in common", args.before, args.after);
    }
    let text = report::changes(&changes);
    if let Some(path) = &args.markdown {
        std::fs::write(path, &text)?;
    }
    if args.json {
        say(&serde_json::to_string_pretty(&changes)?);
    } else {
        text.lines().for_each(say);
    }
    Ok(ExitCode::SUCCESS)
}
