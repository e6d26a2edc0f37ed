//! Judges: each looks at one call and says one thing about it.
//!
//! A [`Judge`] gets a [`Subject`], the call with everything that could be found of it, and returns a verdict. The
//! [`Registry`] holds the configured ones by name; workers, the API and offline runs all take them from there. A judge that
//! has nothing to say about a call (no context, no tools) says so by the label `not_applicable` and no score, so that a call
//! without verdict is one that was not judged.

pub mod agreement;
mod budget;
mod config;
mod custom;
mod grounding;
mod language;
mod model;
pub(crate) mod patience;
mod pii;
pub mod recorded;
mod refusal;
mod registry;
mod relevance;
mod structure;
mod subject;
mod toxicity;
mod uncertainty;
mod wire;

pub use budget::Ledger;
pub use config::{BUILT_IN, JudgesConfig};
pub use custom::CustomConfig;
pub use model::{Kind, ModelConfig};
pub use registry::{Registry, versioned};
pub use subject::{Message, Passage, Subject, Tool, ToolCall};

use contracts::{Usd, Verdict};
use std::pin::Pin;

/// Label of a verdict on a call about which the judge has nothing to say.
pub const NOT_APPLICABLE: &str = "not_applicable";
/// Label of a verdict that a judge tried to reach and could not.
pub const ERROR: &str = "error";

/// What a judge returns while it works.
pub type Judging<'a> = Pin<Box<dyn Future<Output = Result<Verdict, JudgeError>> + Send + 'a>>;

/// Looks at one call and says one thing about it.
pub trait Judge: Send + Sync + std::fmt::Debug {
    /// Its name: letters, digits, `_` and `-`.
    fn name(&self) -> &str;

    /// Changes whenever the same call could get another verdict.
    fn version(&self) -> &str;

    /// The verdict. Most judges compute and never wait; those that ask a model or a program do.
    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a>;

    /// Whether it costs a model call or leaves the process.
    fn is_remote(&self) -> bool {
        false
    }
}

/// What the judge says, unless a part of the call is missing: an answer that was cut when it was recorded is not the one that was given.
pub(crate) async fn ask(judge: &dyn Judge, subject: &Subject) -> Result<Verdict, JudgeError> {
    if subject.cut {
        return Ok(subject.not_applicable(judge, "the call is too long and was cut when it was recorded"));
    }
    judge.judge(subject).await
}

/// Why a judge reached no verdict.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// No answer in time.
    #[error("judge {judge}: no verdict within {millis} ms")]
    Deadline {
        /// Which judge.
        judge: String,
        /// How long it had.
        millis: u128,
    },
    /// Its budget is spent.
    #[error("judge {judge}: its budget of {budget} USD is spent")]
    Budget {
        /// Which judge.
        judge: String,
        /// The budget.
        budget: String,
    },
    /// What it asked failed or answered nonsense.
    #[error("judge {judge}: {reason}")]
    Failed {
        /// Which judge.
        judge: String,
        /// What happened.
        reason: String,
        /// Whether a later try may succeed.
        retryable: bool,
    },
    /// Whom it asks cannot be reached, or has no room for it now: that says nothing of the answer.
    #[error("judge {judge}: {reason}")]
    Unavailable {
        /// Which judge.
        judge: String,
        /// Why.
        reason: String,
    },
    /// It reached no verdict, and had paid for answers by then.
    #[error("{error} ({cost} USD paid)")]
    Paid {
        /// What they cost.
        cost: Usd,
        /// Why there is no verdict all the same.
        error: Box<JudgeError>,
    },
}

impl JudgeError {
    /// The same with what was paid by then.
    #[must_use]
    pub fn after_paying(self, cost: Usd) -> Self {
        if cost == Usd::ZERO {
            return self;
        }
        Self::Paid { cost: cost + self.cost(), error: Box::new(self.into_cause()) }
    }

    /// What was paid for nothing.
    pub fn cost(&self) -> Usd {
        match self {
            Self::Paid { cost, .. } => *cost,
            _ => Usd::ZERO,
        }
    }

    /// What went wrong, paid or not.
    #[must_use]
    pub fn into_cause(self) -> Self {
        match self {
            Self::Paid { error, .. } => error.into_cause(),
            cause => cause,
        }
    }

    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::Unavailable { .. } => true,
            Self::Budget { .. } => false,
            Self::Failed { retryable, .. } => *retryable,
            Self::Paid { error, .. } => error.is_retryable(),
        }
    }

    /// Whether it would have failed on any other call as well, for now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Budget { .. } | Self::Unavailable { .. } => true,
            Self::Deadline { .. } | Self::Failed { .. } => false,
            Self::Paid { error, .. } => error.is_passing(),
        }
    }

    /// Whether the budget of the day is used up.
    pub fn is_budget(&self) -> bool {
        match self {
            Self::Budget { .. } => true,
            Self::Paid { error, .. } => error.is_budget(),
            Self::Deadline { .. } | Self::Unavailable { .. } | Self::Failed { .. } => false,
        }
    }
}
