//! `control-tower eval experiment`.

use super::Place;
use crate::output::say;
use anyhow::bail;
use clap::Args;
use contracts::reads::TimeRange;
use evaluator::experiments::{Analysis, Plan, analyse};
use runtime::Clock;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Name of the experiment (`control_tower.experiment.name` of the calls).
    name: String,
    /// The arm that the others are compared with.
    #[arg(long, value_name = "VARIANT", default_value = "control")]
    control: String,
    /// The metric that decides: `cost_usd`, `error_rate`, `latency_ms`, `useful_actions`, `usd_per_useful_action`, or a judge.
    #[arg(long, value_name = "NAME", default_value = "usd_per_useful_action")]
    metric: String,
    /// Less of the metric is better; by its name otherwise.
    #[arg(long, value_name = "BOOL")]
    lower_is_better: Option<bool>,
    /// A metric that must not get worse by more than so much: NAME:TOLERANCE; may be repeated.
    #[arg(long, value_name = "NAME:TOLERANCE")]
    guardrail: Vec<String>,
    /// Planned share of an arm: VARIANT:WEIGHT; evenly otherwise.
    #[arg(long, value_name = "VARIANT:WEIGHT")]
    weight: Vec<String>,
    /// An effect smaller than this is of no interest.
    #[arg(long, value_name = "EFFECT", default_value_t = 0.0)]
    least_effect: f64,
    /// Units at which the intervals are tightest; choose it before looking, and keep it.
    #[arg(long, value_name = "UNITS", default_value_t = 10_000)]
    tightest_at: u64,
    /// Calls of the last so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    since_days: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Reads the arms from ClickHouse and tells what to do.
pub(crate) async fn run(args: ExperimentArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        control: args.control.clone(),
        weights: args.weight.iter().map(|text| pair("--weight", text)).collect::<anyhow::Result<_>>()?,
        metric: args.metric.clone(),
        lower_is_better: args.lower_is_better,
        guardrails: args
            .guardrail
            .iter()
            .map(|text| pair("--guardrail", text))
            .collect::<anyhow::Result<_>>()?,
        least_effect: args.least_effect,
        level: 0.95,
        power: 0.8,
        tightest_at: args.tightest_at,
    };
    let now = Clock::system().now().unix_millis();
    let range = TimeRange { from_ms: now - i64::from(args.since_days) * 86_400_000, to_ms: now };
    let rows = args.place.warehouse(config)?.experiment(&args.place.scope()?, &args.name, range).await?;
    if !rows.iter().any(|row| !row.variant.is_empty()) {
        bail!("no call of the last {} days belongs to an experiment {:?}", args.since_days, args.name);
    }
    let analysis = analyse(&rows, &plan)?;
    if args.json {
        say(&serde_json::to_string_pretty(&analysis)?);
    } else {
        for line in lines(&analysis) {
            say(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(analysis: &Analysis) -> Vec<String> {
    let units: Vec<String> = analysis.units.iter().map(|(arm, count)| format!("{arm} {count}")).collect();
    let split = analysis.split.map_or_else(String::new, |p| format!("; split as planned: p = {p:.4}"));
    let mut lines = vec![format!("units: {} ({} saw several arms){split}", units.join(", "), analysis.mixed)];
    lines.push(
        "| variant | metric | control | treatment | effect | always-valid 95% | detectable |".to_owned(),
    );
    lines.push("|---|---|---:|---:|---:|---|---:|".to_owned());
    for finding in &analysis.findings {
        let (effect, interval) =
            finding.effect.map_or((String::new(), "too few units".to_owned()), |effect| {
                (format!("{:+.6}", effect.estimate), format!("{:+.6} to {:+.6}", effect.low, effect.high))
            });
        let detectable = finding.detectable.map(|effect| format!("{effect:.6}")).unwrap_or_default();
        lines.push(format!(
            "| {} | {} | {:.6} | {:.6} | {effect} | {interval} | {detectable} |",
            finding.variant, finding.metric, finding.control, finding.treatment
        ));
    }
    for decision in &analysis.decisions {
        lines.push(format!("{}: {:?}: {}", decision.variant, decision.verdict, decision.reason));
    }
    lines
}

fn pair(field: &str, text: &str) -> anyhow::Result<(String, f64)> {
    if let Some((name, number)) = text.rsplit_once(':')
        && !name.is_empty()
        && let Ok(number) = number.parse::<f64>()
        && number >= 0.0
        && number.is_finite()
    {
        return Ok((name.to_owned(), number));
    }
    bail!("{field} {text:?} is not valid: expected NAME:NUMBER, such as cost_usd:0.01")
}
