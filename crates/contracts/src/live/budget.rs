//! A budget and what of it is used.

use crate::policy::budget::Window;
use crate::{PolicyName, TenantId, Usd};
use serde::{Deserialize, Serialize};

/// A budget in its current window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLive {
    /// Where it comes from.
    pub kind: BudgetKind,
    /// The policy's name.
    pub name: PolicyName,
    /// Whose policy it is; absent when shared by all tenants.
    pub owner: Option<TenantId>,
    /// The tenant whose calls alone it counts; absent when it counts an organisation's.
    pub tenant: Option<TenantId>,
    /// The account that is charged: `tenant|acme|month`.
    pub account: String,
    /// When spending begins anew.
    pub window: Window,
    /// When the window ends; absent when it never does.
    pub ends_ms: Option<i64>,
    /// Most that may be spent in a window; absent where only a soft limit is given. Of gateways that each keep accounts of their own
    /// it holds for each of them.
    pub limit: Option<Usd>,
    /// From here on callers are told.
    pub soft: Option<Usd>,
    /// Whose use it is that follows.
    pub counted: Counted,
    /// Settled in this window.
    pub spent: Usd,
    /// Reserved for calls under way, and granted to gateways ahead of time.
    pub held: Usd,
    /// What may still be reserved.
    pub left: Option<Usd>,
    /// What of it is this gateway's.
    pub own: Spending,
}

/// Where a limit in dollars comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetKind {
    /// A budget.
    Budget,
    /// The dollars of a tenant's or key's plan. A gateway tells of the 500 that are used most.
    Plan,
}

/// Whose use a budget's figures are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Counted {
    /// Of gateways that keep accounts of their own: of each its own use, added up.
    Gateway,
    /// Of all gateways that share a ledger. Each of them reports the same.
    Shared {
        /// Tells the ledger from others: the life of the Redis server that holds it.
        ledger: String,
    },
    /// The shared ledger does not answer: what the gateways that were asked know of their own.
    Away {
        /// Why.
        reason: String,
    },
}

/// What was spent and is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Settled.
    pub spent: Usd,
    /// Reserved for calls under way.
    pub held: Usd,
}

impl BudgetLive {
    /// What of the limit is spent and held, 0 to 1; `None` where there is no limit. Zero allows nothing, so it is all used.
    pub fn used_share(&self) -> Option<f64> {
        let limit = self.limit?;
        if limit <= Usd::ZERO {
            return Some(1.0);
        }
        // To a thousandth, which is what a bar shows.
        let thousandths = (self.spent + self.held).picos().saturating_mul(1_000) / limit.picos();
        Some(f64::from(u16::try_from(thousandths.clamp(0, 1_000)).unwrap_or(1_000)) / 1_000.0)
    }
}
