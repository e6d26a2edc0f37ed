//! An answer in numbers: its claims' features and probabilities, gathered.

use super::evidence::float;
use super::features::{COUNT, NAMES};

/// Names and directions of an answer's features, in the order of [`gather`]. Directions as in [`NAMES`].
pub(crate) fn names() -> Vec<(String, i8)> {
    let mut names = Vec::new();
    for (name, direction) in NAMES {
        names.push((format!("mean_{name}"), direction));
        if direction != 0 {
            names.push((format!("worst_{name}"), direction));
        }
    }
    for name in ["risk_most", "risk_second", "risk_mean", "risk_any", "risk_share"] {
        names.push((name.to_owned(), -1));
    }
    names.push(("claims".to_owned(), 0));
    names
}

/// Gathers the claims of an answer, each with its features and the probability that it is unsupported.
pub(crate) fn gather(claims: &[([f32; COUNT], f64)]) -> Vec<f32> {
    let mut out = Vec::with_capacity(COUNT * 2 + 6);
    let count = narrow(float(claims.len().max(1)));
    for (at, (_, direction)) in NAMES.iter().enumerate() {
        let values = claims.iter().map(|(features, _)| features[at]);
        out.push(values.clone().sum::<f32>() / count);
        match direction {
            1 => out.push(values.reduce(f32::min).unwrap_or(0.0)),
            -1 => out.push(values.reduce(f32::max).unwrap_or(0.0)),
            _ => {}
        }
    }
    let mut risks: Vec<f64> = claims.iter().map(|(_, risk)| *risk).collect();
    risks.sort_unstable_by(|a, b| b.total_cmp(a));
    let at = |n: usize| risks.get(n).copied().unwrap_or(0.0);
    let share = risks.iter().filter(|risk| **risk > 0.5).count();
    out.push(narrow(at(0)));
    out.push(narrow(at(1)));
    out.push(narrow(risks.iter().sum::<f64>() / float(risks.len().max(1))));
    out.push(narrow(1.0 - risks.iter().map(|risk| 1.0 - risk).product::<f64>()));
    out.push(narrow(float(share) / float(risks.len().max(1))));
    out.push(narrow(float(claims.len()).ln_1p()));
    out
}

#[expect(clippy::cast_possible_truncation, reason = "shares and counts; the head works in single precision")]
fn narrow(value: f64) -> f32 {
    value as f32
}
