//! `control-tower eval dataset`.

use super::Place;
use crate::output::{fail, say};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use contracts::Timestamp;
use contracts::reads::TimeRange;
use control::records::Annotation;
use evaluator::datasets::{self, DatasetRef, Origin, Row, Version};
use runtime::Clock;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use warehouse::{DatasetCall, DatasetFilter, Warehouse};

/// How far back calls are looked for, and labels.
const HOURS_OF_CALLS: u32 = 24;
const HOURS_OF_LABELS: u32 = 24 * 90;

/// What to do with truth sets.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Make a version of a dataset, from a file or from production calls. The same rows make the same version.
    Create(Box<CreateArgs>),
    /// List datasets and their versions, newest first.
    List(ListArgs),
    /// Show a version: where it comes from, its first rows.
    Show(OneArgs),
    /// Write the canonical rows of a version (JSON Lines) to standard output or a file.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name of the dataset.
    name: String,
    #[command(flatten)]
    source: Source,
    /// Calls, or labels, of the last so many hours: 24 of calls, 90 days of labels otherwise.
    #[arg(long, value_name = "HOURS")]
    since_hours: Option<u32>,
    /// With --from-annotations: calls of this queue.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "from_annotations")]
    queue: String,
    /// With --from-annotations: calls with this label; may be repeated.
    #[arg(long, value_name = "LABEL", requires = "from_annotations")]
    label: Vec<String>,
    /// Calls of this route; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "from_annotations")]
    route: Vec<String>,
    /// Calls that asked for this model; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "from_annotations")]
    model: Vec<String>,
    /// Calls with this version of a prompt.
    #[arg(long, value_name = "VERSION", conflicts_with = "from_annotations")]
    prompt_version: Option<String>,
    /// Calls that a judge scored within bounds: NAME:LEAST:MOST, such as grounding:0:0.5.
    #[arg(long, value_name = "NAME:LEAST:MOST", conflicts_with = "from_annotations")]
    judged: Option<String>,
    /// At most so many calls, the newest.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
    /// Keep the answers that were given as reference answers. Of labelled calls, those that passed are kept anyway.
    #[arg(long, conflicts_with = "from_annotations")]
    answers_are_expected: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where the rows come from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// File with the rows (.jsonl, .csv, .parquet): id, input or messages, context, expected, params; other fields are slices.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Take production calls that were answered in full.
    #[arg(long)]
    from_calls: bool,
    /// Take production calls that people labelled: the label becomes the slice `label`, an answer that passed the reference.
    #[arg(long)]
    from_annotations: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// NAME or NAME@VERSION.
    dataset: String,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// NAME or NAME@VERSION.
    dataset: String,
    /// Where to; standard output otherwise.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(crate) async fn run(command: DatasetCommand, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        DatasetCommand::Create(args) => create(&args, config).await,
        DatasetCommand::List(args) => list(&args, config).await,
        DatasetCommand::Show(args) => show(&args, config).await,
        DatasetCommand::Export(args) => export(&args, config).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn create(args: &CreateArgs, config: Option<&Path>) -> anyhow::Result<()> {
    let (tenant, warehouse) = (args.place.tenant()?, args.place.warehouse(config)?);
    let (rows, origin) = match &args.source.from {
        Some(path) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (datasets::read(path)?, Origin::File { name })
        }
        None if args.source.from_annotations => from_annotations(args, &warehouse, config).await?,
        None => from_calls(args, &warehouse).await?,
    };
    let version = Version::new(rows)?;
    let now = Clock::system().now();
    let new = datasets::create(&warehouse, &tenant, &args.name, &version, &origin, now).await?;
    if args.json {
        let told =
            json!({"name": args.name, "version": version.hash(), "rows": version.rows().len(), "new": new});
        say(&told.to_string());
    } else {
        let what = if new { "made" } else { "was there already" };
        say(&format!("{}@{} {what}: {} rows", args.name, &version.hash()[..12], version.rows().len()));
    }
    Ok(())
}

async fn from_calls(args: &CreateArgs, warehouse: &Warehouse) -> anyhow::Result<(Vec<Row>, Origin)> {
    let now = Clock::system().now().unix_millis();
    let since_hours = args.since_hours.unwrap_or(HOURS_OF_CALLS);
    let filter = DatasetFilter {
        range: TimeRange { from_ms: now - i64::from(since_hours) * 3_600_000, to_ms: now },
        routes: args.route.clone(),
        models: args.model.clone(),
        prompt_version: args.prompt_version.clone(),
        judged: args.judged.as_deref().map(judged).transpose()?,
        limit: args.limit,
    };
    let calls = warehouse.dataset_calls(&args.place.scope()?, &filter).await?;
    let rows: Vec<Row> =
        calls.iter().filter_map(|call| datasets::from_call(call, args.answers_are_expected)).collect();
    if rows.is_empty() {
        bail!("{} calls match, and none has its messages kept: nothing to make a dataset of", calls.len());
    }
    if rows.len() < calls.len() {
        fail(&format!(
            "{} of {} calls are left out: their messages were not kept",
            calls.len() - rows.len(),
            calls.len()
        ));
    }
    let filter = format!(
        "last {since_hours} h, routes {:?}, models {:?}, prompt version {:?}, judged {:?}",
        args.route, args.model, args.prompt_version, args.judged
    );
    Ok((rows, Origin::Calls { filter }))
}

/// Calls with a label, from the queue in the control database, as far as their messages are still known.
async fn from_annotations(
    args: &CreateArgs,
    warehouse: &Warehouse,
    config: Option<&Path>,
) -> anyhow::Result<(Vec<Row>, Origin)> {
    let (tenant, now) = (args.place.tenant()?, Clock::system().now());
    let since_hours = args.since_hours.unwrap_or(HOURS_OF_LABELS);
    let since = Timestamp::from_unix_nanos(now.unix_nanos() - i64::from(since_hours) * 3_600_000_000_000);
    let annotations = args.place.judging(config).await?.annotations();
    let mut labelled = annotations.labelled(&tenant, &args.queue, since).await?;
    labelled.retain(|annotation| {
        let label = annotation.label.as_ref();
        label.is_some_and(|label| args.label.is_empty() || args.label.contains(&label.label))
    });
    labelled.truncate(usize::try_from(args.limit)?);
    let ids: Vec<(String, String)> =
        labelled.iter().map(|one| (one.trace_id.clone(), one.span_id.clone())).collect();
    let calls = warehouse.dataset_annotated(&args.place.scope()?, &ids, now.unix_nanos()).await?;
    let calls: HashMap<(&str, &str), &DatasetCall> =
        calls.iter().map(|call| ((call.trace_id.as_str(), call.span_id.as_str()), call)).collect();
    let of = |one: &Annotation| calls.get(&(one.trace_id.as_str(), one.span_id.as_str())).copied();
    let rows: Vec<Row> = labelled.iter().filter_map(|one| datasets::from_annotation(one, of(one))).collect();
    let left_out = labelled.len() - rows.len();
    if rows.is_empty() {
        bail!(
            "{} labelled calls in queue {:?} match, and of none is known what was asked: nothing to make a dataset of",
            labelled.len(),
            args.queue
        );
    }
    if left_out > 0 {
        fail(&format!("{left_out} of {} calls are left out: what was asked was not kept", labelled.len()));
    }
    let filter = format!("queue {:?}, labels {:?}, last {since_hours} h", args.queue, args.label);
    Ok((rows, Origin::Annotations { filter }))
}

fn judged(text: &str) -> anyhow::Result<(String, f64, f64)> {
    let parts: Vec<&str> = text.split(':').collect();
    if let [judge, least, most] = parts[..]
        && let (Ok(least), Ok(most)) = (least.parse::<f64>(), most.parse::<f64>())
        && least <= most
        && !judge.is_empty()
    {
        return Ok((judge.to_owned(), least, most));
    }
    bail!("--judged {text:?} is not valid: expected NAME:LEAST:MOST, such as grounding:0:0.5")
}

async fn list(args: &ListArgs, config: Option<&Path>) -> anyhow::Result<()> {
    let versions = datasets::list(&args.place.warehouse(config)?, &args.place.tenant()?, None).await?;
    if args.json {
        say(&serde_json::to_string_pretty(&versions)?);
        return Ok(());
    }
    for version in versions {
        let (short, made) =
            (&version.version[..version.version.len().min(12)], super::when(version.created_ns));
        say(&format!("{}@{short}  {} rows  {made}  {}", version.name, version.row_count, version.origin));
    }
    Ok(())
}

async fn show(args: &OneArgs, config: Option<&Path>) -> anyhow::Result<()> {
    let (tenant, warehouse) = (args.place.tenant()?, args.place.warehouse(config)?);
    let found = datasets::resolve(&warehouse, &tenant, &DatasetRef::parse(&args.dataset)?).await?;
    let version = datasets::load(&warehouse, &tenant, &found).await?;
    let first = &version.rows()[..version.rows().len().min(3)];
    if args.json {
        say(&serde_json::to_string_pretty(&json!({"version": found, "first_rows": first}))?);
        return Ok(());
    }
    say(&format!("{}@{}", found.name, found.version));
    say(&format!("{} rows, made {}, {}", found.row_count, super::when(found.created_ns), found.origin));
    datasets::export(first).lines().for_each(say);
    Ok(())
}

async fn export(args: &ExportArgs, config: Option<&Path>) -> anyhow::Result<()> {
    let (tenant, warehouse) = (args.place.tenant()?, args.place.warehouse(config)?);
    let found = datasets::resolve(&warehouse, &tenant, &DatasetRef::parse(&args.dataset)?).await?;
    let text = datasets::export(datasets::load(&warehouse, &tenant, &found).await?.rows());
    match &args.to {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string())?,
        None => text.lines().for_each(say),
    }
    Ok(())
}
