//! How sure dollars per useful action are: a bootstrap over actions.

use crate::stats::bootstrap::Bootstrap;
use contracts::outcomes::DollarInterval;

/// A tail that is mostly undetermined has no end: so many draws must have a useful action.
const PLAN: Bootstrap = Bootstrap { resamples: 1_000, level: 0.95, seed: 0x005E_ED0F_AC75, determined: 0.98 };
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
    let (mut costs, mut useful) = (vec![0.0; groups], vec![0.0; groups]);
    for (index, (cost, is_useful)) in units.iter().enumerate() {
        costs[index % groups] += cost;
        useful[index % groups] += f64::from(u8::from(*is_useful));
    }
    let interval = PLAN.ratio(&costs, &useful)?;
    Some(DollarInterval { low: interval.low, high: interval.high, level: PLAN.level })
}
