//! What calls were good for and at what price: the report of dollars per useful action. `warehouse` makes it, the console shows it.
//!
//! - An action is useful when its outcome is `useful`, or a value above zero.
//! - Its cost is that of the calls that served it, by an [`Attribution`], judging included. A call that several actions claim is
//!   split among them, so that no picodollar counts twice, and none is lost.
//! - Dollars per useful action are all cost of all actions, useful or not, over the useful ones.
//! - What calls of the range cost that no action of the range accounts for is overhead, shown apart.
//! - An action belongs to the group of the last call that served it, with all of its cost: groups add up to the total.

use crate::Usd;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which of the calls that are known to have served an action pay for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// Of the calls that the action names, by answer or by trace, the one that started last.
    Last,
    /// All calls of every trace that the action names, and of the traces of every answer that it names.
    #[default]
    Trace,
    /// The calls that the action names, each by the weight that it gives.
    Weighted,
}

/// Why a text is not an attribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attribution {0:?} is not valid: expected last, trace or weighted")]
pub struct InvalidAttribution(String);

impl Attribution {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Last, Self::Trace, Self::Weighted];

    /// `last`, `trace` or `weighted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Trace => "trace",
            Self::Weighted => "weighted",
        }
    }
}

impl fmt::Display for Attribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Attribution {
    type Err = InvalidAttribution;
    fn from_str(text: &str) -> Result<Self, InvalidAttribution> {
        let known = Self::ALL.into_iter().find(|rule| rule.as_str() == text);
        known.ok_or_else(|| InvalidAttribution(text.chars().take(64).collect()))
    }
}

/// Money by what it was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Costs {
    /// Answers: what is in none of the others.
    pub answers: Usd,
    /// Attempts that were not the last of their call: retries, cascades.
    pub retries: Usd,
    /// Reads and writes of the providers' caches.
    pub cache: Usd,
    /// Embeddings.
    pub embeddings: Usd,
    /// Judging the calls.
    pub judges: Usd,
}

impl Costs {
    /// All of it.
    pub fn total(&self) -> Usd {
        self.answers + self.retries + self.cache + self.embeddings + self.judges
    }
}

impl std::ops::AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.retries += other.retries;
        self.cache += other.cache;
        self.embeddings += other.embeddings;
        self.judges += other.judges;
    }
}

/// A bootstrap interval, US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DollarInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Nominal level, such as 0.95.
    pub level: f64,
}

/// Actions of one group, what they cost, and what else its calls cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OutcomeGroup {
    /// Name of the group; empty for what has none, such as calls without a route.
    pub name: String,
    /// Actions with at least one known call.
    pub actions: u64,
    /// Of these, useful.
    pub useful: u64,
    /// Sum of the actions' values.
    pub value: Usd,
    /// What the actions cost.
    pub costs: Costs,
    /// `costs` over `useful`, rounded half up to the picodollar; none without a useful action.
    pub per_useful: Option<Usd>,
    /// Where that may lie, by drawing actions.
    pub interval: Option<DollarInterval>,
    /// Calls of the range that no action accounts for.
    pub overhead_calls: u64,
    /// What calls of the range cost that no action accounts for.
    pub overhead: Usd,
    /// What calls of the range would have cost that the answer cache answered; in no cost.
    #[serde(default)]
    pub saved: Usd,
    /// Statements of feedback.
    pub feedback: u64,
    /// Mean of their scores, where there are any.
    pub mean_score: Option<f64>,
}

impl OutcomeGroup {
    /// Sets `per_useful` from the rest.
    pub fn divide(&mut self) {
        let (cost, useful) = (self.costs.total().picos(), i128::from(self.useful));
        self.per_useful = (useful > 0).then(|| Usd::from_picos((cost * 2 + useful).div_euclid(useful * 2)));
    }
}

/// A server of one's own over the range: what it costs by the hour, whether it works or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GpuPool {
    /// As in the price book.
    pub provider: String,
    /// As in the price book.
    pub model: String,
    /// Its hours of the range times its price by the hour.
    pub paid: Usd,
    /// What calls of the asked tenants were charged for their time on it; it is in their costs.
    pub used: Usd,
    /// The rest: time that nobody of them used. In nobody's costs.
    pub idle: Usd,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// The rule that it follows.
    pub attribution: Attribution,
    /// All.
    pub total: OutcomeGroup,
    /// By tenant.
    pub by_tenant: Vec<OutcomeGroup>,
    /// By the action's name; overhead has none.
    pub by_action: Vec<OutcomeGroup>,
    /// By route.
    pub by_route: Vec<OutcomeGroup>,
    /// By model asked for.
    pub by_model: Vec<OutcomeGroup>,
    /// By prompt, as `name@version`.
    pub by_prompt: Vec<OutcomeGroup>,
    /// By arm of experiment, as `experiment/arm`.
    pub by_arm: Vec<OutcomeGroup>,
    /// Actions that wait for their calls; in no figure.
    pub parked: u64,
    /// Actions whose calls were not there when they were said, and that do not wait; in no figure.
    pub refused: u64,
    /// Feedback of which no call is known; in no group but the total.
    pub unplaced_feedback: u64,
    /// Servers of one's own, with idle time apart.
    pub gpus: Vec<GpuPool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quotient_is_rounded_half_up_and_absent_without_use() {
        let group = |picos, useful| {
            let costs = Costs { answers: Usd::from_picos(picos), ..Costs::default() };
            let mut group = OutcomeGroup { useful, costs, ..OutcomeGroup::default() };
            group.divide();
            group.per_useful.map(Usd::picos)
        };
        assert_eq!([group(10, 4), group(9, 4), group(0, 3), group(7, 0)], [Some(3), Some(2), Some(0), None]);
    }

    #[test]
    fn a_rule_is_known_by_name() {
        for rule in Attribution::ALL {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        let error = "first".parse::<Attribution>().unwrap_err().to_string();
        assert!(error.contains("\"first\"") && error.contains("last, trace or weighted"), "{error}");
    }
}
