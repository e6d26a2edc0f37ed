//! Groups and totals.

use super::attribute::{Attributed, attribute};
use super::interval::ratio_interval;
use crate::reads::outcomes::{ActionCall, FeedbackSum, PoolCost, Spend};
use contracts::outcomes::{Attribution, Costs, GpuPool, OutcomeGroup, OutcomeReport};
use contracts::price::{Charge, ModelPrice, PriceBook};
use contracts::reads::TimeRange;
use contracts::{Timestamp, Usd};
use std::collections::BTreeMap;

/// Everything that a report is made of.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Actions and their calls, in the order of tenant and action.
    pub actions: Vec<ActionCall>,
    /// What calls of the range cost.
    pub spend: Vec<Spend>,
    /// Feedback of the range.
    pub feedback: Vec<FeedbackSum>,
    /// The range.
    pub range: TimeRange,
}

/// What a call, or a sum of calls, is grouped by.
struct Place<'a> {
    tenant: &'a str,
    route: &'a str,
    model: &'a str,
    prompt: (&'a str, &'a str),
    arm: (&'a str, &'a str),
}

macro_rules! place {
    ($row:expr) => {
        Place {
            tenant: &$row.tenant_id,
            route: &$row.route,
            model: &$row.model,
            prompt: (&$row.prompt_name, &$row.prompt_version),
            arm: (&$row.experiment, &$row.variant),
        }
    };
}

/// Names of the groups that something is in, by dimension.
struct Names {
    tenant: String,
    route: String,
    model: String,
    prompt: String,
    arm: String,
}

impl Place<'_> {
    fn names(&self) -> Names {
        let pair = |(first, second): (&str, &str), between: char| match (first, second) {
            ("", "") => String::new(),
            (first, "") => first.to_owned(),
            (first, second) => format!("{first}{between}{second}"),
        };
        Names {
            tenant: self.tenant.to_owned(),
            route: self.route.to_owned(),
            model: self.model.to_owned(),
            prompt: pair(self.prompt, '@'),
            arm: pair(self.arm, '/'),
        }
    }
}

/// A group as it is filled.
#[derive(Default)]
struct Filling {
    group: OutcomeGroup,
    units: Vec<(f64, bool)>,
    score_sum: f64,
    scored: u64,
}

#[derive(Default)]
struct Groups(BTreeMap<String, Filling>);

impl Groups {
    fn of(&mut self, name: &str) -> &mut Filling {
        if !self.0.contains_key(name) {
            let group = OutcomeGroup { name: name.to_owned(), ..OutcomeGroup::default() };
            self.0.insert(name.to_owned(), Filling { group, ..Filling::default() });
        }
        self.0.entry(name.to_owned()).or_default()
    }

    fn finish(self) -> Vec<OutcomeGroup> {
        self.0.into_values().map(Filling::finish).collect()
    }
}

impl Filling {
    #[expect(clippy::cast_precision_loss, reason = "a mean of scores")]
    fn finish(mut self) -> OutcomeGroup {
        self.group.divide();
        self.group.interval = ratio_interval(&self.units);
        self.group.mean_score = (self.scored > 0).then(|| self.score_sum / self.scored as f64);
        self.group
    }

    fn action(&mut self, action: &ActionCall, costs: Costs) {
        let value = Usd::from_picos(action.value);
        let useful = action.outcome == "useful" || (action.outcome == "value" && value > Usd::ZERO);
        let group = &mut self.group;
        group.actions += 1;
        group.useful += u64::from(useful);
        group.value += value;
        group.costs += costs;
        self.units.push((costs.total().to_f64_for_display(), useful));
    }

    fn feedback(&mut self, sum: &FeedbackSum) {
        self.group.feedback += sum.feedback;
        self.scored += sum.scored;
        self.score_sum += sum.score_sum;
    }
}

#[derive(Default)]
struct Dimensions {
    total: Filling,
    tenant: Groups,
    action: Groups,
    route: Groups,
    model: Groups,
    prompt: Groups,
    arm: Groups,
}

impl Dimensions {
    /// Does the same to every group that a place is in.
    fn each(&mut self, place: &Place<'_>, mut change: impl FnMut(&mut Filling)) {
        let names = place.names();
        change(&mut self.total);
        change(self.tenant.of(&names.tenant));
        change(self.route.of(&names.route));
        change(self.model.of(&names.model));
        change(self.prompt.of(&names.prompt));
        change(self.arm.of(&names.arm));
    }
}

impl Figures {
    /// The report by one rule; servers of one's own aside.
    pub fn report(&self, attribution: Attribution) -> OutcomeReport {
        let Attributed { actions, calls, parked, refused } = attribute(&self.actions, attribution);
        let mut all = Dimensions::default();
        for action in &actions {
            all.each(&place!(action.last), |group| group.action(action.last, action.costs));
            all.action.of(&action.last.name).action(action.last, action.costs);
        }
        for spend in &self.spend {
            all.each(&place!(spend), |group| {
                group.group.overhead_calls += spend.calls;
                group.group.overhead +=
                    Usd::from_picos(spend.calls_cost) + Usd::from_picos(spend.judges_cost);
                group.group.saved += Usd::from_picos(spend.saved);
            });
        }
        for (call, paid) in &calls {
            // Calls of other ranges are not in this one's spend.
            let start_ms = call.start_ns.div_euclid(1_000_000);
            if (self.range.from_ms..self.range.to_ms).contains(&start_ms) {
                all.each(&place!(call), |group| {
                    group.group.overhead_calls = group.group.overhead_calls.saturating_sub(1);
                    group.group.overhead = group.group.overhead - paid.total();
                });
            }
        }
        let mut unplaced_feedback = 0;
        for sum in &self.feedback {
            if sum.known {
                all.each(&place!(sum), |group| group.feedback(sum));
            } else {
                unplaced_feedback += sum.feedback;
                all.total.feedback(sum);
            }
        }
        OutcomeReport {
            attribution,
            total: all.total.finish(),
            by_tenant: all.tenant.finish(),
            by_action: all.action.finish(),
            by_route: all.route.finish(),
            by_model: all.model.finish(),
            by_prompt: all.prompt.finish(),
            by_arm: all.arm.finish(),
            parked,
            refused,
            unplaced_feedback,
            gpus: Vec::new(),
        }
    }
}

/// Servers of one's own that the price book knows: paid for as long as a price of theirs holds within the range, each for its own time.
pub(super) fn gpus(prices: &PriceBook, range: TimeRange, costs: &[PoolCost]) -> Vec<GpuPool> {
    let end = Timestamp::from_unix_millis(range.to_ms - 1);
    let mut pools: BTreeMap<(&str, &str), Vec<&ModelPrice>> = BTreeMap::new();
    for entry in prices.entries() {
        pools.entry((&entry.provider, &entry.model)).or_default().push(entry);
    }
    let mut found = Vec::new();
    for ((provider, model), mut entries) in pools {
        entries.sort_by_key(|entry| entry.valid_from);
        let starts = |entry: &ModelPrice| entry.valid_from.map_or(i64::MIN, Timestamp::unix_millis);
        // Until the next price, of whatever kind, comes into force.
        let ends = entries.iter().skip(1).map(|entry| starts(entry)).chain([range.to_ms]);
        let mut dollars_by_ms = None;
        for (entry, ends) in entries.iter().zip(ends) {
            let held_ms = ends.min(range.to_ms).saturating_sub(starts(entry).max(range.from_ms));
            if let Charge::Gpu(price) = &entry.charge
                && held_ms > 0
            {
                let hour = price.usd_per_gpu_hour.picos() * i128::from(price.gpus);
                *dollars_by_ms.get_or_insert(0) += hour * i128::from(held_ms);
            }
        }
        let Some(dollars_by_ms) = dollars_by_ms else { continue };
        let paid = Usd::from_picos(dollars_by_ms.div_euclid(3_600_000));
        let is_ours = |cost: &&PoolCost| {
            let entry = prices.entry(&cost.provider, &cost.model, end);
            entry.is_some_and(|entry| entry.provider == provider && entry.model == model)
        };
        let used = costs.iter().filter(is_ours).map(|cost| Usd::from_picos(cost.cost)).sum();
        let idle = (paid - used).max(Usd::ZERO);
        found.push(GpuPool { provider: provider.to_owned(), model: model.to_owned(), paid, used, idle });
    }
    found
}
