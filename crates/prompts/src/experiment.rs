//! Who gets which arm: weighted rendezvous hashing.
//!
//! Each arm draws a number for the unit, `ln(u) / weight` with `u` a hash in (0, 1), and the highest wins. That is a race of
//! exponential clocks, so an arm wins with the probability `weight / sum of weights`; and as an arm's number depends on its own weight
//! alone, a change of one weight moves units to or from that arm only, and no more than its share changes. When all shares change
//! at once by `d` (half the sum of the differences), at most `2d / (1 + d)` of the units move.
//!
//! Nothing is stored. A unit keeps its arm as long as weights, salt and names of arms stay.

use contracts::policy::experiment::{Experiment, Status, Sticky};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Whom a request is from, as far as it says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The end user.
    pub user: Option<&'a str>,
    /// The conversation.
    pub conversation: Option<&'a str>,
    /// The API key.
    pub key: Option<&'a str>,
    /// The request.
    pub request: &'a str,
}

impl<'a> Subject<'a> {
    /// The unit that an arm is dealt to. A request that does not name it is dealt for what is next closer to it: a conversation
    /// for a user, then the request itself. A key is not taken for either, as it may stand for all users at once.
    pub fn unit(&self, sticky: Sticky) -> (Sticky, &'a str) {
        let user = self.user.map(|user| (Sticky::User, user));
        let conversation = self.conversation.map(|conversation| (Sticky::Conversation, conversation));
        let found = match sticky {
            Sticky::User => user.or(conversation),
            Sticky::Conversation => conversation,
            Sticky::Key => self.key.map(|key| (Sticky::Key, key)),
            Sticky::Request => None,
        };
        found.unwrap_or((Sticky::Request, self.request))
    }
}

/// The arm that a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dealt {
    /// Its place in [`Experiment::arms`].
    pub arm: usize,
    /// What it was dealt to; differs from [`Experiment::sticky`] when the request did not say.
    pub by: Sticky,
}

/// An experiment that is ready to deal its arms.
#[derive(Debug, Clone)]
pub struct Dealer {
    arms: Vec<Share>,
    sticky: Sticky,
    is_paused: bool,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    seed: u64,
    weight: f64,
}

impl Dealer {
    /// Prepares an experiment under its name. Tenants that share one name but not the experiment should be part of it.
    pub fn new(name: &str, experiment: &Experiment) -> Self {
        // Names of experiments are shorter than their longest, so no two pairs of name and salt are the same bytes.
        let seed = xxh3_64_with_seed(experiment.salt.as_bytes(), xxh3_64_with_seed(name.as_bytes(), 0));
        let share = |name: &str, weight| Share { seed: xxh3_64_with_seed(name.as_bytes(), seed), weight };
        Self {
            arms: experiment.arms.iter().map(|arm| share(&arm.name, arm.weight)).collect(),
            sticky: experiment.sticky,
            is_paused: experiment.status == Status::Paused,
        }
    }

    /// The same with other weights, one for each arm in their order; arms without keep theirs. What [`crate::allocation`] yields
    /// goes here.
    #[must_use]
    pub fn with_weights(&self, weights: &[f64]) -> Self {
        let mut dealer = self.clone();
        for (arm, weight) in dealer.arms.iter_mut().zip(weights) {
            arm.weight = *weight;
        }
        dealer
    }

    /// The arm for a request. The first, the control, when the experiment is paused or no arm has weight.
    pub fn deal(&self, subject: &Subject<'_>) -> Dealt {
        let (by, unit) = subject.unit(self.sticky);
        let arm = if self.is_paused { 0 } else { self.arm(by, unit) };
        Dealt { arm, by }
    }

    fn arm(&self, by: Sticky, unit: &str) -> usize {
        let mut best = (0, f64::NEG_INFINITY);
        for (n, share) in self.arms.iter().enumerate() {
            // A weight that is not a number is none.
            if share.weight > 0.0 {
                // A user `a` and a conversation `a` are two units.
                let hash = xxh3_64_with_seed(unit.as_bytes(), share.seed.wrapping_add(by as u64));
                let number = fraction(hash).ln() / share.weight;
                if number > best.1 {
                    best = (n, number);
                }
            }
        }
        best.0
    }
}

/// A hash as a number in (0, 1), both ends excluded.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn fraction(hash: u64) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    ((hash >> 11) as f64 + 0.5) / STEPS
}

#[cfg(test)]
mod tests;
