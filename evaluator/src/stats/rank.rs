//! Rank correlation.

use super::float;

/// The rank of each value from 1, ties sharing the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        // `==` and not the total order, so that 0.0 and -0.0 tie.
        #[expect(clippy::float_cmp, reason = "ties are exactly equal values")]
        let tied = order[start..].iter().take_while(|i| values[**i] == value).count().max(1);
        let shared = float(start as u64) + f64::midpoint(1.0, float(tied as u64));
        order[start..start + tied].iter().for_each(|i| ranks[*i] = shared);
        start += tied;
    }
    ranks
}

/// Spearman's ρ: Pearson's correlation of the ranks, which is right with ties too. `None` for fewer than two pairs, unequal lengths, or
/// a side that is all one value.
pub fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    if left.len() != right.len() {
        return None;
    }
    pearson(&ranks(left), &ranks(right))
}

/// Pearson's correlation. `None` as for [`spearman`].
pub fn pearson(left: &[f64], right: &[f64]) -> Option<f64> {
    let (left_mean, right_mean) = (super::mean(left)?, super::mean(right)?);
    let (mut both, mut left_squares, mut right_squares) = (0.0, 0.0, 0.0);
    for (l, r) in left.iter().zip(right) {
        let (l, r) = (l - left_mean, r - right_mean);
        both += l * r;
        left_squares += l * l;
        right_squares += r * r;
    }
    let scale: f64 = (left_squares * right_squares).sqrt();
    (left.len() == right.len() && scale > 0.0).then(|| both / scale)
}
