//! How sure a ratio of sums is: a percentile bootstrap over actions.

use contracts::outcomes::DollarInterval;

/// Nominal level.
const LEVEL: f64 = 0.95;
/// Draws.
const DRAWS: usize = 1_000;
/// More units than this are put together in so many groups first, one after the other in turn: the draws of equally large groups of
/// independent units vary as those of the units do, and the time stays bounded.
const MOST_UNITS: usize = 2_000;
/// Fewer units say nothing of how they vary.
const FEWEST_UNITS: usize = 2;

/// Interval of `Σ cost ÷ Σ useful` over units of (cost in US dollars, useful or not). The same units always give the same interval.
/// None where there are too few units, or where so many draws have no useful one that an end would be made up.
pub fn ratio_interval(units: &[(f64, bool)]) -> Option<DollarInterval> {
    let groups = units.len().min(MOST_UNITS);
    if groups < FEWEST_UNITS {
        return None;
    }
    let mut sums = vec![(0.0_f64, 0.0_f64); groups];
    for (index, (cost, useful)) in units.iter().enumerate() {
        let sum = &mut sums[index % groups];
        sum.0 += cost;
        sum.1 += f64::from(u8::from(*useful));
    }
    let mut random = SplitMix(0x005E_ED0F_AC75);
    let mut ratios = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let (mut cost, mut useful) = (0.0, 0.0);
        for _ in 0..groups {
            let (c, u) = sums[random.below(groups)];
            cost += c;
            useful += u;
        }
        if useful > 0.0 {
            ratios.push(cost / useful);
        }
    }
    // A tail that is mostly undetermined has no end.
    if ratios.len() * 100 < DRAWS * 98 {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| quantile(&ratios, share);
    Some(DollarInterval { low: at((1.0 - LEVEL) / 2.0)?, high: at(1.0 - (1.0 - LEVEL) / 2.0)?, level: LEVEL })
}

/// Linear between the order statistics.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions in a list of a thousand"
)]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = share * (sorted.len().checked_sub(1)? as f64);
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    let (low, high) = (sorted.get(below)?, sorted.get(above)?);
    Some(low + (high - low) * position.fract())
}

/// Steele, Lea and Flood's `SplitMix64`: enough for a bootstrap, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, by multiplication (Lemire); its bias is below one in 2⁵⁰ here.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}
