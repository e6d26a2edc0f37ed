//! Uncertainty by log-probabilities, where the answer came with them.
//!
//! The score is 1 − exp(mean log-probability): 0 when the model was sure of every token, and the higher the more surprised it was
//! by its own words (one minus the inverse of the perplexity). Details name the least likely token.

use super::{Judge, Judging, Subject};
use serde_json::json;

/// From here on an answer counts as uncertain: the model gave its tokens less than 0.6 on (geometric) average.
const UNCERTAIN: f64 = 0.4;

/// `uncertainty`.
#[derive(Debug, Clone, Copy)]
pub struct Uncertainty;

impl Judge for Uncertainty {
    fn name(&self) -> &'static str {
        "uncertainty"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    #[expect(clippy::cast_precision_loss, reason = "tokens of one answer")]
    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move {
            let finite: Vec<f64> =
                subject.logprobs.iter().copied().filter(|p| p.is_finite() && *p <= 0.0).collect();
            if finite.is_empty() {
                return Ok(subject.not_applicable(self, "the answer came without log-probabilities"));
            }
            let mean = finite.iter().sum::<f64>() / finite.len() as f64;
            let least = finite.iter().copied().fold(0.0, f64::min);
            let score = 1.0 - mean.exp();
            let label = if score < UNCERTAIN { "certain" } else { "uncertain" };
            let mut verdict = subject.verdict(self, Some(score), label);
            verdict.details =
                json!({ "perplexity": (-mean).exp(), "least_probable": least.exp(), "tokens": finite.len() });
            Ok(verdict)
        })
    }
}
