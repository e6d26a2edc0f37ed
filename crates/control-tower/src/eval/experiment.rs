//! `control-tower eval experiment`.

use super::Place;
use crate::output::say;
use anyhow::bail;
use clap::{Args, ValueEnum};
use contracts::Timestamp;
use contracts::reads::TimeRange;
use evaluator::experiments::{Analysis, Plan, analyse};
use runtime::Clock;
use std::path::Path;
use std::process::ExitCode;
use warehouse::{ExperimentOwner, ExperimentStart};

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Name of the experiment (`control_tower.experiment.name` of the calls).
    name: String,
    /// The arm that the others are compared with.
    #[arg(long, value_name = "VARIANT", default_value = "control")]
    control: String,
    /// The metric that decides: `cost_usd`, `error_rate`, `latency_ms`, `useful_actions`, `usd_per_useful_action`, `feedback`, or a judge.
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
    /// Whose experiment of that name: `tenant` for the tenants' own, `shared` for the one that all share. Needed where both are called the same.
    #[arg(long, value_name = "OWNER")]
    owner: Option<Owner>,
    /// Calls from this date or time on, such as 2026-01-31; from the experiment's first call otherwise. Keep it from look to look.
    #[arg(long, value_name = "WHEN", value_parser = date)]
    from: Option<Timestamp>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Whose experiment.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Owner {
    Tenant,
    Shared,
}

/// Reads the arms from ClickHouse and tells what to do.
pub(crate) async fn run(args: ExperimentArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (warehouse, scope) = (args.place.warehouse(config)?, args.place.scope()?);
    let owner = match args.owner {
        None => ExperimentOwner::Any,
        Some(Owner::Tenant) => ExperimentOwner::Tenant,
        Some(Owner::Shared) => ExperimentOwner::Shared { apart_from: Vec::new() },
    };
    let began = warehouse.experiment_start(&scope, &args.name, &owner).await?;
    if began.calls == 0 {
        bail!("no call belongs to an experiment {:?}", args.name);
    }
    if owner == ExperimentOwner::Any && began.owners > 1 {
        bail!(
            "a tenant's own and a shared experiment are called {:?}: expected --owner tenant or --owner shared",
            args.name
        );
    }
    let (range, whole) = window(args.from, began, Clock::system().now());
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
        whole,
    };
    let rows = warehouse.experiment(&scope, &args.name, &owner, range).await?;
    if !rows.iter().any(|row| !row.variant.is_empty()) {
        bail!("no call since --from belongs to an experiment {:?}", args.name);
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

/// The calls that are compared, and whether those from the beginning on are all there: the day before calls are deleted they are.
fn window(from: Option<Timestamp>, began: ExperimentStart, now: Timestamp) -> (TimeRange, bool) {
    let from_ms = from.map_or(began.start_ms, |from| from.unix_millis().max(began.start_ms));
    let kept_ms = i64::from(began.days).saturating_sub(1) * 86_400_000;
    let to_ms = now.unix_millis().max(from_ms + 1);
    (TimeRange { from_ms, to_ms }, now.unix_millis() - from_ms < kept_ms)
}

fn date(text: &str) -> Result<Timestamp, String> {
    control::records::parse_time(text)
        .map_err(|_| "expected a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_look_begins_where_the_first_did() {
        const DAY: i64 = 86_400_000;
        let began = ExperimentStart { calls: 3, start_ms: 100 * DAY, days: 30, owners: 1 };
        let at = |days: i64| Timestamp::from_unix_seconds(days * DAY / 1000);
        let looked = |from: Option<i64>, day: i64| {
            let (range, whole) = window(from.map(at), began, at(day));
            (range.from_ms / DAY, range.to_ms / DAY, whole)
        };
        assert_eq!(looked(None, 101), (100, 101, true));
        assert_eq!(looked(None, 128), (100, 128, true));
        // What deletion leaves is no longer the experiment from its beginning.
        assert_eq!(looked(None, 129), (100, 129, false));
        assert_eq!(looked(Some(90), 110), (100, 110, true));
        assert_eq!(looked(Some(105), 130), (105, 130, true));
    }

    #[test]
    fn a_moment_is_given_as_itself() {
        assert_eq!(date("1970-01-02").map(Timestamp::unix_seconds), Ok(86_400));
        // Not how long ago: that is another moment at every look.
        assert!(date("30d").unwrap_err().contains("2026-01-31"));
    }
}
