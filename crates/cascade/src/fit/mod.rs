//! Fits a cascade's weights and thresholds on recorded answers, and says what it is worth on prompts that it has not seen.
//!
//! 1. Weights ([`weights`]): a ridge logistic model of each model's acceptable answers. Its slopes are shared by all recorded models and
//!    its intercepts are not, with every signal centred by model: the slopes learn what tells good answers from bad ones of the same
//!    author, never who the author is, and models outside the route help to learn them.
//! 2. Thresholds ([`search`]): of all tiers together, for every price of quality; each point of the cost-quality curve is one choice.
//! 3. Report ([`report`]): halves of the prompts, fitted on one and measured on the other, many times.

mod logistic;
pub mod report;
mod search;
#[cfg(test)]
mod tests;
mod weights;

use crate::decide::{Purse, Verdict, decide, next_tier};
use crate::signals::Signals;
use contracts::policy::cascade::{Cascade, Check, Signal, Tier};
use contracts::{ModelName, Usd};
pub use search::Point;
pub use weights::Weights;

/// Recorded answers of several models to the same prompts.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// The models: first the tiers of the route, in order, then others whose answers help to learn the weights.
    pub models: Vec<ModelName>,
    /// How many of them are tiers.
    pub tiers: usize,
    /// The prompts.
    pub prompts: Vec<Prompt>,
}

/// One prompt and what was answered.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Prompts of one group are never divided between fitting and reporting.
    pub group: String,
    /// What is known before any model is asked.
    pub request: Signals,
    /// An answer for each model of the recording; tiers all have one.
    pub answers: Vec<Option<Recorded>>,
}

/// A recorded answer.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// What is known of it, the request's signals included.
    pub signals: Signals,
    /// Whether it is acceptable: 1, or 0, or anything between.
    pub quality: f64,
    /// What it cost.
    pub cost: Usd,
}

/// How to fit.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signals that may be weighed. Those that nobody has, or that do not vary, are left out.
    pub signals: Vec<Signal>,
    /// What is wanted.
    pub target: Target,
}

/// What is wanted of a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At least this share of acceptable answers, as cheaply as can be.
    Quality(f64),
    /// At least the last tier's share less so much, as cheaply as can be.
    LastLess(f64),
    /// At most this mean cost a request, as good as can be.
    Cost(Usd),
    /// At most this share of the last tier's cost, as good as can be.
    CostShare(f64),
}

/// Why nothing can be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// A route needs two tiers or more.
    #[error("tiers: {0} is not valid, expected 2 to 8 models")]
    Tiers(usize),
    /// Too little to learn from.
    #[error("prompts: {0} is not enough, expected at least 20 that every tier answered")]
    Prompts(usize),
    /// A tier has no answer to a prompt.
    #[error("model {model}: no answer to prompt {prompt}, expected one of every tier")]
    Missing {
        /// The tier.
        model: ModelName,
        /// The prompt's group.
        prompt: String,
    },
    /// The cascade that came out is not one: a fault of ours.
    #[error(transparent)]
    Invalid(#[from] contracts::policy::InvalidPolicy),
}

/// Prompts that are too few to fit on.
const LEAST_PROMPTS: usize = 20;

impl Recording {
    /// Says what is missing.
    pub fn validate(&self) -> Result<(), FitError> {
        if !(2..=contracts::policy::cascade::MOST_TIERS).contains(&self.tiers)
            || self.models.len() < self.tiers
        {
            return Err(FitError::Tiers(self.tiers));
        }
        if self.prompts.len() < LEAST_PROMPTS {
            return Err(FitError::Prompts(self.prompts.len()));
        }
        for prompt in &self.prompts {
            for (at, model) in self.models.iter().enumerate().take(self.tiers) {
                if prompt.answers.get(at).is_none_or(Option::is_none) {
                    return Err(FitError::Missing { model: model.clone(), prompt: prompt.group.clone() });
                }
            }
        }
        Ok(())
    }

    fn answer(&self, prompt: usize, model: usize) -> Option<&Recorded> {
        self.prompts.get(prompt)?.answers.get(model)?.as_ref()
    }

    /// Sum of costs of one model over some prompts.
    fn cost_of(&self, model: usize, prompts: &[usize]) -> Usd {
        prompts.iter().filter_map(|prompt| self.answer(*prompt, model)).map(|answer| answer.cost).sum()
    }
}

/// Fits a cascade on some prompts, and the curve that it was chosen from, as it looks on those prompts.
pub fn fit(
    recording: &Recording,
    prompts: &[usize],
    options: &Options,
) -> Result<(Cascade, Vec<Point>), FitError> {
    recording.validate()?;
    let weights = Weights::fit(recording, prompts, &options.signals);
    let curve = search::curve(recording, prompts, &weights);
    let chosen = search::choose(recording, prompts, &curve, options.target);
    let cascade = assemble(recording, &weights, chosen);
    cascade.validate()?;
    Ok((cascade, curve))
}

/// The policy of a point.
fn assemble(recording: &Recording, weights: &Weights, point: &Point) -> Cascade {
    let tier = |(at, model): (usize, &ModelName)| {
        let is_last = at + 1 == recording.tiers;
        Tier {
            model: model.clone(),
            checks: vec![Check::RefusalOrEmpty, Check::JsonSchema, Check::ToolCalls, Check::Grounding],
            threshold: (!is_last).then(|| point.thresholds[at]),
            combine: weights.answers.get(at).cloned(),
            prospect: weights.prospects.get(at).cloned(),
            entry: (!is_last).then(|| point.entries[at]),
            timeout_ms: 60_000,
        }
    };
    Cascade {
        tiers: recording.models.iter().take(recording.tiers).enumerate().map(tier).collect(),
        price_ceiling: None,
        streaming: contracts::policy::cascade::Streaming::default(),
        on_deadline: contracts::policy::cascade::OnDeadline::default(),
        detects_by: None,
        detector_deadline_ms: 250,
    }
}

/// What a cascade made of one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// The tier whose answer was accepted.
    pub tier: usize,
    /// Its quality.
    pub quality: f64,
    /// What all tiers that were asked cost.
    pub cost: Usd,
}

/// Plays a recorded prompt through a cascade, by the same rules as a request.
pub fn play(recording: &Recording, prompt: usize, cascade: &Cascade) -> Option<Served> {
    let most = vec![Usd::ZERO; cascade.tiers.len()];
    let mut cost = Usd::ZERO;
    let purse = Purse { spent: Usd::ZERO, most: &most, left: None };
    let mut at = next_tier(cascade, 0, &recording.prompts.get(prompt)?.request, &purse)?;
    loop {
        let answer = recording.answer(prompt, at)?;
        cost += answer.cost;
        match decide(cascade, at, &answer.signals, None, &purse).verdict {
            Verdict::Escalate(next) => at = next,
            Verdict::Accept | Verdict::Fail => {
                return Some(Served { tier: at, quality: answer.quality, cost });
            }
        }
    }
}
