//! Which tier is asked first, and whether an answer is good enough or the next tier is asked.

use crate::reject::Rejection;
use crate::signals::Signals;
use contracts::Usd;
use contracts::policy::cascade::{Cascade, Check, Combination, OnDeadline, Signal, Tier};

/// What may still be spent on a request.
#[derive(Debug, Clone, Copy)]
pub struct Purse<'a> {
    /// What the tiers asked so far have cost.
    pub spent: Usd,
    /// The most that asking each tier may cost for this request, samples included, in the order of the tiers.
    pub most: &'a [Usd],
    /// What the budgets leave for the request besides what is spent; `None` where nothing limits it.
    pub left: Option<Usd>,
}

/// What becomes of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// Why, for the trace.
    pub reason: Reason,
    /// Probability that the answer is acceptable; absent for an answer that was rejected.
    pub probability: Option<f64>,
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the client.
    Accept,
    /// This tier is asked.
    Escalate(usize),
    /// It is rejected outright, and there is no tier left that may be asked.
    Fail,
}

/// Why an answer was accepted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is likely enough to be acceptable.
    GoodEnough,
    /// The next tier is likely enough to do better.
    NotGoodEnough,
    /// A check rejects it outright.
    Rejected(Rejection),
    /// A check was not done in time.
    Late,
    /// It is the last tier's.
    LastTier,
    /// Another tier would be asked, but could cost more than is left.
    PriceCeiling,
}

impl Reason {
    /// A name for traces and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::GoodEnough => "good_enough",
            Self::NotGoodEnough => "not_good_enough",
            Self::Rejected(rejection) => rejection.as_str(),
            Self::Late => "late",
            Self::LastTier => "last_tier",
            Self::PriceCeiling => "price_ceiling",
        }
    }
}

/// The tier that is asked from `from` on, where nothing acceptable is in hand: the first that its entry does not leave out, or, where
/// that one cannot be paid, the last that can. `None` where none can be paid, or none is left.
pub fn next_tier(cascade: &Cascade, from: usize, request: &Signals, purse: &Purse<'_>) -> Option<usize> {
    wanted(cascade, from, request)
        .filter(|at| is_affordable(cascade, *at, purse))
        .or_else(|| (from..cascade.tiers.len()).rev().find(|at| is_affordable(cascade, *at, purse)))
}

/// Judges the answer of tier `at`. `signals` holds those of the request as well.
pub fn decide(
    cascade: &Cascade,
    at: usize,
    signals: &Signals,
    rejection: Option<Rejection>,
    purse: &Purse<'_>,
) -> Decision {
    if let Some(rejection) = rejection {
        let next = next_tier(cascade, at + 1, signals, purse);
        let verdict = next.map_or(Verdict::Fail, Verdict::Escalate);
        return Decision { verdict, reason: Reason::Rejected(rejection), probability: None };
    }
    let accept = |reason, probability| Decision { verdict: Verdict::Accept, reason, probability };
    let Some(tier) = cascade.tiers.get(at) else { return accept(Reason::LastTier, None) };
    let probability = acceptable(tier, signals);
    let Some(next) = wanted(cascade, at + 1, signals) else {
        return accept(Reason::LastTier, Some(probability));
    };
    // What is left after a deadline does not make a probability: the default alone holds.
    let is_late = signals.is_late() && tier.threshold.is_some();
    let is_good = if is_late {
        cascade.on_deadline == OnDeadline::Accept
    } else {
        tier.threshold.is_none_or(|least| probability - promise(cascade, next, signals) >= least)
    };
    if is_good {
        return accept(if is_late { Reason::Late } else { Reason::GoodEnough }, Some(probability));
    }
    if !is_affordable(cascade, next, purse) {
        return accept(Reason::PriceCeiling, Some(probability));
    }
    let reason = if is_late { Reason::Late } else { Reason::NotGoodEnough };
    Decision { verdict: Verdict::Escalate(next), reason, probability: Some(probability) }
}

/// Whether anything but its outright rejections depends on what a tier's answer is like. Where nothing does, what no check rejects is
/// accepted.
pub fn is_examined(tier: &Tier) -> bool {
    let is_scored = tier.checks.iter().any(|check| score_of(check).is_some());
    is_scored || tier.threshold.is_some() || tier.combine.is_some()
}

/// Whether anything depends on what the request alone is like: which tier is asked, or what the next one promises.
pub fn weighs_request(cascade: &Cascade) -> bool {
    cascade.tiers.iter().any(|tier| tier.entry.is_some() || tier.prospect.is_some())
}

/// Probability that a tier's answer is acceptable: as fitted, or the least score of its checks.
pub fn acceptable(tier: &Tier, signals: &Signals) -> f64 {
    if let Some(combine) = &tier.combine {
        return probability(combine, signals);
    }
    let scores = tier.checks.iter().filter_map(|check| signals.get(score_of(check)?));
    scores.fold(1.0, f64::min)
}

/// What the logistic model makes of the signals.
pub fn probability(model: &Combination, signals: &Signals) -> f64 {
    let value = |signal, absent| signals.get(signal).unwrap_or(absent);
    let sum: f64 = model.terms.iter().map(|term| term.weight * value(term.signal, term.absent)).sum();
    sigmoid(model.bias + sum)
}

pub(crate) fn sigmoid(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

fn score_of(check: &Check) -> Option<Signal> {
    match check {
        Check::LogprobConfidence => Some(Signal::LogprobConfidence),
        Check::SelfConsistency { .. } => Some(Signal::SelfConsistency),
        Check::Grounding => Some(Signal::Grounding),
        Check::Verifier { .. } => Some(Signal::Verifier),
        Check::RefusalOrEmpty | Check::JsonSchema | Check::ToolCalls => None,
    }
}

/// The first tier from `from` on that its entry does not leave out.
fn wanted(cascade: &Cascade, from: usize, request: &Signals) -> Option<usize> {
    (from..cascade.tiers.len()).find(|at| enters(cascade, *at, request))
}

/// What the tier at `at` promises, judged by the request: 0 where nothing was fitted.
fn promise(cascade: &Cascade, at: usize, request: &Signals) -> f64 {
    let prospect = cascade.tiers.get(at).and_then(|tier| tier.prospect.as_ref());
    prospect.map_or(0.0, |prospect| probability(prospect, request))
}

fn enters(cascade: &Cascade, at: usize, request: &Signals) -> bool {
    let Some(entry) = cascade.tiers.get(at).and_then(|tier| tier.entry) else { return true };
    promise(cascade, at, request) - promise(cascade, at + 1, request) >= entry
}

fn is_affordable(cascade: &Cascade, at: usize, purse: &Purse<'_>) -> bool {
    let most = purse.most.get(at).copied().unwrap_or(Usd::ZERO);
    cascade.price_ceiling.is_none_or(|ceiling| purse.spent + most <= ceiling)
        && purse.left.is_none_or(|left| most <= left)
}

#[cfg(test)]
mod tests;
