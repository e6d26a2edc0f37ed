//! Agreement of two raters beyond chance: Cohen's κ.
//!
//! Cohen, "A coefficient of agreement for nominal scales", 1960; the interval from the large-sample variance of Fleiss, Cohen
//! and Everitt, "Large sample standard errors of kappa and weighted kappa", Psychological Bulletin 72 (1969), equation 13.

use super::{Interval, float, normal_quantile};
use std::collections::BTreeMap;

/// κ with an interval at `level`. Labels may be anything that orders. `None` without pairs, and where chance alone would agree always
/// (both raters gave one and the same label throughout).
pub fn cohens_kappa<L: Ord>(pairs: &[(L, L)], level: f64) -> Option<Interval> {
    let total = float(pairs.len() as u64);
    if pairs.is_empty() {
        return None;
    }
    let mut cells: BTreeMap<(&L, &L), f64> = BTreeMap::new();
    let mut rows: BTreeMap<&L, f64> = BTreeMap::new();
    let mut columns: BTreeMap<&L, f64> = BTreeMap::new();
    for (first, second) in pairs {
        *cells.entry((first, second)).or_default() += 1.0 / total;
        *rows.entry(first).or_default() += 1.0 / total;
        *columns.entry(second).or_default() += 1.0 / total;
    }
    let row = |label: &L| rows.get(label).copied().unwrap_or(0.0);
    let column = |label: &L| columns.get(label).copied().unwrap_or(0.0);
    let observed: f64 = cells.iter().filter(|((a, b), _)| a == b).map(|(_, share)| share).sum();
    let chance: f64 = rows.iter().map(|(label, share)| share * column(label)).sum();
    let room = 1.0 - chance;
    if room <= f64::EPSILON {
        return None;
    }
    // Sums of shares may come out a little above one.
    let kappa = ((observed - chance) / room).min(1.0);
    let same: f64 = cells
        .iter()
        .filter(|((a, b), _)| a == b)
        .map(|((a, _), share)| share * (room - (row(a) + column(a)) * (1.0 - observed)).powi(2))
        .sum();
    let other: f64 = cells
        .iter()
        .filter(|((a, b), _)| a != b)
        .map(|((a, b), share)| share * (column(a) + row(b)).powi(2))
        .sum();
    let centre = (observed * chance - 2.0 * chance + observed).powi(2);
    let variance = (same + (1.0 - observed).powi(2) * other - centre) / (total * room.powi(4));
    let half = normal_quantile(f64::midpoint(1.0, level)) * variance.max(0.0).sqrt();
    Some(Interval { estimate: kappa, low: (kappa - half).max(-1.0), high: (kappa + half).min(1.0) })
}
