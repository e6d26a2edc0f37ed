//! What a call is charged to.

use contracts::policy::budget::{Budget, Span, Window};
use contracts::{TenantId, Timestamp, Usd};
use std::collections::HashMap;
use std::sync::Arc;

/// So many accounts are looked through one by one; a call has fewer, and a list of all that a gateway knows has thousands.
const FEW: usize = 16;

/// Something that money is counted on, with the limits that hold at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name, unique in its group; no two windows share one.
    pub id: Arc<str>,
    /// Whose money it is, as people are told: `tenant acme`.
    pub subject: Arc<str>,
    /// What sets its limits.
    pub origin: Origin,
    /// Most that may be spent in a window.
    pub limit: Usd,
    /// From here on callers are told.
    pub soft: Option<Usd>,
    /// When spending begins anew.
    pub window: Window,
}

/// What sets the limits of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A budget.
    Budget,
    /// The dollars of a rate plan.
    Plan,
}

impl Account {
    /// What its limits are called, as people are told: those of a plan by the name of the field that sets them.
    pub const fn limit_name(&self) -> &'static str {
        match (self.origin, self.window) {
            (Origin::Budget, Window::Minute) => "budget_per_minute",
            (Origin::Budget, Window::Hour) => "budget_per_hour",
            (Origin::Budget, Window::Day) => "budget_per_day",
            (Origin::Budget, Window::Month) => "budget_per_month",
            (Origin::Budget, Window::Total) => "budget",
            (Origin::Plan, Window::Minute) => "dollars_per_minute",
            (Origin::Plan, Window::Hour) => "dollars_per_hour",
            (Origin::Plan, Window::Day) => "dollars_per_day",
            (Origin::Plan, Window::Month) => "dollars_per_month",
            (Origin::Plan, Window::Total) => "dollars",
        }
    }

    /// Whether tenants share it, who need not know of each other what they spend.
    pub fn is_of_organisation(&self) -> bool {
        self.id.starts_with("organisation|")
    }
}

impl From<&Budget> for Account {
    fn from(budget: &Budget) -> Self {
        Self {
            id: budget.account_id().into(),
            subject: budget.scope.to_string().into(),
            origin: Origin::Budget,
            limit: budget.limit,
            soft: budget.soft,
            window: budget.window,
        }
    }
}

/// The accounts that a call is charged to, all of one group. Made once for each kind of call and shared between calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    group: Arc<str>,
    list: Box<[Account]>,
}

impl Accounts {
    /// `group` is what may be charged together: the unit of locking here, and of placement in a Redis cluster. What was spent is
    /// known by group and account, so that an account which changes its group begins at nothing. Of accounts with the same id the one
    /// with the lowest limit counts.
    pub fn new(group: impl Into<Arc<str>>, accounts: impl IntoIterator<Item = Account>) -> Self {
        let mut list: Vec<Account> = Vec::new();
        // Where each stands; empty while they are few.
        let mut index: HashMap<(Arc<str>, Window), usize> = HashMap::new();
        let key = |account: &Account| (Arc::clone(&account.id), account.window);
        for account in accounts {
            let known = if list.len() <= FEW {
                list.iter_mut().find(|known| known.id == account.id && known.window == account.window)
            } else {
                if index.is_empty() {
                    index.extend(list.iter().enumerate().map(|(at, known)| (key(known), at)));
                }
                index.get(&key(&account)).and_then(|at| list.get_mut(*at))
            };
            if let Some(known) = known {
                known.limit = known.limit.min(account.limit);
                known.soft = known.soft.into_iter().chain(account.soft).min();
                continue;
            }
            if !index.is_empty() {
                index.insert(key(&account), list.len());
            }
            list.push(account);
        }
        Self { group: group.into(), list: list.into() }
    }

    /// The group of a tenant: its organisation, or else the tenant itself.
    pub fn group_of(organisation: Option<&str>, tenant: &TenantId) -> Arc<str> {
        organisation.map_or_else(|| format!("tenant|{tenant}").into(), Self::group_of_organisation)
    }

    /// The group of an organisation and its tenants.
    pub fn group_of_organisation(organisation: &str) -> Arc<str> {
        format!("organisation|{organisation}").into()
    }

    /// Their group.
    pub fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// Each of them.
    pub fn list(&self) -> &[Account] {
        &self.list
    }

    /// Whether nothing is charged to anybody.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The account, with the limits that were asked with.
    pub account: Account,
    /// The window.
    pub span: Span,
    /// Settled.
    pub spent: Usd,
    /// Reserved for calls that are under way, and granted to gateways ahead of time.
    pub held: Usd,
}

impl Standing {
    /// What is left of the limit.
    pub fn left(&self) -> Usd {
        (self.account.limit - self.spent - self.held).max(Usd::ZERO)
    }
}

/// An account whose soft limit has been passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftPassed {
    /// Which.
    pub account: Account,
    /// Settled in this window.
    pub spent: Usd,
    /// When the window ends.
    pub ends: Option<Timestamp>,
    /// Whether it was passed just now, by this call: true once in a window, when a call is settled.
    pub crossed: bool,
}

impl SoftPassed {
    /// `spent` after `added` was added to it.
    pub(crate) fn judge(account: &Account, span: Span, spent: Usd, added: Usd) -> Option<Self> {
        let soft = account.soft.filter(|soft| *soft <= spent)?;
        Some(Self { account: account.clone(), spent, ends: span.end, crossed: spent - added < soft })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_an_account_counts_in_lists_of_any_length() {
        for ids in [1, 16, 17, 18, 100] {
            let round = |dollars: i128, soft| {
                (0..ids).flat_map(move |id: i128| {
                    [Window::Day, Window::Month].map(|window| Account {
                        id: format!("a{id}").into(),
                        subject: format!("a{id}").into(),
                        origin: Origin::Budget,
                        limit: Usd::from_picos(dollars + id),
                        soft,
                        window,
                    })
                })
            };
            let all = round(20, None).chain(round(10, Some(Usd::from_picos(3)))).chain(round(30, None));
            let accounts = Accounts::new("g", all);
            let expected: Vec<Account> = round(10, Some(Usd::from_picos(3))).collect();
            assert_eq!(accounts.list(), expected, "{ids} in two windows each");
        }
    }
}
