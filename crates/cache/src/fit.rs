//! The threshold, from pairs of questions of which it is known whether they mean the same.
//!
//! A pair counts as a hit where its cosine reaches the threshold and the guard says nothing. The hit rate is the share of pairs of one
//! meaning that hit, the false-hit rate that of the others.

use serde::{Deserialize, Serialize};

/// A pair of questions, compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The cosine of their vectors.
    pub similarity: f32,
    /// Whether the guard held them apart.
    pub vetoed: bool,
    /// Whether they mean the same.
    pub same: bool,
}

/// What a threshold gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Least cosine.
    pub threshold: f64,
    /// Share of pairs of one meaning that hit; 0 where there are none.
    pub hit_rate: f64,
    /// Share of pairs of two meanings that hit.
    pub false_hit_rate: f64,
    /// Upper end of the false-hit rate's 95% interval (Wilson), for a rate of zero out of few is not zero.
    pub false_hit_rate_upper: f64,
}

/// What each threshold gives.
pub fn curve(pairs: &[Pair], thresholds: &[f64]) -> Vec<Point> {
    thresholds.iter().map(|threshold| point(pairs, *threshold)).collect()
}

/// The lowest threshold whose false-hit rate is at most `most`, and what it gives; `None` where none is (or there are no pairs of two
/// meanings to tell).
pub fn fit(pairs: &[Pair], most: f64) -> Option<Point> {
    let others = pairs.iter().filter(|pair| !pair.same).count();
    if others == 0 {
        return None;
    }
    let mut hits: Vec<f32> =
        pairs.iter().filter(|pair| !pair.same && !pair.vetoed).map(|pair| pair.similarity).collect();
    hits.sort_unstable_by(|one, other| other.total_cmp(one));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count"
    )]
    let allowed = (most.clamp(0.0, 1.0) * others as f64).floor() as usize;
    // Just above the first that is one too many.
    let threshold = match hits.get(allowed) {
        None => -1.0,
        Some(too_many) => f64::from(too_many.next_up()),
    };
    (threshold <= 1.0).then(|| point(pairs, threshold))
}

fn point(pairs: &[Pair], threshold: f64) -> Point {
    let hits = |same: bool| {
        let all = pairs.iter().filter(|pair| pair.same == same);
        let (mut count, mut found) = (0_u32, 0_u32);
        for pair in all {
            count += 1;
            found += u32::from(!pair.vetoed && f64::from(pair.similarity) >= threshold);
        }
        (f64::from(found), f64::from(count))
    };
    let (found, of) = hits(true);
    let (wrong, others) = hits(false);
    Point {
        threshold,
        hit_rate: found / of.max(1.0),
        false_hit_rate: wrong / others.max(1.0),
        false_hit_rate_upper: wilson_upper(wrong, others),
    }
}

/// Upper end of Wilson's score interval at 95% (Wilson 1927).
fn wilson_upper(found: f64, of: f64) -> f64 {
    const Z: f64 = 1.959_964;
    if of == 0.0 {
        return 1.0;
    }
    let rate = found / of;
    let spread = Z * (rate * (1.0 - rate) / of + Z * Z / (4.0 * of * of)).sqrt();
    ((rate + Z * Z / (2.0 * of) + spread) / (1.0 + Z * Z / of)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(similarity: f32, same: bool) -> Pair {
        Pair { similarity, same, vetoed: false }
    }

    #[test]
    fn it_is_the_lowest_that_keeps_the_promise() {
        let pairs = [pair(0.9, true), pair(0.8, true), pair(0.7, true), pair(0.85, false), pair(0.2, false)];
        let none = fit(&pairs, 0.0).unwrap();
        assert!(none.threshold > 0.85 && none.threshold < 0.8501);
        assert!((none.hit_rate - 1.0 / 3.0).abs() < 1e-9 && none.false_hit_rate == 0.0);
        let half = fit(&pairs, 0.5).unwrap();
        assert!(half.threshold > 0.2 && half.threshold < 0.21 && (half.hit_rate - 1.0).abs() < 1e-9);
        assert!((half.false_hit_rate - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_veto_is_no_hit_and_nothing_is_promised_without_evidence() {
        let mut pairs = [pair(0.9, true), pair(0.95, false)];
        pairs[1].vetoed = true;
        assert!(fit(&pairs, 0.0).unwrap().threshold < -0.99);
        assert_eq!(fit(&pairs[..1], 0.1), None);
        assert_eq!(fit(&[pair(1.0, false)], 0.0), None);
    }

    #[test]
    fn zero_of_few_is_not_zero() {
        assert!((wilson_upper(0.0, 10.0) - 0.2775).abs() < 1e-3);
        assert!((wilson_upper(5.0, 10.0) - 0.7634).abs() < 1e-3);
        assert!(wilson_upper(0.0, 0.0) > 0.99);
    }

    proptest! {
        #[test]
        fn what_is_promised_is_kept(
            pairs in prop::collection::vec((-1.0_f32..1.0, any::<bool>(), any::<bool>()), 1..60),
            most in 0.0..1.0_f64,
        ) {
            let pairs: Vec<Pair> =
                pairs.into_iter().map(|(similarity, vetoed, same)| Pair { similarity, vetoed, same }).collect();
            if let Some(found) = fit(&pairs, most) {
                prop_assert!(found.false_hit_rate <= most + 1e-9);
                prop_assert_eq!(curve(&pairs, &[found.threshold]), vec![found]);
            }
        }
    }
}
