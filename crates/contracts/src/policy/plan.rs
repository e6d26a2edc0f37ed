//! Rate plans: how often and how much a tenant or a key may call.
//!
//! A tenant may have a plan and a key may have one; both hold, each with a state of its own. A hard limit refuses, a soft one
//! lets pass and tells. A limit that is absent does not limit.
//!
//! ```json
//! {"requests_per_minute": 600, "tokens_per_minute": {"soft": 800000, "hard": 1000000}, "dollars_per_day": "50"}
//! ```

mod limit;

pub use limit::Limit;

use super::InvalidPolicy;
use super::queue::Band;
use crate::Usd;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroU64};

/// What a tenant, or a key, may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Requests a second; a second's requests may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Limit<NonZeroU32>>,
    /// Requests a minute; a minute's requests may come at once, as at OpenAI, and come back evenly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<Limit<NonZeroU32>>,
    /// Tokens a minute, input and output: estimated when a call begins, settled when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<Limit<NonZeroU64>>,
    /// Calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<Limit<NonZeroU32>>,
    /// Dollars a minute; held by the budget ledger, as are the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars_per_minute: Option<Limit<Usd>>,
    /// Dollars a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars_per_day: Option<Limit<Usd>>,
    /// Dollars a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars_per_month: Option<Limit<Usd>>,
    /// Fair share: a tenant of weight 2 gets twice the tokens of one of weight 1 while both wait. Without effect on a key's plan.
    pub weight: NonZeroU32,
    /// The band of a call that asks for none.
    pub priority: Band,
    /// The most urgent band that a call may ask for; `priority` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_priority: Option<Band>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            requests_per_second: None,
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrent_requests: None,
            dollars_per_minute: None,
            dollars_per_day: None,
            dollars_per_month: None,
            weight: NonZeroU32::MIN,
            priority: Band::default(),
            highest_priority: None,
        }
    }
}

/// The greatest weight: shares further apart are starvation by another name.
const MOST_WEIGHT: u32 = 10_000;

impl Plan {
    /// Whether the plan can be taken as it is.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        check("requests_per_second", self.requests_per_second)?;
        check("requests_per_minute", self.requests_per_minute)?;
        check("tokens_per_minute", self.tokens_per_minute)?;
        check("concurrent_requests", self.concurrent_requests)?;
        for (field, limit) in [
            ("dollars_per_minute", self.dollars_per_minute),
            ("dollars_per_day", self.dollars_per_day),
            ("dollars_per_month", self.dollars_per_month),
        ] {
            check(field, limit)?;
            let Some(limit) = limit else { continue };
            for (part, amount) in [("hard", limit.hard), ("soft", limit.soft)] {
                if let Some(amount) = amount.filter(|amount| *amount <= Usd::ZERO) {
                    let field = format!("{field}.{part}");
                    return Err(InvalidPolicy::new(field, amount.to_string(), "more than 0 dollars"));
                }
            }
        }
        if self.weight.get() > MOST_WEIGHT {
            return Err(InvalidPolicy::new("weight", self.weight, format!("1 to {MOST_WEIGHT}")));
        }
        if let Some(highest) = self.highest_priority.filter(|highest| *highest > self.priority) {
            let expected = format!("{} or more urgent, as is `priority`", self.priority);
            return Err(InvalidPolicy::new("highest_priority", highest.as_str(), expected));
        }
        Ok(())
    }

    /// The most urgent band that a call may ask for.
    pub fn highest_priority(&self) -> Band {
        self.highest_priority.unwrap_or(self.priority)
    }

    /// Whether it limits anything that admission holds: all but dollars.
    pub fn limits_calls(&self) -> bool {
        self.requests_per_second.is_some()
            || self.requests_per_minute.is_some()
            || self.tokens_per_minute.is_some()
            || self.concurrent_requests.is_some()
    }
}

/// The band of a call: the one it asked for, or else the key's or the tenant's, and never more urgent than both plans allow.
pub fn band(tenant: Option<&Plan>, key: Option<&Plan>, asked: Option<Band>) -> Band {
    let usual = key.or(tenant).map_or_else(Band::default, |plan| plan.priority);
    let highest = |plan: Option<&Plan>| plan.map(Plan::highest_priority);
    // Bands compare by patience, so the greater is the less urgent one.
    let allowed = match (highest(tenant), highest(key)) {
        (None, None) => Band::default(),
        (tenant, key) => tenant.max(key).unwrap_or_default(),
    };
    asked.unwrap_or(usual).max(allowed)
}

fn check<T: Copy + PartialOrd + std::fmt::Display>(
    field: &str,
    limit: Option<Limit<T>>,
) -> Result<(), InvalidPolicy> {
    match limit {
        Some(Limit { hard: None, soft: None }) => {
            Err(InvalidPolicy::new(field, "{}", "`hard`, `soft` or both"))
        }
        Some(Limit { hard: Some(hard), soft: Some(soft) }) if soft > hard => {
            let expected = format!("at most the hard limit, {hard}");
            Err(InvalidPolicy::new(format!("{field}.soft"), soft.to_string(), expected))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
