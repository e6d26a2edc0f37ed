//! The trained head: boosted trees over the features, and the curve that turns their score into a probability.
//!
//! Trained by `evaluator/training`, kept as JSON, compiled in.

use super::ModelFault;
use serde::Deserialize;

/// Weights of one version of the detector.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    /// Names the features and the weights.
    pub(crate) version: String,
    /// For what words alone tell.
    pub(crate) lexical: Weights,
    /// For words and meaning; without it, the embedder is of no use.
    pub(crate) full: Option<Weights>,
}

/// Weights of one stage.
#[derive(Debug, Deserialize)]
pub(crate) struct Weights {
    /// From a claim's features to the log odds that it is unsupported.
    pub(crate) claim: Forest,
    /// From an answer's features to the log odds that something in it is unsupported.
    pub(crate) answer: Sum,
    /// From the answer's log odds to its probability.
    pub(crate) curve: Curve,
}

/// Trees whose leaves are added up.
#[derive(Debug, Deserialize)]
pub(crate) struct Forest {
    /// Names of the features, in the order that the trees number them.
    features: Vec<String>,
    base: f32,
    trees: Vec<Tree>,
}

/// A weighted sum.
#[derive(Debug, Deserialize)]
pub(crate) struct Sum {
    features: Vec<String>,
    base: f64,
    weights: Vec<f64>,
}

/// Inner nodes first: node `i` asks whether feature `feature[i]` is at most `threshold[i]`. A negative child `-1 - n` is
/// leaf `n`.
#[derive(Debug, Deserialize)]
struct Tree {
    feature: Vec<u16>,
    threshold: Vec<f32>,
    left: Vec<i32>,
    right: Vec<i32>,
    leaf: Vec<f32>,
}

/// A logistic curve, `1 / (1 + exp(-(slope * x + shift)))`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Curve {
    slope: f64,
    shift: f64,
}

impl Head {
    /// Reads weights; checks that they are made for these features and that the trees are sound.
    pub(crate) fn read(
        json: &str,
        lexical: &[&str],
        full: &[&str],
        answer: &[&str],
    ) -> Result<Self, ModelFault> {
        let head: Self =
            serde_json::from_str(json).map_err(|error| ModelFault::Unreadable(error.to_string()))?;
        head.lexical.check(lexical, answer)?;
        if let Some(weights) = &head.full {
            weights.check(full, answer)?;
        }
        Ok(head)
    }
}

impl Weights {
    fn check(&self, claim: &[&str], answer: &[&str]) -> Result<(), ModelFault> {
        let weighed = self.answer.weights.len() == answer.len();
        if self.claim.features != claim || self.answer.features != answer || !weighed {
            return Err(ModelFault::OtherFeatures);
        }
        if !self.claim.trees.iter().all(|tree| tree.is_sound(claim.len())) {
            return Err(ModelFault::BrokenTree);
        }
        Ok(())
    }

    /// The probability that a claim with these features is unsupported.
    pub(crate) fn risk(&self, features: &[f32]) -> f64 {
        logistic(f64::from(self.claim.score(features)))
    }
}

impl Forest {
    /// The log odds for these features.
    pub(crate) fn score(&self, features: &[f32]) -> f32 {
        self.base + self.trees.iter().map(|tree| tree.score(features)).sum::<f32>()
    }
}

impl Sum {
    /// The log odds for these features.
    pub(crate) fn score(&self, features: &[f64]) -> f64 {
        self.base + self.weights.iter().zip(features).map(|(weight, value)| weight * value).sum::<f64>()
    }
}

impl Tree {
    fn score(&self, features: &[f32]) -> f32 {
        let mut node = 0_i32;
        if self.feature.is_empty() {
            return self.leaf.first().copied().unwrap_or(0.0);
        }
        while let Ok(at) = usize::try_from(node) {
            let value = features.get(usize::from(self.feature[at])).copied().unwrap_or(0.0);
            node = if value <= self.threshold[at] { self.left[at] } else { self.right[at] };
        }
        usize::try_from(-1 - node).ok().and_then(|leaf| self.leaf.get(leaf)).copied().unwrap_or(0.0)
    }

    /// Children lie behind their parents, so that every walk ends; features and leaves exist.
    fn is_sound(&self, features: usize) -> bool {
        let nodes = self.feature.len();
        let child_is_sound = |at: usize, child: i32| match usize::try_from(child) {
            Ok(child) => child > at && child < nodes,
            Err(_) => usize::try_from(-1 - child).is_ok_and(|leaf| leaf < self.leaf.len()),
        };
        [self.threshold.len(), self.left.len(), self.right.len()] == [nodes; 3]
            && self.leaf.len() == nodes + 1
            && self.feature.iter().all(|f| usize::from(*f) < features)
            && (0..nodes).all(|at| child_is_sound(at, self.left[at]) && child_is_sound(at, self.right[at]))
    }
}

impl Curve {
    /// The probability for log odds.
    pub(crate) fn at(self, score: f64) -> f64 {
        logistic(self.slope * score + self.shift)
    }
}

/// `1 / (1 + exp(-x))`.
pub(crate) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
