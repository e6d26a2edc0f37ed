//! Weights of the signals: shared slopes, an intercept for each model.

use super::Recording;
use super::logistic::{self, Row};
use crate::words::share;
use contracts::policy::cascade::{Combination, Signal, Term};

/// Strengths of the ridge that are tried; the one with the least loss on prompts left out is taken.
const RIDGES: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];

/// Of an intercept: next to nothing, so that a model without a single failure has a finite one.
const INTERCEPT_RIDGE: f64 = 0.5;

/// Parts that the fitting prompts are divided into when the ridge is chosen.
const FOLDS: usize = 5;

/// Deviations below this are of a signal that does not vary.
const LEAST_DEVIATION: f64 = 1e-3;

/// What was learnt of the tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// For each tier: from an answer to the probability that it is acceptable.
    pub answers: Vec<Combination>,
    /// For each tier: the same from the request alone.
    pub prospects: Vec<Combination>,
}

impl Weights {
    /// Learns from some prompts.
    pub fn fit(recording: &Recording, prompts: &[usize], signals: &[Signal]) -> Self {
        let of_request: Vec<Signal> =
            signals.iter().copied().filter(|signal| signal.is_of_request()).collect();
        Self {
            answers: learn(recording, prompts, signals),
            prospects: learn(recording, prompts, &of_request),
        }
    }
}

/// Means of a model's signals, as far as they are known; `None` where no answer of it has the signal.
fn means(recording: &Recording, prompts: &[usize], model: usize, signals: &[Signal]) -> Vec<Option<f64>> {
    let mean = |signal: &Signal| {
        let answers = prompts.iter().filter_map(|prompt| recording.answer(*prompt, model));
        let values: Vec<f64> = answers.filter_map(|answer| answer.signals.get(*signal)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() * share(1, values.len()))
    };
    signals.iter().map(mean).collect()
}

fn learn(recording: &Recording, prompts: &[usize], signals: &[Signal]) -> Vec<Combination> {
    let models = recording.models.len();
    let means: Vec<Vec<Option<f64>>> = (0..models).map(|m| means(recording, prompts, m, signals)).collect();
    let deviations = deviations(recording, prompts, signals, &means);
    let mut rows = Vec::new();
    for (number, prompt) in prompts.iter().enumerate() {
        for (model, means) in means.iter().enumerate() {
            let Some(answer) = recording.answer(*prompt, model) else { continue };
            let mut values = vec![(signals.len() + model, 1.0)];
            for (k, signal) in signals.iter().enumerate() {
                let centred =
                    answer.signals.get(*signal).zip(means[k]).map_or(0.0, |(value, mean)| value - mean);
                if deviations[k] >= LEAST_DEVIATION {
                    values.push((k, centred / deviations[k]));
                }
            }
            rows.push((number, Row { values, outcome: answer.quality }));
        }
    }
    let ridge = best_ridge(&rows, signals.len(), models);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let coefficients = logistic::fit(&rows, &penalty(ridge, signals.len(), models));
    let combination = |model: usize| {
        let mut bias = coefficients[signals.len() + model];
        let mut terms = Vec::new();
        for (k, signal) in signals.iter().enumerate() {
            let Some(mean) = means[model][k].filter(|_| deviations[k] >= LEAST_DEVIATION) else { continue };
            let weight = coefficients[k] / deviations[k];
            bias -= weight * mean;
            terms.push(Term { signal: *signal, weight, absent: mean.clamp(0.0, 1.0) });
        }
        Combination { bias, terms }
    };
    (0..recording.tiers).map(combination).collect()
}

/// Standard deviations within models.
fn deviations(
    recording: &Recording,
    prompts: &[usize],
    signals: &[Signal],
    means: &[Vec<Option<f64>>],
) -> Vec<f64> {
    let deviation = |(k, signal): (usize, &Signal)| {
        let (mut sum, mut count) = (0.0, 0);
        for prompt in prompts {
            for (model, means) in means.iter().enumerate() {
                let value = recording.answer(*prompt, model).and_then(|answer| answer.signals.get(*signal));
                if let Some((value, mean)) = value.zip(means[k]) {
                    sum += (value - mean) * (value - mean);
                    count += 1;
                }
            }
        }
        (sum * share(1, count.max(1))).sqrt()
    };
    signals.iter().enumerate().map(deviation).collect()
}

fn penalty(ridge: f64, signals: usize, models: usize) -> Vec<f64> {
    let mut penalty = vec![ridge; signals];
    penalty.resize(signals + models, INTERCEPT_RIDGE);
    penalty
}

/// The ridge with the least loss on prompts that were left out.
fn best_ridge(rows: &[(usize, Row)], signals: usize, models: usize) -> f64 {
    let loss_of = |ridge: f64| -> f64 {
        let fold = |fold: usize| {
            let (mut kept, mut left) = (Vec::new(), Vec::new());
            for (number, row) in rows {
                if number % FOLDS == fold {
                    left.push(row);
                } else {
                    kept.push(Row { values: row.values.clone(), outcome: row.outcome });
                }
            }
            logistic::loss(&left, &logistic::fit(&kept, &penalty(ridge, signals, models)))
        };
        (0..FOLDS).map(fold).sum()
    };
    let losses = RIDGES.map(|ridge| (ridge, loss_of(ridge)));
    losses.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(RIDGES[2], |(ridge, _)| ridge)
}
