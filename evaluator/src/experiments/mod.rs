//! The arms of an experiment compared: effect, interval that stays valid under peeking, guardrails, decision and its reason.
//!
//! The gateway's spans carry the experiment's name and variant; ClickHouse sums each metric up by variant, a trace being one unit.
//! Here the sums become [`Finding`]s: each treatment against the control, with a confidence sequence
//! ([`crate::stats::sequence`]) that may be looked at after every call, and the effect that could be seen at this size. A split that is
//! not as planned ([`crate::stats::allocation`]) makes everything else void, and the decision says so first.

use crate::stats::power;
use crate::stats::sequence::{Scale, Sequence};
use crate::stats::{Interval, Moments, allocation};
use serde::Serialize;
use std::collections::BTreeMap;
use warehouse::ExperimentRow;

/// Dollars per useful action: an arm without a useful action has none.
const RATIO: &str = "usd_per_useful_action";
/// What stands in for it until then.
const COUNT: &str = "useful_actions";
/// A split is off when the test that is valid under peeking says so this surely.
const MISMATCH: f64 = 0.01;

/// What an experiment is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The arm that the others are compared with.
    pub control: String,
    /// Planned share of traffic by arm, in any unit; the arms that were seen, evenly, when empty.
    pub weights: BTreeMap<String, f64>,
    /// The metric that decides.
    pub metric: String,
    /// Whether less of it is better; by its name when not said.
    pub lower_is_better: Option<bool>,
    /// Metrics that must not get worse by more than so much (in their own unit).
    pub guardrails: Vec<(String, f64)>,
    /// An effect smaller than this is of no interest.
    pub least_effect: f64,
    /// Probability of never being wrong about the metric.
    pub level: f64,
    /// Probability with which the minimum detectable effect would be found.
    pub power: f64,
    /// Units, of both arms together, at which the intervals are tightest; chosen before looking.
    pub tightest_at: u64,
    /// Whether every unit since the first is there. Intervals may be looked at again and again only while they are about one stream that grows
    /// from its beginning: looks at the last 30 days are of another stream each day.
    pub whole: bool,
}

/// A metric of a treatment against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The treatment.
    pub variant: String,
    /// The metric.
    pub metric: String,
    /// Mean of the control.
    pub control: f64,
    /// Mean of the treatment.
    pub treatment: f64,
    /// Units of the control and of the treatment.
    pub units: (u64, u64),
    /// Treatment minus control, always valid; none while an arm is too small.
    pub effect: Option<Interval>,
    /// The smallest effect that would be found at this size while peeking.
    pub detectable: Option<f64>,
    /// Whether less is better.
    pub lower_is_better: bool,
}

/// What to do about one treatment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is better, and no guardrail is in danger.
    Ship,
    /// It is worse, or a guardrail is broken.
    Stop,
    /// Whatever difference there is, is too small to matter.
    NoDifference,
    /// The data do not say yet.
    Continue,
    /// The data cannot say: the split is off, or the beginning is gone.
    Invalid,
}

/// A decision with its reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The treatment.
    pub variant: String,
    /// What to do.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
}

/// Everything about an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// Units by arm.
    pub units: BTreeMap<String, u64>,
    /// Units that saw several arms and were left out.
    pub mixed: u64,
    /// p-value of the split, valid under peeking; none with fewer than two arms.
    pub split: Option<f64>,
    /// Every metric of every treatment.
    pub findings: Vec<Finding>,
    /// One for each treatment.
    pub decisions: Vec<Decision>,
}

/// Why an experiment cannot be analysed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is not valid: expected {expected}")]
pub struct InvalidPlan {
    field: &'static str,
    value: String,
    expected: String,
}

/// Compares the arms.
pub fn analyse(rows: &[ExperimentRow], plan: &Plan) -> Result<Analysis, InvalidPlan> {
    let mut arms: BTreeMap<&str, BTreeMap<&str, Moments>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.variant.is_empty()) {
        let moments = Moments::from_variance(row.units, row.mean, row.variance);
        arms.entry(&row.variant).or_default().insert(&row.metric, moments);
    }
    let units: BTreeMap<String, u64> = arms
        .iter()
        .map(|(arm, metrics)| ((*arm).to_owned(), metrics.get("cost_usd").map_or(0, |cost| cost.count)))
        .collect();
    let invalid = |field, value: &str, expected| InvalidPlan { field, value: value.to_owned(), expected };
    let seen: Vec<&str> = arms.keys().copied().collect();
    let control = arms.get(plan.control.as_str()).ok_or_else(|| {
        invalid("control", &plan.control, format!("one of the arms that were seen: {seen:?}"))
    })?;
    let metrics: Vec<&str> = control.keys().copied().collect();
    for metric in std::iter::once(&plan.metric).chain(plan.guardrails.iter().map(|(metric, _)| metric)) {
        let is_known =
            control.contains_key(metric.as_str()) || metric == RATIO && control.contains_key(COUNT);
        if !is_known {
            return Err(invalid("metric", metric, format!("a metric that the control has: {metrics:?}")));
        }
    }
    let mixed = rows.iter().filter(|row| row.metric == "mixed").map(|row| row.units).sum();
    let split = split(&units, plan);
    // Several treatments share the risk of being wrong.
    let treatments = arms.len().saturating_sub(1).max(1);
    let alpha = (1.0 - plan.level) / crate::stats::float(treatments as u64);
    let sequence = Sequence { level: 1.0 - alpha, tightest_at: plan.tightest_at, ..Sequence::default() };
    let mut findings = Vec::new();
    let mut decisions = Vec::new();
    for (variant, of_arm) in arms.iter().filter(|(arm, _)| **arm != plan.control) {
        let found: Vec<Finding> = control
            .iter()
            .filter_map(|(metric, base)| {
                Some(finding(variant, metric, base, of_arm.get(metric)?, &sequence, plan))
            })
            .collect();
        let (verdict, reason) = decide(&found, split, plan);
        decisions.push(Decision { variant: (*variant).to_owned(), verdict, reason });
        findings.extend(found);
    }
    Ok(Analysis { units, mixed, split, findings, decisions })
}

fn split(units: &BTreeMap<String, u64>, plan: &Plan) -> Option<f64> {
    // An arm that was planned and never seen is the plainest mismatch of all.
    let planned = plan.weights.keys().filter(|arm| !units.contains_key(*arm)).map(|arm| (arm, 0));
    let arms: Vec<(&String, u64)> = units.iter().map(|(arm, count)| (arm, *count)).chain(planned).collect();
    let counts: Vec<u64> = arms.iter().map(|(_, count)| *count).collect();
    let weights: Vec<f64> = arms
        .iter()
        .map(
            |(arm, _)| {
                if plan.weights.is_empty() { 1.0 } else { plan.weights.get(*arm).copied().unwrap_or(1e-9) }
            },
        )
        .collect();
    allocation::sequential(&counts, &weights)
}

fn finding(
    variant: &str,
    metric: &str,
    base: &Moments,
    other: &Moments,
    sequence: &Sequence,
    plan: &Plan,
) -> Finding {
    let named = if metric == plan.metric { plan.lower_is_better } else { None };
    let sequence = &Sequence { scale: scale(metric), ..*sequence };
    Finding {
        variant: variant.to_owned(),
        metric: metric.to_owned(),
        control: base.mean,
        treatment: other.mean,
        units: (base.count, other.count),
        effect: sequence.difference(base, other),
        detectable: power::always_valid(base, other, sequence, plan.power),
        lower_is_better: named.unwrap_or_else(|| less_is_better(metric)),
    }
}

/// Amounts may be anything. Everything else is a share, a judge's score, or a count of actions, mostly none or one.
fn scale(metric: &str) -> Scale {
    // What a score of feedback means is its sender's.
    if matches!(metric, "cost_usd" | "latency_ms" | "feedback" | RATIO) { Scale::Any } else { Scale::Unit }
}

/// Metrics of which less is better, by name.
fn less_is_better(metric: &str) -> bool {
    const LESS: &[&str] = &[
        "cost_usd",
        "error_rate",
        "latency_ms",
        RATIO,
        "hallucination",
        "toxicity",
        "pii_leak",
        "refusal",
        "uncertainty",
    ];
    LESS.contains(&metric)
}

/// The effect turned so that more is better.
fn gain(finding: &Finding) -> Option<Interval> {
    let effect = finding.effect?;
    let turned = Interval { estimate: -effect.estimate, low: -effect.high, high: -effect.low };
    Some(if finding.lower_is_better { turned } else { effect })
}

/// What there is to say of a metric, turned so that more is better. An arm whose actions are all in vain has no price for a useful one, and
/// must not go on for ever for that: their number speaks instead.
fn telling<'a>(findings: &'a [Finding], metric: &str) -> Option<(&'a Finding, Interval)> {
    let of = |metric: &str| findings.iter().find(|finding| finding.metric == metric);
    let found = of(metric).or_else(|| if metric == RATIO { of(COUNT) } else { None })?;
    Some((found, gain(found)?))
}

fn decide(findings: &[Finding], split: Option<f64>, plan: &Plan) -> (Verdict, String) {
    if !plan.whole {
        let reason = "its first calls are deleted by now: what is left is another sample at every look, for which no interval holds";
        return (Verdict::Invalid, reason.to_owned());
    }
    if let Some(p) = split.filter(|p| *p < MISMATCH) {
        let reason = format!(
            "the traffic is not split as planned (p = {p:.2e}, valid under peeking): find the cause first, no effect can be trusted"
        );
        return (Verdict::Invalid, reason);
    }
    let mut open = Vec::new();
    for (metric, tolerance) in &plan.guardrails {
        let Some((finding, gain)) = telling(findings, metric) else {
            open.push(format!("{metric} has too few units, or values that never differ"));
            continue;
        };
        // A tolerance is in the unit of the metric that it was given for.
        let tolerance = if finding.metric == *metric { *tolerance } else { 0.0 };
        let metric = &finding.metric;
        if gain.high < -tolerance {
            let reason = format!(
                "guardrail {metric} is worse by {:.6} to {:.6}, more than {tolerance}",
                -gain.high, -gain.low
            );
            return (Verdict::Stop, reason);
        }
        if gain.low < -tolerance {
            open.push(format!("{metric} may still be worse by up to {:.6}", -gain.low));
        }
    }
    let Some((finding, gain)) = telling(findings, &plan.metric) else {
        return (
            Verdict::Continue,
            format!("{} has too few units, or values that never differ", plan.metric),
        );
    };
    let metric = &finding.metric;
    let told = format!(
        "{metric} is {} by {:.6} (always-valid {:.6} to {:.6})",
        if gain.estimate >= 0.0 { "better" } else { "worse" },
        gain.estimate.abs(),
        gain.low,
        gain.high
    );
    if gain.high < 0.0 {
        return (Verdict::Stop, told);
    }
    if gain.low > 0.0 {
        return match open.as_slice() {
            [] => (Verdict::Ship, told),
            open => (Verdict::Continue, format!("{told}, but guardrails are open: {}", open.join("; "))),
        };
    }
    let least = if *metric == plan.metric { plan.least_effect } else { 0.0 };
    if least > 0.0 && gain.high < least && gain.low > -least {
        return (Verdict::NoDifference, format!("{told}: surely less than {least} either way"));
    }
    (Verdict::Continue, format!("{told}: zero is within"))
}

#[cfg(test)]
mod tests;
