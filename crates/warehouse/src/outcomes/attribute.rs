//! Which calls pay for which action, and how much of each.

use crate::reads::outcomes::ActionCall;
use contracts::Usd;
use contracts::outcomes::{Attribution, Costs};
use std::collections::HashMap;

/// All of a call, in millionths.
const WHOLE: u64 = 1_000_000;

/// An action and what it costs.
#[derive(Debug, Clone)]
pub(super) struct Priced<'a> {
    /// Its row with the last call that served it, whose groups are the action's.
    pub(super) last: &'a ActionCall,
    pub(super) costs: Costs,
}

/// What became of the actions.
#[derive(Debug, Default)]
pub(super) struct Attributed<'a> {
    pub(super) actions: Vec<Priced<'a>>,
    /// Every call that pays, once, with what it pays.
    pub(super) calls: Vec<(&'a ActionCall, Costs)>,
    pub(super) parked: u64,
    pub(super) refused: u64,
}

/// Follows `rule` over rows in the order of tenant and action.
pub(super) fn attribute(rows: &[ActionCall], rule: Attribution) -> Attributed<'_> {
    let mut attributed = Attributed::default();
    let mut claims: Vec<(usize, &ActionCall, u64)> = Vec::with_capacity(rows.len());
    for action in rows.chunk_by(|a, b| (&a.tenant_id, &a.outcome_id) == (&b.tenant_id, &b.outcome_id)) {
        let known = action.iter().filter(|row| !row.span_id.is_empty());
        let served: Vec<&ActionCall> =
            known.filter(|row| !row.refuses || row.start_ns <= row.received_ns).collect();
        let paying = paying(&served, rule);
        let Some(last) = paying.iter().copied().max_by_key(|row| order(row)) else {
            if action.iter().any(|row| row.refuses) {
                attributed.refused += 1;
            } else {
                attributed.parked += 1;
            }
            continue;
        };
        let index = attributed.actions.len();
        attributed.actions.push(Priced { last, costs: Costs::default() });
        claims.extend(paying.into_iter().map(|row| {
            let weight = if rule == Attribution::Weighted { u64::from(row.weight) } else { WHOLE };
            (index, row, weight)
        }));
    }
    settle(&mut attributed, claims);
    attributed
}

fn paying<'a>(served: &[&'a ActionCall], rule: Attribution) -> Vec<&'a ActionCall> {
    let direct = served.iter().copied().filter(|row| row.direct);
    match rule {
        Attribution::Trace => served.to_vec(),
        Attribution::Weighted => direct.filter(|row| row.weight > 0).collect(),
        Attribution::Last => direct.max_by_key(|row| order(row)).into_iter().collect(),
    }
}

/// When calls started; ids settle a draw.
fn order(row: &ActionCall) -> (i64, &str, &str) {
    (row.start_ns, &row.trace_id, &row.span_id)
}

/// What makes a call one call: tenant, trace, span.
type CallKey<'a> = (&'a str, &'a str, &'a str);

fn key(call: &ActionCall) -> CallKey<'_> {
    (&call.tenant_id, &call.trace_id, &call.span_id)
}

/// Splits each call among the actions that claim it, by their weights. Weights of one in all, or less, are taken as they are; more
/// is scaled down to one.
fn settle<'a>(attributed: &mut Attributed<'a>, claims: Vec<(usize, &'a ActionCall, u64)>) {
    let mut by_call: HashMap<CallKey<'_>, Vec<(usize, u64)>> = HashMap::new();
    let mut calls: Vec<&ActionCall> = Vec::new();
    for (action, call, weight) in claims {
        let claimants = by_call.entry(key(call)).or_default();
        if claimants.is_empty() {
            calls.push(call);
        }
        claimants.push((action, weight));
    }
    for call in calls {
        let Some(claimants) = by_call.get(&key(call)) else { continue };
        let whole = claimants.iter().map(|(_, weight)| weight).sum::<u64>().max(WHOLE);
        let costs = costs(call);
        let (mut before, mut paid) = (0, Costs::default());
        for (action, weight) in claimants {
            let after = before + weight;
            let share = |of: Usd| part(of, after, whole) - part(of, before, whole);
            let costs = Costs {
                answers: share(costs.answers),
                retries: share(costs.retries),
                cache: share(costs.cache),
                embeddings: share(costs.embeddings),
                judges: share(costs.judges),
            };
            attributed.actions[*action].costs += costs;
            paid += costs;
            before = after;
        }
        attributed.calls.push((call, paid));
    }
}

/// `of × parts ÷ whole`, rounded down: differences of consecutive parts lose nothing.
fn part(of: Usd, parts: u64, whole: u64) -> Usd {
    Usd::from_picos((of.picos() * i128::from(parts)).div_euclid(i128::from(whole)))
}

/// What a call cost, by what for.
fn costs(call: &ActionCall) -> Costs {
    let (all, judges) = (Usd::from_picos(call.calls_cost), Usd::from_picos(call.judges_cost));
    if call.operation == "embeddings" {
        return Costs { embeddings: all, judges, ..Costs::default() };
    }
    // A call's cost is the sum of its attempts; should a sender's be less, no more than it is split up.
    let retries = Usd::from_picos(call.retries_cost).clamp(Usd::ZERO, all.max(Usd::ZERO));
    let cache = Usd::from_picos(call.cache_cost).clamp(Usd::ZERO, (all - retries).max(Usd::ZERO));
    Costs { answers: all - retries - cache, retries, cache, judges, ..Costs::default() }
}
