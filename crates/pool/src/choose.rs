//! Which deployment a call goes to.
//!
//! First who may be chosen, by rank: those that are in and not yet tried by this call; then those that it has tried; then those
//! that seem to hang; and, when too many are out for the rest to carry the load, all of them. Then one of the best rank by the pool's
//! balance. The power of two choices (Mitzenmacher, 2001) compares two at random: nearly as good as comparing all, and gateways that
//! know the same do not all run to the same deployment.

use crate::affinity::Affinity;
use crate::breaker::Standing;
use crate::pool::Inner;
use crate::retry::Tried;
use contracts::policy::pool::{Balance, PrefixAffinity};
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// How the answer comes.
    pub kind: Kind,
    /// The prompt's beginning, where the pool's balance uses it.
    pub affinity: Option<Affinity>,
    /// Whether, when too many deployments are out, one of them is chosen all the same. Not while there is another model to
    /// fall back to.
    pub may_panic: bool,
}

impl Ask {
    /// A call of `kind` that has nowhere else to go.
    pub fn new(kind: Kind) -> Self {
        Self { kind, affinity: None, may_panic: true }
    }
}

/// How the answer comes, which decides what its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is written.
    Streamed,
    /// When it is written.
    Whole,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Streamed, Self::Whole];

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Streamed => 0,
            Self::Whole => 1,
        }
    }
}

/// No deployment can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// All are out, or drained.
    #[error("no deployment is in")]
    Out {
        /// When one can be tried again.
        retry_in: Option<Duration>,
    },
    /// Those that are in have asked to be left alone.
    #[error("every deployment is rate limited")]
    RateLimited {
        /// For how long.
        retry_in: Duration,
    },
}

impl Unavailable {
    /// How long to wait before asking again can help, where that is known: an honest `retry-after`.
    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Out { retry_in } => *retry_in,
            Self::RateLimited { retry_in } => Some(*retry_in),
        }
    }
}

/// Who may be chosen: the lower, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Lively,
    Tried,
    Stalled,
    StalledTried,
    Out,
}

/// What a look at all deployments found. Those of the best rank are in `Inner::eligible`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Survey {
    pub(crate) best: Option<Rank>,
    /// One that is out and may be tried.
    pub(crate) trial: Option<usize>,
    pub(crate) panic: bool,
}

impl Inner {
    /// Whether so many are out that all count as in.
    pub(crate) fn in_panic(&self) -> bool {
        let usable = self.slots.iter().filter(|slot| slot.is_usable());
        let (all, out) =
            usable.fold((0, 0), |(all, out), slot| (all + 1, out + u64::from(slot.breaker.is_out())));
        out > 0 && out * 100 > all * u64::from(self.policy.breaker.max_ejected_percent)
    }

    /// Looks at all deployments. For the first try of a call, those that are out count as in when too many are; for a further
    /// one, they are the last resort.
    pub(crate) fn survey(&mut self, tried: &Tried, may_panic: bool, now: Instant) -> Survey {
        let panic = self.in_panic();
        self.eligible.clear();
        let mut survey = Survey { best: None, trial: None, panic };
        for (number, slot) in self.slots.iter().enumerate() {
            if !slot.is_usable() {
                continue;
            }
            let was_tried = tried.has(number);
            match slot.breaker.standing(now) {
                Standing::BackingOff => continue,
                Standing::In => {}
                standing => {
                    if standing == Standing::Trial && survey.trial.is_none() {
                        survey.trial = Some(number);
                    }
                    if !(panic && may_panic) {
                        continue;
                    }
                }
            }
            let out_of_turn = slot.breaker.is_out() && tried.attempts() > 0;
            let rank = match (out_of_turn, slot.is_stalled(&self.common, now), was_tried) {
                (true, ..) => Rank::Out,
                (false, false, false) => Rank::Lively,
                (false, false, true) => Rank::Tried,
                (false, true, false) => Rank::Stalled,
                (false, true, true) => Rank::StalledTried,
            };
            if survey.best.is_none_or(|best| rank < best) {
                survey.best = Some(rank);
                self.eligible.clear();
            }
            if survey.best == Some(rank) {
                self.eligible.push(number);
            }
        }
        survey
    }

    /// One of the eligible.
    pub(crate) fn balance(&mut self, ask: &Ask, now: Instant) -> Option<usize> {
        if let [only] = self.eligible.as_slice() {
            return Some(*only);
        }
        match (&self.policy.balance, ask.affinity) {
            (Balance::Weighted, _) => self.by_weight(now),
            (Balance::PrefixAffinity(affinity), Some(prefix)) => {
                self.by_prefix(affinity, prefix, now).or_else(|| self.of_two(ask.kind, now))
            }
            (Balance::LeastOutstandingPeakEwma | Balance::PrefixAffinity(_), _) => self.of_two(ask.kind, now),
        }
    }

    fn of_two(&mut self, kind: Kind, now: Instant) -> Option<usize> {
        let count = self.eligible.len();
        if count == 0 {
            return None;
        }
        let first = self.rng.usize(..count);
        // Another one, each with the same chance.
        let second = (first + 1 + self.rng.usize(..(count - 1).max(1))) % count;
        let (first, second) = (self.eligible[first], self.eligible[second]);
        let cost = |number: usize| self.slots[number].cost(kind, &self.common, now);
        Some(if cost(second) < cost(first) { second } else { first })
    }

    fn by_weight(&mut self, now: Instant) -> Option<usize> {
        let share = |number: &usize| self.slots[*number].share(&self.common, now);
        let all: f64 = self.eligible.iter().map(share).sum();
        let mut left = self.rng.f64() * all;
        let found = self.eligible.iter().find(|number| {
            left -= self.slots[**number].share(&self.common, now);
            left < 0.0
        });
        found.or(self.eligible.last()).copied()
    }

    fn by_prefix(&self, policy: &PrefixAffinity, prefix: Affinity, now: Instant) -> Option<usize> {
        let part = |number: usize| {
            let slot = &self.slots[number];
            slot.share(&self.common, now) / slot.busy(&self.common, now)
        };
        let (calls, parts) = self.eligible.iter().fold((1.0, 0.0), |(calls, parts), number| {
            (calls + f64::from(self.slots[*number].outstanding), parts + part(*number))
        });
        let most = f64::from(policy.overload_percent) / 100.0 * calls / parts;
        let has_room = |number: &usize| {
            let slot = &self.slots[*number];
            let full = slot.deployment.slots.is_some_and(|slots| slot.outstanding >= slots);
            !full && f64::from(slot.outstanding) + 1.0 <= (most * part(*number)).ceil()
        };
        let score = |number: usize| {
            let slot = &self.slots[number];
            prefix.score(slot.key, f64::from(slot.deployment.weight))
        };
        let roomy = self.eligible.iter().copied().filter(has_room);
        roomy
            .map(|number| (number, score(number)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(number, _)| number)
    }

    /// Why none could be chosen.
    pub(crate) fn unavailable(&self, now: Instant) -> Unavailable {
        let usable = || self.slots.iter().filter(|slot| slot.is_usable());
        let soonest = usable().filter_map(|slot| slot.breaker.ready_at()).min();
        let retry_in = soonest.map(|at| at.saturating_duration_since(now));
        let limited = usable().any(|slot| slot.breaker.standing(now) == Standing::BackingOff);
        match retry_in {
            Some(retry_in) if limited => Unavailable::RateLimited { retry_in },
            _ => Unavailable::Out { retry_in },
        }
    }
}
