//! What a fitted cascade is worth on prompts that it has not seen.
//!
//! The prompts are halved by group many times; each half is fitted on and the other measured. Over these measurements the median and
//! the spread are given, and intervals from a bootstrap over prompts, each of which has the mean of what was measured of it.

use super::search::{self, Point};
use super::weights::Weights;
use super::{FitError, Options, Recording, Served, Target, assemble, play};
use crate::decide::probability;
use crate::words::share;
use contracts::policy::cascade::{Cascade, Signal};
use contracts::{ModelName, Usd};
use serde::Serialize;
use std::collections::BTreeMap;

/// Costs at which the curve is measured, as shares of the last tier's.
const CURVE: [f64; 16] =
    [0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0];

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Times that the prompts are halved; each half is measured once.
    pub splits: u32,
    /// Resamples of the bootstrap.
    pub resamples: u32,
    /// Where the randomness begins.
    pub seed: u64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The tiers.
    pub tiers: Vec<ModelName>,
    /// Prompts in all.
    pub prompts: usize,
    /// Halves that were measured.
    pub halves: usize,
    /// The cascade at its target.
    pub cascade: Measured,
    /// Mean share of the requests that each tier's answer served.
    pub served: Vec<f64>,
    /// Quality of asking one of two tiers by lot, at the cascade's cost.
    pub random_at_equal_cost: f64,
    /// Each tier alone.
    pub single: Vec<Fixed>,
    /// From tier to tier exactly where an answer is not acceptable.
    pub oracle: Fixed,
    /// The curve, cheapest first.
    pub curve: Vec<CurvePoint>,
    /// How well each signal, and what was made of all of them (`combined`), tells acceptable answers of each tier from others.
    pub signals: Vec<Auroc>,
}

/// A figure over the halves, and its interval over prompts.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// Median over the halves.
    pub median: f64,
    /// Tenth percentile over the halves.
    pub p10: f64,
    /// Ninetieth.
    pub p90: f64,
    /// Mean over prompts.
    pub mean: f64,
    /// 95% interval of the mean, by bootstrap over prompts.
    pub interval: [f64; 2],
}

/// A cascade, measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Measured {
    /// Share of acceptable answers.
    pub quality: Spread,
    /// The same less the last tier's on the same prompts.
    pub less_last: Spread,
    /// The same less that of asking by lot at equal cost.
    pub less_random: Spread,
    /// Cost as a share of the last tier's.
    pub cost_share: Spread,
    /// Mean cost of a request.
    pub cost: Usd,
}

/// A way to serve that needs no fitting.
#[derive(Debug, Clone, Serialize)]
pub struct Fixed {
    /// What it is called.
    pub name: String,
    /// Share of acceptable answers.
    pub quality: f64,
    /// Mean cost of a request.
    pub cost: Usd,
    /// The same as a share of the last tier's.
    pub cost_share: f64,
}

/// A point of the curve.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CurvePoint {
    /// What was asked for: the cost on the fitting half, as a share of the last tier's.
    pub target: f64,
    /// What was measured: means over all halves.
    pub cost_share: f64,
    /// Share of acceptable answers.
    pub quality: f64,
    /// 95% interval of it, by bootstrap over prompts.
    pub interval: [f64; 2],
    /// By lot at equal cost.
    pub random: f64,
}

/// Area under the ROC curve for each tier; absent where all answers are alike.
#[derive(Debug, Clone, Serialize)]
pub struct Auroc {
    /// The signal.
    pub signal: String,
    /// For each tier.
    pub tiers: Vec<Option<f64>>,
}

/// Sums of what one prompt came to over the halves in which it was measured.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    times: u32,
    quality: f64,
    cost: Usd,
}

/// One target, measured over all halves.
struct Track {
    tallies: Vec<Tally>,
    halves: Vec<Half>,
    served: Vec<usize>,
}

/// Figures of one half.
#[derive(Clone, Copy)]
struct Half {
    quality: f64,
    less_last: f64,
    less_random: f64,
    cost_share: f64,
}

/// Halves, fits, measures; the cascade is fitted on all prompts.
pub fn report(recording: &Recording, options: &Options, plan: &Plan) -> Result<(Cascade, Report), FitError> {
    recording.validate()?;
    let all: Vec<usize> = (0..recording.prompts.len()).collect();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut targets = vec![options.target];
    targets.extend(CURVE.map(Target::CostShare));
    let empty = || Track {
        tallies: vec![Tally::default(); all.len()],
        halves: Vec::new(),
        served: vec![0; recording.tiers],
    };
    let mut tracks: Vec<Track> = targets.iter().map(|_| empty()).collect();
    let mut combined = vec![Vec::new(); recording.tiers];
    for _ in 0..plan.splits {
        let [one, other] = halve(recording, &mut random);
        for (fitted, held) in [(&one, &other), (&other, &one)] {
            let weights = Weights::fit(recording, fitted, &options.signals);
            let curve = search::curve(recording, fitted, &weights);
            for (target, track) in targets.iter().zip(&mut tracks) {
                let point: &Point = search::choose(recording, fitted, &curve, *target);
                let cascade = assemble(recording, &weights, point);
                cascade.validate()?;
                track.add(recording, held, &cascade);
            }
            collect_scores(recording, held, &weights, &mut combined);
        }
    }
    let (cascade, _) = super::fit(recording, &all, options)?;
    let mut tracks = tracks.into_iter();
    let Some(main) = tracks.next() else { return Err(FitError::Prompts(0)) };
    let measured = main.measured(recording, plan, &mut random);
    let served: usize = main.served.iter().sum();
    let points =
        CURVE.iter().zip(tracks).map(|(target, track)| track.point(recording, *target, plan, &mut random));
    Ok((
        cascade,
        Report {
            tiers: recording.models.iter().take(recording.tiers).cloned().collect(),
            prompts: all.len(),
            halves: main.halves.len(),
            served: main.served.iter().map(|n| share(*n, served.max(1))).collect(),
            random_at_equal_cost: by_lot(recording, &all, part(measured.cost, recording, &all)),
            cascade: measured,
            single: (0..recording.tiers).map(|tier| single(recording, &all, tier)).collect(),
            oracle: oracle(recording, &all),
            curve: points.collect(),
            signals: aurocs(recording, &all, options, &combined),
        },
    ))
}

/// Divides the prompts by group, at random.
pub fn halve(recording: &Recording, random: &mut fastrand::Rng) -> [Vec<usize>; 2] {
    let mut groups = BTreeMap::<&str, Vec<usize>>::new();
    for (at, prompt) in recording.prompts.iter().enumerate() {
        groups.entry(&prompt.group).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    random.shuffle(&mut groups);
    let half = groups.len() / 2;
    let other = groups.split_off(half);
    [groups.concat(), other.concat()]
}

impl Track {
    fn add(&mut self, recording: &Recording, held: &[usize], cascade: &Cascade) {
        let last = recording.tiers - 1;
        let (mut quality, mut cost, mut of_last) = (0.0, Usd::ZERO, 0.0);
        for prompt in held {
            let Some(Served { tier, quality: one, cost: paid }) = play(recording, *prompt, cascade) else {
                continue;
            };
            let tally = &mut self.tallies[*prompt];
            tally.times += 1;
            tally.quality += one;
            tally.cost += paid;
            self.served[tier] += 1;
            quality += one;
            cost += paid;
            of_last += recording.answer(*prompt, last).map_or(0.0, |answer| answer.quality);
        }
        let each = share(1, held.len().max(1));
        let cost_share = ratio(cost, recording.cost_of(last, held));
        self.halves.push(Half {
            quality: quality * each,
            less_last: (quality - of_last) * each,
            less_random: quality * each - by_lot(recording, held, cost_share),
            cost_share,
        });
    }

    fn measured(&self, recording: &Recording, plan: &Plan, random: &mut fastrand::Rng) -> Measured {
        let last = recording.tiers - 1;
        let of_last = |prompt: usize| recording.answer(prompt, last).map_or(0.0, |answer| answer.quality);
        let mean = |drawn: &[usize], of: &dyn Fn(usize) -> f64| {
            drawn.iter().map(|prompt| of(*prompt)).sum::<f64>() * share(1, drawn.len().max(1))
        };
        let quality = |drawn: &[usize]| mean(drawn, &|prompt| self.tallies[prompt].mean_quality());
        let cost_share = |drawn: &[usize]| self.cost_share(recording, drawn);
        let mut spread = |of_half: &dyn Fn(&Half) -> f64, of_prompts: &dyn Fn(&[usize]) -> f64| {
            let mut halves: Vec<f64> = self.halves.iter().map(of_half).collect();
            halves.sort_by(f64::total_cmp);
            let (mean, interval) = bootstrap(recording.prompts.len(), plan, random, of_prompts);
            Spread { median: at(&halves, 0.5), p10: at(&halves, 0.1), p90: at(&halves, 0.9), mean, interval }
        };
        let paid: Usd = self.tallies.iter().map(Tally::mean_cost).sum();
        Measured {
            quality: spread(&|half| half.quality, &quality),
            less_last: spread(&|half| half.less_last, &|drawn| quality(drawn) - mean(drawn, &of_last)),
            less_random: spread(&|half| half.less_random, &|drawn| {
                quality(drawn) - by_lot(recording, drawn, cost_share(drawn))
            }),
            cost_share: spread(&|half| half.cost_share, &cost_share),
            cost: each(paid, self.tallies.len()),
        }
    }

    fn cost_share(&self, recording: &Recording, drawn: &[usize]) -> f64 {
        let paid: Usd = drawn.iter().map(|prompt| self.tallies[*prompt].mean_cost()).sum();
        ratio(paid, recording.cost_of(recording.tiers - 1, drawn))
    }

    fn point(
        &self,
        recording: &Recording,
        target: f64,
        plan: &Plan,
        random: &mut fastrand::Rng,
    ) -> CurvePoint {
        let measured = self.measured(recording, plan, random);
        let all: Vec<usize> = (0..recording.prompts.len()).collect();
        CurvePoint {
            target,
            cost_share: measured.cost_share.mean,
            quality: measured.quality.mean,
            interval: measured.quality.interval,
            random: by_lot(recording, &all, measured.cost_share.mean),
        }
    }
}

impl Tally {
    fn mean_quality(&self) -> f64 {
        self.quality / f64::from(self.times.max(1))
    }

    fn mean_cost(&self) -> Usd {
        each(self.cost, self.times as usize)
    }
}

/// The mean of an amount over `count`, to the picodollar.
fn each(amount: Usd, count: usize) -> Usd {
    Usd::from_picos(amount.picos() / i128::try_from(count.max(1)).unwrap_or(1))
}

fn ratio(amount: Usd, of: Usd) -> f64 {
    let whole = of.to_f64_for_display();
    if whole > 0.0 { amount.to_f64_for_display() / whole } else { 0.0 }
}

fn part(mean: Usd, recording: &Recording, prompts: &[usize]) -> f64 {
    ratio(mean.times(prompts.len() as u64), recording.cost_of(recording.tiers - 1, prompts))
}

/// A value and its 95% interval over resampled prompts.
fn bootstrap(
    prompts: usize,
    plan: &Plan,
    random: &mut fastrand::Rng,
    statistic: &dyn Fn(&[usize]) -> f64,
) -> (f64, [f64; 2]) {
    let mut drawn: Vec<usize> = (0..prompts).collect();
    let value = statistic(&drawn);
    let mut values: Vec<f64> = (0..plan.resamples.max(1))
        .map(|_| {
            for prompt in &mut drawn {
                *prompt = random.usize(..prompts);
            }
            statistic(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    (value, [at(&values, 0.025), at(&values, 0.975)])
}

/// A quantile of sorted values.
fn at(sorted: &[f64], quantile: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * quantile).round() as usize;
    sorted.get(index).copied().unwrap_or(0.0)
}

/// Quality of asking tiers by lot so that the mean cost is this share of the last tier's: the best mixture of any two.
fn by_lot(recording: &Recording, prompts: &[usize], cost_share: f64) -> f64 {
    let singles: Vec<Fixed> = (0..recording.tiers).map(|tier| single(recording, prompts, tier)).collect();
    let mut best = 0.0_f64;
    for one in &singles {
        if one.cost_share <= cost_share {
            best = best.max(one.quality);
        }
        for other in &singles {
            if one.cost_share <= cost_share && cost_share < other.cost_share {
                let part = (cost_share - one.cost_share) / (other.cost_share - one.cost_share);
                best = best.max(one.quality + part * (other.quality - one.quality));
            }
        }
    }
    best
}

fn single(recording: &Recording, prompts: &[usize], tier: usize) -> Fixed {
    let sum: f64 =
        prompts.iter().filter_map(|p| recording.answer(*p, tier)).map(|answer| answer.quality).sum();
    let cost = recording.cost_of(tier, prompts);
    Fixed {
        name: recording.models.get(tier).map(ToString::to_string).unwrap_or_default(),
        quality: sum * share(1, prompts.len().max(1)),
        cost: each(cost, prompts.len()),
        cost_share: ratio(cost, recording.cost_of(recording.tiers - 1, prompts)),
    }
}

/// Every tier from the first on is asked until an answer is acceptable; the last one's stands.
fn oracle(recording: &Recording, prompts: &[usize]) -> Fixed {
    let (mut quality, mut cost) = (0.0, Usd::ZERO);
    for prompt in prompts {
        for tier in 0..recording.tiers {
            let Some(answer) = recording.answer(*prompt, tier) else { continue };
            cost += answer.cost;
            if answer.quality >= 0.5 || tier + 1 == recording.tiers {
                quality += answer.quality;
                break;
            }
        }
    }
    Fixed {
        name: "oracle".to_owned(),
        quality: quality * share(1, prompts.len().max(1)),
        cost: each(cost, prompts.len()),
        cost_share: ratio(cost, recording.cost_of(recording.tiers - 1, prompts)),
    }
}

/// Adds each tier's probabilities with what became true.
fn collect_scores(recording: &Recording, held: &[usize], weights: &Weights, into: &mut [Vec<(f64, bool)>]) {
    for (tier, (scores, model)) in into.iter_mut().zip(&weights.answers).enumerate() {
        let answers = held.iter().filter_map(|prompt| recording.answer(*prompt, tier));
        scores.extend(answers.map(|answer| (probability(model, &answer.signals), answer.quality >= 0.5)));
    }
}

fn aurocs(
    recording: &Recording,
    all: &[usize],
    options: &Options,
    combined: &[Vec<(f64, bool)>],
) -> Vec<Auroc> {
    let of = |signal: Signal| {
        let tier = |tier: usize| {
            let answers = all.iter().filter_map(|prompt| recording.answer(*prompt, tier));
            let scores = answers.filter_map(|a| Some((a.signals.get(signal)?, a.quality >= 0.5)));
            auroc(&scores.collect::<Vec<_>>())
        };
        Auroc { signal: signal.as_str().to_owned(), tiers: (0..recording.tiers).map(tier).collect() }
    };
    let mut out: Vec<Auroc> = options.signals.iter().map(|signal| of(*signal)).collect();
    let tiers = combined.iter().map(|scores| auroc(scores)).collect();
    out.push(Auroc { signal: "combined".to_owned(), tiers });
    out
}

/// Probability that an acceptable answer scores above one that is not, ties counted half.
fn auroc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let good = sorted.iter().filter(|(_, good)| *good).count();
    let bad = sorted.len() - good;
    if good == 0 || bad == 0 {
        return None;
    }
    let (mut won, mut below, mut start) = (0.0, 0_usize, 0);
    while start < sorted.len() {
        let same =
            sorted[start..].iter().take_while(|(score, _)| score.total_cmp(&sorted[start].0).is_eq()).count();
        let ties = &sorted[start..start + same];
        let (goods, bads) =
            (ties.iter().filter(|(_, g)| *g).count(), ties.iter().filter(|(_, g)| !g).count());
        won += share(goods * (2 * below + bads), 2);
        below += bads;
        start += same;
    }
    Some(won * share(1, good * bad))
}
