//! Thresholds and entries of all tiers together.
//!
//! For a price of quality (what one more acceptable answer may cost) the best choice is that which maximises expected quality less
//! cost over price. It is climbed coordinate by coordinate, from several starts, over the quantiles of what is compared with each
//! threshold. Expected quality is the weights' own, not the outcomes': a hundred outcomes are too coarse to choose thresholds by, and a search over them finds their noise.

use super::weights::Weights;
use super::{Recording, Target};
use crate::decide::probability;
use crate::words::share;
use contracts::Usd;

/// Candidates for each threshold.
const QUANTILES: usize = 33;

/// Prices of quality that are tried, each a fixed factor above the one before.
const PRICES: usize = 48;

/// Sweeps over all coordinates after which a climb ends.
const MOST_SWEEPS: usize = 8;

/// One choice of thresholds, with what it comes to on the prompts that it was chosen on.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// For each tier but the last.
    pub thresholds: Vec<f64>,
    /// For each tier but the last.
    pub entries: Vec<f64>,
    /// Expected share of acceptable answers.
    pub quality: f64,
    /// Sum of costs.
    pub cost: Usd,
}

/// A prompt in numbers, for each tier.
struct Row {
    /// Probability that the answer is acceptable.
    answer: Vec<f64>,
    /// The same by the request alone.
    prospect: Vec<f64>,
    cost: Vec<Usd>,
}

/// The choices that no other is both cheaper and better than, cheapest first.
pub(super) fn curve(recording: &Recording, prompts: &[usize], weights: &Weights) -> Vec<Point> {
    let rows = rows(recording, prompts, weights);
    let tiers = recording.tiers;
    let candidates = candidates(&rows, tiers);
    let mut found = Vec::new();
    for start in 0..tiers {
        // Everything goes to one tier: the ones before are left out, and its answers accepted.
        let mut point = Point {
            thresholds: vec![-1.0; tiers - 1],
            entries: (0..tiers - 1).map(|at| if at < start { 1.0 } else { -1.0 }).collect(),
            quality: 0.0,
            cost: Usd::ZERO,
        };
        measure(&rows, &mut point);
        found.push(point.clone());
        for price in prices(&rows, tiers) {
            point = climb(&rows, &candidates, point, price, &mut found);
            keep_best(&mut found);
        }
    }
    found
}

/// Keeps the points that no other is both as cheap and as good as, cheapest first.
fn keep_best(points: &mut Vec<Point>) {
    points.sort_by(|a, b| a.cost.cmp(&b.cost).then(b.quality.total_cmp(&a.quality)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|point| {
        let better = point.quality > best + 1e-9;
        best = best.max(point.quality);
        better
    });
}

/// The choice of a curve that meets a target best; where none meets it, the one that comes closest.
pub(super) fn choose<'a>(
    recording: &Recording,
    prompts: &[usize],
    curve: &'a [Point],
    target: Target,
) -> &'a Point {
    static NOWHERE: Point =
        Point { thresholds: Vec::new(), entries: Vec::new(), quality: 0.0, cost: Usd::ZERO };
    let last = recording.tiers.saturating_sub(1);
    let (first, best) = (curve.first().unwrap_or(&NOWHERE), curve.last().unwrap_or(&NOWHERE));
    let at_least = |quality: f64| curve.iter().find(|point| point.quality >= quality).unwrap_or(best);
    let at_most = |cost: Usd| curve.iter().rev().find(|point| point.cost <= cost).unwrap_or(first);
    match target {
        Target::Quality(quality) => at_least(quality),
        Target::LastLess(margin) => {
            let sum: f64 = prompts.iter().filter_map(|p| recording.answer(*p, last)).map(|a| a.quality).sum();
            at_least(sum * share(1, prompts.len()) - margin)
        }
        Target::Cost(cost) => at_most(cost.times(prompts.len() as u64)),
        Target::CostShare(part) => at_most(part_of(recording.cost_of(last, prompts), part)),
    }
}

/// A share of an amount, to the millionth.
pub(super) fn part_of(amount: Usd, part: f64) -> Usd {
    #[expect(clippy::cast_possible_truncation, reason = "a share of at most some thousands, in millionths")]
    let millionths = (part.clamp(0.0, 1e6) * 1e6).round() as i128;
    Usd::from_picos(amount.picos().saturating_mul(millionths) / 1_000_000)
}

fn rows(recording: &Recording, prompts: &[usize], weights: &Weights) -> Vec<Row> {
    let tiers = 0..recording.tiers;
    let row = |prompt: &usize| -> Option<Row> {
        let request = &recording.prompts.get(*prompt)?.request;
        let answers: Vec<_> = tiers.clone().filter_map(|tier| recording.answer(*prompt, tier)).collect();
        Some(Row {
            answer: answers
                .iter()
                .zip(&weights.answers)
                .map(|(a, model)| probability(model, &a.signals))
                .collect(),
            prospect: weights.prospects.iter().map(|model| probability(model, request)).collect(),
            cost: answers.iter().map(|answer| answer.cost).collect(),
        })
    };
    prompts.iter().filter_map(row).collect()
}

/// For each coordinate (thresholds, then entries) the values that are tried.
fn candidates(rows: &[Row], tiers: usize) -> Vec<Vec<f64>> {
    let mut all = Vec::with_capacity(2 * (tiers - 1));
    for tier in 0..tiers - 1 {
        let margins = |row: &Row| {
            (tier + 1..tiers).map(|next| row.answer[tier] - row.prospect[next]).collect::<Vec<_>>()
        };
        all.push(quantiles(rows.iter().flat_map(margins).collect()));
    }
    for tier in 0..tiers - 1 {
        all.push(quantiles(rows.iter().map(|row| row.prospect[tier] - row.prospect[tier + 1]).collect()));
    }
    all
}

/// Values between the quantiles of `values`, and both ends.
fn quantiles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let mut out = vec![-1.0];
    for n in 1..QUANTILES {
        let at = n * values.len() / QUANTILES;
        if let (Some(below), Some(above)) = (values.get(at.wrapping_sub(1)), values.get(at)) {
            out.push(f64::midpoint(*below, *above));
        }
    }
    out.push(1.0);
    out.dedup();
    out
}

/// Prices of quality, in dollars an answer: from a hundredth of the cheapest tier's cost to a thousand times the dearest's.
fn prices(rows: &[Row], tiers: usize) -> Vec<f64> {
    let mean = |tier: usize| -> f64 {
        let sum: Usd = rows.iter().map(|row| row.cost[tier]).sum();
        dollars(sum) * share(1, rows.len())
    };
    let means: Vec<f64> = (0..tiers).map(mean).collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min).max(1e-12) / 100.0;
    let most = means.iter().copied().fold(0.0, f64::max).max(least) * 1_000.0;
    (0..PRICES).map(|n| least * (most / least).powf(share(n, PRICES - 1))).collect()
}

/// For weighing quality against cost; no amount is made of it.
fn dollars(amount: Usd) -> f64 {
    amount.to_f64_for_display()
}

fn climb(rows: &[Row], candidates: &[Vec<f64>], start: Point, price: f64, found: &mut Vec<Point>) -> Point {
    let worth = |point: &Point| point.quality - dollars(point.cost) * share(1, rows.len().max(1)) / price;
    let mut best = start;
    for _ in 0..MOST_SWEEPS {
        let before = worth(&best);
        for (coordinate, values) in candidates.iter().enumerate() {
            for value in values {
                let mut point = best.clone();
                let tiers = point.thresholds.len();
                match point.thresholds.get_mut(coordinate) {
                    Some(threshold) => *threshold = *value,
                    None => point.entries[coordinate - tiers] = *value,
                }
                measure(rows, &mut point);
                if worth(&point) > worth(&best) + 1e-12 {
                    best = point.clone();
                }
                // What is not worth it at this price may be what a ceiling between two prices allows.
                found.push(point);
            }
        }
        if worth(&best) <= before + 1e-12 {
            break;
        }
    }
    best
}

/// Plays all rows by the rules of [`crate::decide`].
fn measure(rows: &[Row], point: &mut Point) {
    let last = point.thresholds.len();
    let (mut quality, mut cost) = (0.0, Usd::ZERO);
    for row in rows {
        let next = |from: usize| {
            let enters = |at: &usize| row.prospect[*at] - row.prospect[at + 1] >= point.entries[*at];
            (from..last).find(enters).unwrap_or(last)
        };
        let mut at = next(0);
        cost += row.cost[at];
        while at < last {
            let other = next(at + 1);
            if row.answer[at] - row.prospect[other] >= point.thresholds[at] {
                break;
            }
            at = other;
            cost += row.cost[at];
        }
        quality += row.answer[at];
    }
    point.quality = quality * share(1, rows.len().max(1));
    point.cost = cost;
}
