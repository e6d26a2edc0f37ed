//! `control-tower cascade fit`: the weights and thresholds of a route over several models, from recorded answers.

mod chart;
mod prices;
mod rows;
mod table;

use crate::output::say;
use anyhow::{Context, bail};
use cascade::fit::report::{self, Plan};
use cascade::fit::{self, Options, Recording, Target};
use clap::Args;
use contracts::Usd;
use contracts::policy::cascade::{Cascade, DetectsBy, Signal};
use inference::grounding::{Detector, DetectorOptions};
use inference::{Embedder, EmbedderOptions, models};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `control-tower cascade fit`.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    /// Recorded answers: JSON Lines, plain or .gz, with the fields prompt, model, answer, quality (0 to 1), `tokens_in_est` and
    /// `tokens_out_est`, and where known context, `prompt_id` and group (what may not be divided between fitting and reporting).
    #[arg(long, value_name = "FILE")]
    answers: PathBuf,
    /// The models of the route, cheapest first: recorded names, or a part of one that no other has.
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',', required = true)]
    tiers: Vec<String>,
    /// Least share of acceptable answers (`0.92`), or the last tier's less so much (`last-0.01`), as cheaply as can be.
    #[arg(long, value_name = "SHARE", value_parser = quality, conflicts_with = "target_cost", required_unless_present = "target_cost")]
    target_quality: Option<Target>,
    /// Most that a request may cost in the mean: a share of the last tier's cost (`50%`) or dollars (`0.0013`).
    #[arg(long, value_name = "COST", value_parser = cost)]
    target_cost: Option<Target>,
    /// Price a model as the price book's entry of another name: `Llama-3.1-8B=groq/llama-3.1-8b-instant`.
    #[arg(long, value_name = "MODEL=PROVIDER/NAME")]
    price_as: Vec<String>,
    /// Price a model by hand, in dollars per million tokens: `Llama-3.1-8B=0.05/0.08` (input/output).
    #[arg(long, value_name = "MODEL=IN/OUT")]
    price: Vec<String>,
    /// Learn the weights from the answers of all recorded models, not from those of the tiers alone.
    #[arg(long)]
    learn_from_all: bool,
    /// Signals that may be weighed, by name; without it, all but the prompt's length and the agreement with the tier before.
    #[arg(long, value_name = "SIGNAL,…", value_delimiter = ',', value_parser = signal)]
    signals: Vec<Signal>,
    /// Use words alone, not the embedder.
    #[arg(long)]
    lexical: bool,
    /// The embedder's directory; without it, the usual places are searched.
    #[arg(long, value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// Times that the prompts are halved; each half is fitted on once and measured once.
    #[arg(long, value_name = "N", default_value_t = 20)]
    splits: u32,
    /// Resamples of the bootstrap intervals.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    resamples: u32,
    /// Where the randomness begins.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the cascade here, fitted on all prompts.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write here the groups of one half of the prompts (JSON), and fit the cascade of --out on the other half alone, so that it
    /// can be measured elsewhere on prompts that it has not seen.
    #[arg(long, value_name = "FILE", requires = "out")]
    hold_out: Option<PathBuf>,
    /// Write here what that cascade makes of each prompt that was held out (JSON Lines: `prompt_id`, the model that serves it, quality
    /// and cost), so that a gateway can be held to it.
    #[arg(long, value_name = "FILE", requires = "hold_out")]
    decisions: Option<PathBuf>,
    /// Draw the curve here (SVG).
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &FitArgs) -> anyhow::Result<()> {
    let target =
        args.target_quality.or(args.target_cost).context("give --target-quality or --target-cost")?;
    let rows = rows::read(&args.answers)?;
    let names = rows::models(&rows, &args.tiers, args.learn_from_all)?;
    let tiers = args.tiers.len();
    let prices = prices::find(&names[..tiers.min(names.len())], &args.price_as, &args.price)?;
    let signals = if args.signals.is_empty() { default_signals() } else { args.signals.clone() };
    let embedder = if args.lexical { None } else { embedder(args.model_dir.as_deref())? };
    let mut detector = Detector::new(DetectorOptions::default());
    if let Some(embedder) = &embedder {
        detector = detector.with_embedder(Arc::clone(embedder));
    }
    let wants_meaning = signals.contains(&Signal::MeaningAgreement);
    let instruments =
        rows::Instruments { detector: &detector, embedder: embedder.as_deref().filter(|_| wants_meaning) };
    let recording = rows::recording(&rows, &names, tiers, &prices, &instruments)?;
    let options = Options { signals, target };
    let plan = Plan { splits: args.splits.max(1), resamples: args.resamples, seed: args.seed };
    let (mut cascade, report) = report::report(&recording, &options, &plan)?;
    if let Some(path) = &args.hold_out {
        let [fitted, held] = report::halve(&recording, &mut fastrand::Rng::with_seed(args.seed));
        cascade = fit::fit(&recording, &fitted, &options)?.0;
        let groups: Vec<&str> = held.iter().map(|prompt| recording.prompts[*prompt].group.as_str()).collect();
        write(path, &serde_json::to_string_pretty(&groups).context("writing groups as JSON")?)?;
        if let Some(path) = &args.decisions {
            let ids = rows::ids(&rows, &names, tiers);
            write(path, &decisions(&recording, &ids, &held, &cascade)?)?;
        }
    }
    cascade.detects_by = Some(if embedder.is_some() { DetectsBy::Meaning } else { DetectsBy::Words });
    if let Some(path) = &args.out {
        write(path, &serde_json::to_string_pretty(&cascade).context("writing the cascade as JSON")?)?;
    }
    if let Some(path) = &args.curve {
        write(path, &chart::svg(&report)?)?;
    }
    if args.json {
        say(&serde_json::to_string(&report).context("writing the report as JSON")?);
    } else {
        for line in table::lines(&report) {
            say(&line);
        }
    }
    Ok(())
}

/// All that a recording can have, but for what compares tiers, which costs asking both, and the prompt's length, which tells the
/// templates of one recording apart and little else.
fn default_signals() -> Vec<Signal> {
    let left_out =
        [Signal::Agreement, Signal::NumberAgreement, Signal::MeaningAgreement, Signal::PromptLength];
    Signal::ALL.into_iter().filter(|signal| !left_out.contains(signal)).collect()
}

/// What a cascade makes of each of some prompts, a line for each.
fn decisions(
    recording: &Recording,
    ids: &[String],
    prompts: &[usize],
    cascade: &Cascade,
) -> anyhow::Result<String> {
    let mut lines = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let served = fit::play(recording, *prompt, cascade).context("a prompt that no tier serves")?;
        let line = serde_json::json!({
            "prompt_id": ids[*prompt], "model": recording.models[served.tier], "quality": served.quality,
            "cost": served.cost,
        });
        lines.push(line.to_string());
    }
    Ok(lines.join("\n"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("writing {}", path.display()))
}

/// The embedder, where there is one; one that was named must be there.
fn embedder(named: Option<&Path>) -> anyhow::Result<Option<Arc<Embedder>>> {
    let dir = match models::find(named, None) {
        Ok(dir) => dir,
        Err(error) if named.is_some() => return Err(error).context("looking for the embedder"),
        Err(_) => return Ok(None),
    };
    let loaded = Embedder::load(&dir, &EmbedderOptions::default());
    Ok(Some(Arc::new(loaded.with_context(|| format!("loading the embedder of {}", dir.display()))?)))
}

fn quality(text: &str) -> Result<Target, String> {
    let (number, relative) = match text.strip_prefix("last-") {
        Some(margin) => (margin, true),
        None => (text, false),
    };
    match number.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => {
            Ok(if relative { Target::LastLess(value) } else { Target::Quality(value) })
        }
        _ => Err("expected a share of 0 to 1, such as 0.92, or last-0.01".to_owned()),
    }
}

fn cost(text: &str) -> Result<Target, String> {
    let target = match text.strip_suffix('%') {
        Some(part) => part
            .parse()
            .ok()
            .filter(|part| (0.0..=1_000.0).contains(part))
            .map(|p: f64| Target::CostShare(p / 100.0)),
        None => text.parse().ok().filter(|amount| *amount > Usd::ZERO).map(Target::Cost),
    };
    target.ok_or_else(|| {
        "expected a share of the last tier's cost, such as 50%, or dollars a request, such as 0.0013"
            .to_owned()
    })
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = Signal::ALL.iter().map(|signal| signal.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// The one of `names` that is meant: its own name, or the only one that has `text` in it, whatever the case.
fn resolve<'a>(field: &str, text: &str, names: &'a [String]) -> anyhow::Result<&'a String> {
    if let Some(name) = names.iter().find(|name| *name == text) {
        return Ok(name);
    }
    let small = text.to_lowercase();
    let found: Vec<&String> =
        names.iter().filter(|name| !small.is_empty() && name.to_lowercase().contains(&small)).collect();
    match found.as_slice() {
        [name] => Ok(name),
        _ => bail!("{field}: {text:?} is not valid, expected one model of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
