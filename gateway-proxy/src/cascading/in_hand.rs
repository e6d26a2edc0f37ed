//! The answer that there is for when no later tier brings one.

use crate::app::App;
use crate::attempt::Answered;
use crate::call::{Call, Ending};
use crate::metrics::GatewayMetrics;

/// Bytes of an answer that are held on to while others are asked.
const MOST_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct InHand {
    answered: Answered,
    /// Its place among the call's attempts.
    attempt: usize,
    warnings: Vec<String>,
}

impl InHand {
    /// The answer of the attempt that was just left, where it is whole and not long.
    pub(super) fn of(call: &mut Call, answered: Answered) -> Option<Self> {
        let is_held = match &answered {
            Answered::Whole { bytes, .. } => bytes.len() <= MOST_BYTES,
            Answered::Stream { opening, .. } => opening.is_whole() && opening.held() <= MOST_BYTES,
        };
        let facts = call.facts().filter(|_| is_held)?;
        let attempt = facts.attempts.len().checked_sub(1)?;
        Some(Self { answered, attempt, warnings: facts.warnings.clone() })
    }

    /// It is the call's answer after all, for what was asked last came to nothing better and ended so.
    pub(super) async fn give(self, app: &App, call: &mut Call, ending: Ending) -> Answered {
        if let Some(error) = ending.error {
            GatewayMetrics::count(&app.metrics.upstream_errors, error);
        }
        call.go_back(ending, self.attempt).await;
        super::keep_not(call);
        if let Some(facts) = call.facts() {
            facts.warnings = self.warnings;
            if let Some(attempt) = facts.attempt() {
                attempt.decision = "accept:next_failed".into();
            }
        }
        self.answered
    }
}
