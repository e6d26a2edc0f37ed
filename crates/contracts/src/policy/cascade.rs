//! Routes over several models: which answer is good enough.
//!
//! A request goes to the first tier; its answer is checked, what the checks say is combined into the probability that the answer is
//! acceptable, and where the next tier promises enough more than that, it is asked. Weights and thresholds are data, fitted on
//! recorded answers by `control-tower cascade fit`; without them a tier accepts whatever passes its checks.

use super::InvalidPolicy;
use crate::{ModelName, Usd};
use serde::{Deserialize, Serialize};

/// Tiers that a route may have: each one adds to what a request may cost and how long it may take.
pub const MOST_TIERS: usize = 8;

/// Samples that self-consistency may ask for.
pub const MOST_SAMPLES: u32 = 16;

/// A route over several models, the cheapest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cascade {
    /// Models in the order in which they are asked.
    pub tiers: Vec<Tier>,
    /// What one request may cost over all its tiers; a tier that could cost more than is left is not asked. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_ceiling: Option<Usd>,
    /// What happens to a streamed answer while nobody knows whether it will be accepted.
    #[serde(default)]
    pub streaming: Streaming,
    /// What to do with an answer whose checks were not done in time.
    #[serde(default)]
    pub on_deadline: OnDeadline,
    /// What answers are compared by. Weights hold for what they were fitted with. Absent: meanings where the gateway has the embedder,
    /// and words elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detects_by: Option<DetectsBy>,
    /// Milliseconds that the grounding detector may take for one answer.
    #[serde(default = "detector_deadline_ms")]
    pub detector_deadline_ms: u32,
}

/// What the grounding detector, and what looks for agreement, compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectsBy {
    /// Words, numbers and names.
    Words,
    /// Vectors of the embedder besides. A gateway without it has no such signals, so that what stands in for them counts.
    Meaning,
}

fn detector_deadline_ms() -> u32 {
    250
}

fn timeout_ms() -> u32 {
    60_000
}

/// One model of a cascade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The model that answers.
    pub model: ModelName,
    /// What its answer must pass. Order does not matter: cheap checks are done first.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The answer is accepted when its probability of being acceptable, less what the next tier to be asked
    /// promises (its `prospect`, or 0), is at least this, −1 to 1. Absent: whatever no check rejects is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Makes of an answer's signals the probability that it is acceptable. Absent: the least score of the checks stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combination>,
    /// Makes of the request alone the probability that this model's answer will be acceptable. Only [`Signal::is_of_request`] signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prospect: Option<Combination>,
    /// The model is asked only when its prospect, less that of the next tier, is at least this, −1 to 1. Absent: always. The last tier
    /// has none: it takes what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<f64>,
    /// Milliseconds that the model may take; then the next tier is asked.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
}

/// A logistic model: `1 / (1 + exp(-(bias + Σ weight · value)))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Combination {
    /// Log odds where all values are 0.
    pub bias: f64,
    /// What is added for each signal.
    pub terms: Vec<Term>,
}

/// One signal's part in a [`Combination`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The signal.
    pub signal: Signal,
    /// Log odds for a change of its value from 0 to 1.
    pub weight: f64,
    /// The value that stands in where the signal could not be had, 0 to 1: its mean where the weights were fitted.
    pub absent: f64,
}

/// What an answer must pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// It says something, and does not decline to.
    RefusalOrEmpty,
    /// It is JSON of the schema in the request's `response_format`, where there is one.
    JsonSchema,
    /// Its tool calls name tools of the request, with arguments of their schemas.
    ToolCalls,
    /// The log-probabilities of its tokens, where the upstream gives them.
    LogprobConfidence,
    /// How far several samples of the answer agree.
    SelfConsistency {
        /// Answers asked for, the first included; each is paid for.
        samples: u32,
        /// What the further ones are asked at, 0 to 2. Absent: what the request says, so that samples of a request at 0 always agree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature: Option<f64>,
    },
    /// The grounding detector against the request's context, and what the words alone say.
    Grounding,
    /// A verifier outside, asked by the gateway over HTTP; it answers with a score of 0 to 1.
    Verifier {
        /// Where it is asked.
        url: String,
        /// Milliseconds that it may take.
        timeout_ms: u32,
    },
}

/// What is known of an answer or a request, as a number of 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// One less the detector's probability that the answer says something that its context does not support.
    Grounding,
    /// The detector's support of the answer's weakest claim.
    LeastSupport,
    /// The detector's mean support of the answer's claims.
    MeanSupport,
    /// Share of the answer's numbers, dates and names that stand where the detector found their claim.
    DetailSupport,
    /// Share of the answer's words that the context or the prompt has.
    KnownWords,
    /// Share of its numbers that they have.
    KnownNumbers,
    /// Share of its names that they have.
    KnownNames,
    /// Share of its pairs of neighbouring words that they have.
    Copied,
    /// Length of the answer: `ln(1 + words) / ln(1 + 4096)`.
    AnswerLength,
    /// Share of its sentences that hedge.
    Hedging,
    /// How far its words agree with the answer of the tier before.
    Agreement,
    /// Share of its numbers that the answer of the tier before has.
    NumberAgreement,
    /// Cosine of its vector and that of the answer of the tier before.
    MeaningAgreement,
    /// Mean probability of its tokens.
    LogprobConfidence,
    /// Agreement of its samples.
    SelfConsistency,
    /// What the verifier said.
    Verifier,
    /// Length of the context: `ln(1 + words) / ln(1 + 65536)`.
    ContextLength,
    /// Whether the context is made of records (JSON) rather than of sentences.
    StructuredContext,
    /// Length of the prompt, as of the answer.
    PromptLength,
    /// Whether the prompt asks a question.
    Question,
    /// Share of the context's words that are numbers.
    ContextNumbers,
}

impl Signal {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 21] = [
        Self::Grounding,
        Self::LeastSupport,
        Self::MeanSupport,
        Self::DetailSupport,
        Self::KnownWords,
        Self::KnownNumbers,
        Self::KnownNames,
        Self::Copied,
        Self::AnswerLength,
        Self::Hedging,
        Self::Agreement,
        Self::NumberAgreement,
        Self::MeaningAgreement,
        Self::LogprobConfidence,
        Self::SelfConsistency,
        Self::Verifier,
        Self::ContextLength,
        Self::StructuredContext,
        Self::PromptLength,
        Self::Question,
        Self::ContextNumbers,
    ];

    /// Its name in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grounding => "grounding",
            Self::LeastSupport => "least_support",
            Self::MeanSupport => "mean_support",
            Self::DetailSupport => "detail_support",
            Self::KnownWords => "known_words",
            Self::KnownNumbers => "known_numbers",
            Self::KnownNames => "known_names",
            Self::Copied => "copied",
            Self::AnswerLength => "answer_length",
            Self::Hedging => "hedging",
            Self::Agreement => "agreement",
            Self::NumberAgreement => "number_agreement",
            Self::MeaningAgreement => "meaning_agreement",
            Self::LogprobConfidence => "logprob_confidence",
            Self::SelfConsistency => "self_consistency",
            Self::Verifier => "verifier",
            Self::ContextLength => "context_length",
            Self::StructuredContext => "structured_context",
            Self::PromptLength => "prompt_length",
            Self::Question => "question",
            Self::ContextNumbers => "context_numbers",
        }
    }

    /// Whether it is known before any model was asked.
    pub const fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::ContextLength
                | Self::StructuredContext
                | Self::PromptLength
                | Self::Question
                | Self::ContextNumbers
        )
    }

    /// Whether the detector says it, within its deadline.
    pub const fn is_of_detector(self) -> bool {
        matches!(self, Self::Grounding | Self::LeastSupport | Self::MeanSupport | Self::DetailSupport)
    }
}

/// What happens to a streamed answer while nobody knows whether it will be accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Streaming {
    /// It is held back until it is judged, or until either bound is reached; then it is released and stays.
    Buffered {
        /// Most bytes that are held.
        max_bytes: u32,
        /// Longest time that the first byte is held, in milliseconds.
        max_ms: u32,
    },
    /// It is held for a few tokens and released when their log-probabilities are good; later checks are recorded, not acted on.
    Optimistic {
        /// Tokens after which it is decided.
        tokens: u32,
        /// Least mean log-probability (natural, at most 0) at which the answer is released; below it the next tier is asked.
        min_logprob: f64,
    },
}

impl Default for Streaming {
    fn default() -> Self {
        Self::Buffered { max_bytes: 256 * 1024, max_ms: 30_000 }
    }
}

/// What to do with an answer whose checks were not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// It is accepted, unless another check rejects it.
    Accept,
    /// The next tier is asked, while there is one that may be.
    #[default]
    Escalate,
}

impl Cascade {
    /// Says which field cannot be taken.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.tiers.is_empty() || self.tiers.len() > MOST_TIERS {
            let expected = format!("1 to {MOST_TIERS} tiers");
            return Err(InvalidPolicy::new("tiers", self.tiers.len(), expected));
        }
        for (at, tier) in self.tiers.iter().enumerate() {
            let path = format!("tiers[{at}]");
            tier.validate().map_err(|error| error.within(&path))?;
            if self.tiers[..at].iter().any(|earlier| earlier.model == tier.model) {
                let expected = "a model that no tier before it has";
                return Err(InvalidPolicy::new("model", tier.model.as_str(), expected).within(&path));
            }
            if let Some(entry) = tier.entry.filter(|_| at + 1 == self.tiers.len()) {
                let expected = "nothing in the last tier, which takes what is left";
                return Err(InvalidPolicy::new("entry", entry, expected).within(&path));
            }
        }
        if let Some(ceiling) = self.price_ceiling.filter(|ceiling| *ceiling <= Usd::ZERO) {
            return Err(InvalidPolicy::new("price_ceiling", ceiling.to_string(), "an amount above 0"));
        }
        within("detector_deadline_ms", self.detector_deadline_ms, 1, 60_000)?;
        match self.streaming {
            Streaming::Buffered { max_bytes, max_ms } => {
                within("streaming.max_bytes", max_bytes, 1, 64 << 20)?;
                within("streaming.max_ms", max_ms, 1, 600_000)
            }
            Streaming::Optimistic { tokens, min_logprob } => {
                within("streaming.tokens", tokens, 1, 4_096)?;
                if min_logprob.is_finite() && min_logprob <= 0.0 {
                    return Ok(());
                }
                Err(InvalidPolicy::new("streaming.min_logprob", min_logprob, "a logarithm, at most 0"))
            }
        }
    }
}

impl Tier {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        within("timeout_ms", self.timeout_ms, 1, 3_600_000)?;
        for (field, value) in [("threshold", self.threshold), ("entry", self.entry)] {
            if let Some(value) = value.filter(|value| !(-1.0..=1.0).contains(value)) {
                return Err(InvalidPolicy::new(field, value, "-1 to 1"));
            }
        }
        if let Some(combine) = &self.combine {
            combine.validate(|_| true).map_err(|error| error.within("combine"))?;
        }
        if let Some(prospect) = &self.prospect {
            prospect.validate(Signal::is_of_request).map_err(|error| error.within("prospect"))?;
        }
        if let Some(entry) = self.entry.filter(|_| self.prospect.is_none()) {
            return Err(InvalidPolicy::new("entry", entry, "a prospect to compare it with"));
        }
        for (at, check) in self.checks.iter().enumerate() {
            check.validate().map_err(|error| error.within(&format!("checks[{at}]")))?;
            if self.checks[..at]
                .iter()
                .any(|other| std::mem::discriminant(other) == std::mem::discriminant(check))
            {
                return Err(InvalidPolicy::new(
                    format!("checks[{at}]"),
                    check,
                    "each kind of check at most once",
                ));
            }
        }
        Ok(())
    }
}

impl Check {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        match self {
            Self::SelfConsistency { samples, temperature } => {
                within("self_consistency.samples", *samples, 2, MOST_SAMPLES)?;
                match temperature.filter(|temperature| !(0.0..=2.0).contains(temperature)) {
                    Some(other) => Err(InvalidPolicy::new("self_consistency.temperature", other, "0 to 2")),
                    None => Ok(()),
                }
            }
            Self::Verifier { url, timeout_ms } => {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
                if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/'))
                    || url.contains(char::is_whitespace)
                {
                    return Err(InvalidPolicy::new("verifier.url", url, "an http:// or https:// address"));
                }
                within("verifier.timeout_ms", *timeout_ms, 1, 600_000)
            }
            Self::RefusalOrEmpty
            | Self::JsonSchema
            | Self::ToolCalls
            | Self::LogprobConfidence
            | Self::Grounding => Ok(()),
        }
    }
}

impl Combination {
    fn validate(&self, may: impl Fn(Signal) -> bool) -> Result<(), InvalidPolicy> {
        if !self.bias.is_finite() {
            return Err(InvalidPolicy::new("bias", self.bias, "a finite number"));
        }
        for (at, term) in self.terms.iter().enumerate() {
            let path = format!("terms[{at}]");
            let refuse = |field, value: &dyn std::fmt::Debug, expected| {
                Err(InvalidPolicy::new(field, value, expected).within(&path))
            };
            if !may(term.signal) {
                return refuse("signal", &term.signal.as_str(), "a signal of the request");
            }
            if self.terms[..at].iter().any(|other| other.signal == term.signal) {
                return refuse("signal", &term.signal.as_str(), "each signal at most once");
            }
            if !term.weight.is_finite() {
                return refuse("weight", &term.weight, "a finite number");
            }
            if !(0.0..=1.0).contains(&term.absent) {
                return refuse("absent", &term.absent, "0 to 1");
            }
        }
        Ok(())
    }
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), InvalidPolicy> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, value, format!("{least} to {most}")))
}

#[cfg(test)]
mod tests;
