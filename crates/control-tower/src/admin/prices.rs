//! `control-tower prices …`: the price book on the command line.

use crate::output::say;
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::Timestamp;
use contracts::price::{Charge, ModelPrice, PriceKey, ServiceTier};
use control::Control;
use control::prices::{Format, ImportReport, Note};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to do with the price book.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// List prices.
    List(ListArgs),
    /// Fill an empty price book with the prices that this binary carries.
    Seed,
    /// Read a public price list: genai-prices' data.json (version 2) or LiteLLM's `model_prices_and_context_window.json`.
    Import(ImportArgs),
    /// Write entries from a JSON file; each replaces the entry of the same provider, model and date.
    Put(PutArgs),
    /// Delete one price.
    Delete(DeleteArgs),
}

/// `control-tower prices list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this provider.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Only those whose own name, aliases or prefixes contain this.
    #[arg(long, value_name = "TEXT")]
    model: Option<String>,
}

/// `control-tower prices import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, as published.
    file: PathBuf,
    /// genai-prices or litellm; told by the file's first character when absent.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Say what would happen, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// List everything that was left out, not only how often and why.
    #[arg(long)]
    verbose: bool,
}

/// `control-tower prices put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// A JSON array of entries, in the form that `prices list --json` prints.
    file: PathBuf,
}

/// `control-tower prices delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The provider.
    provider: String,
    /// The model.
    model: String,
    /// Its date as `prices list` prints it; absent for the entry that holds since ever.
    #[arg(long, value_name = "DATE")]
    valid_from: Option<String>,
}

/// Runs the command against the control database; what it finds goes to standard output.
pub(crate) async fn run(
    command: &PricesCommand,
    control: &Control,
    now: Timestamp,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        PricesCommand::List(args) => list(args, control, json).await,
        PricesCommand::Seed => seed(control, json).await,
        PricesCommand::Import(args) => import(args, control, now, json).await,
        PricesCommand::Put(args) => put(args, control, json).await,
        PricesCommand::Delete(args) => delete(args, control, json).await,
    }
}

async fn seed(control: &Control, json: bool) -> anyhow::Result<()> {
    let written = control::prices::seed(control).await?;
    if json {
        say(&json!({ "added": written }).to_string());
    } else if written == 0 {
        say("the price book is not empty: nothing was written");
    } else {
        say(&format!("{written} prices were written"));
    }
    Ok(())
}

async fn list(args: &ListArgs, control: &Control, json: bool) -> anyhow::Result<()> {
    let book = control.prices().book().await?;
    let named = |entry: &ModelPrice, text: &str| {
        let mut names = std::iter::once(&entry.model).chain(&entry.aliases).chain(&entry.prefixes);
        names.any(|name| name.contains(text))
    };
    let wanted = |entry: &&ModelPrice| {
        args.provider.as_ref().is_none_or(|provider| *provider == entry.provider)
            && args.model.as_ref().is_none_or(|text| named(entry, text))
    };
    let entries: Vec<&ModelPrice> = book.entries().iter().filter(wanted).collect();
    if json {
        say(&serde_json::to_string_pretty(&entries)?);
        return Ok(());
    }
    for entry in &entries {
        say(&format!(
            "{:<24} {:<52} {:<12} {}",
            entry.provider,
            entry.model,
            entry.valid_from_text(),
            rates(entry)
        ));
    }
    say(&format!("{} of {} prices, version {}", entries.len(), book.entries().len(), book.version));
    Ok(())
}

/// The standard rates in a line.
fn rates(entry: &ModelPrice) -> String {
    match &entry.charge {
        Charge::Gpu(gpu) => format!("{} USD per GPU-hour × {}", gpu.usd_per_gpu_hour, gpu.gpus),
        Charge::Tokens(cards) => {
            let base = cards.iter().find(|card| card.tier == ServiceTier::Standard && card.above == 0);
            let shown =
                |rate: Option<contracts::price::Rate>| rate.map_or("-".to_owned(), |rate| rate.to_string());
            let line = base.map(|card| {
                let rates = &card.rates;
                format!(
                    "in {} out {} cache read {} write {}",
                    shown(rates.input),
                    shown(rates.output),
                    shown(rates.cache_read),
                    shown(rates.cache_write)
                )
            });
            let more = if cards.len() > 1 { format!(" (+{} cards)", cards.len() - 1) } else { String::new() };
            format!("{}{more}", line.unwrap_or_default())
        }
    }
}

async fn import(args: &ImportArgs, control: &Control, now: Timestamp, json: bool) -> anyhow::Result<()> {
    let bytes = read(&args.file)?;
    let report = control::prices::import(control, args.format, &bytes, args.dry_run, now)
        .await
        .with_context(|| format!("cannot import {}", args.file.display()))?;
    if json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        summarise(&report, args.verbose);
    }
    Ok(())
}

fn summarise(report: &ImportReport, verbose: bool) {
    let done = if report.dry_run { "would be" } else { "were" };
    say(&format!(
        "{}: {} models read, {} prices mapped; {} {done} added, {} changed, {} unchanged",
        report.format, report.models, report.mapped, report.added, report.changed, report.unchanged
    ));
    for (title, notes) in
        [("models left out", &report.dropped), ("details without a place in the book", &report.partial)]
    {
        say(&format!("{} {title}", notes.len()));
        if verbose {
            for Note { provider, model, field, reason } in notes {
                say(&format!("  {provider} {model} {field}: {reason}"));
            }
            continue;
        }
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for note in notes {
            // The field says which kind of detail it was; a model as a whole has its reason.
            *kinds.entry(if note.field.is_empty() { &note.reason } else { &note.field }).or_default() += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        for (kind, count) in kinds.iter().take(12) {
            say(&format!("  {count} × {kind}"));
        }
        if kinds.len() > 12 {
            say(&format!("  and {} further kinds (--verbose or --json list them)", kinds.len() - 12));
        }
    }
}

async fn put(args: &PutArgs, control: &Control, json: bool) -> anyhow::Result<()> {
    let bytes = read(&args.file)?;
    let entries: Vec<ModelPrice> = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not a list of prices", args.file.display()))?;
    let changes = control.prices().put(entries).await?;
    if json {
        say(&serde_json::to_string_pretty(&changes)?);
    } else {
        say(&format!(
            "{} added, {} changed, {} unchanged",
            changes.added, changes.changed, changes.unchanged
        ));
    }
    Ok(())
}

async fn delete(args: &DeleteArgs, control: &Control, json: bool) -> anyhow::Result<()> {
    let valid_from = args
        .valid_from
        .as_deref()
        .map(|text| {
            contracts::price::instant::read(text).with_context(|| {
                format!("--valid-from {text:?} is not valid: expected a date such as 2026-01-31")
            })
        })
        .transpose()?;
    let key = PriceKey { provider: args.provider.clone(), model: args.model.clone(), valid_from };
    control.prices().delete(&key).await?;
    if json {
        say(&json!({ "deleted": { "provider": key.provider, "model": key.model, "valid_from": args.valid_from } }).to_string());
    } else {
        say(&format!("deleted {}/{}", key.provider, key.model));
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
