//! Which accounts a call is charged to: those of budgets, and of plans with dollars.
//!
//! They follow from the policy alone, so they are put together once for each key and route and shared by all their calls, but for
//! those that bring tags of their own.

use crate::call::Facts;
use crate::errors::Failure;
use arc_swap::ArcSwap;
use budget::{Account, Accounts, Origin};
use contracts::Usd;
use contracts::policy::budget::Window;
use contracts::policy::plan::{Limit, Plan};
use contracts::policy::{KeyPolicy, Named, Route, Snapshot};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The limit of an account that only tells: more dollars than there are.
const NO_LIMIT: Usd = Usd::from_picos(9_000_000_000_000_000 * 1_000_000_000_000);
/// Kinds of calls that are remembered; when there are more, all are forgotten.
const MOST: usize = 16_384;

/// Plans of a call's tenant and of its key.
pub(super) type Plans<'a> = (Option<&'a Arc<Named<Plan>>>, Option<&'a Arc<Named<Plan>>>);

/// What a call is charged to.
#[derive(Debug, Clone)]
pub(super) struct Charged {
    pub(super) accounts: Arc<Accounts>,
    /// Whether any of them has a limit that holds.
    pub(super) may_refuse: bool,
}

/// The accounts of all kinds of calls, as far as such calls came.
#[derive(Debug, Default)]
pub(super) struct Charges(ArcSwap<Known>);

/// Those of one snapshot.
#[derive(Debug, Default)]
struct Known {
    snapshot: Arc<Snapshot>,
    /// By where the key and the route lie.
    kinds: RwLock<HashMap<(usize, usize), Kind>>,
}

/// Calls with one key over one route.
#[derive(Debug)]
struct Kind {
    charged: Option<Charged>,
    /// Held, so that nothing else comes to lie where they do.
    _held: (Arc<KeyPolicy>, Option<Arc<Route>>),
}

impl Charges {
    /// What the call is charged to, which brings `tags`; `None` where that is nothing.
    pub(super) fn of(
        &self,
        facts: &Facts,
        tags: &[String],
        plans: Plans<'_>,
    ) -> Result<Option<Charged>, Failure> {
        if !tags.is_empty() {
            return charged(facts, tags, plans);
        }
        let mut known = self.0.load();
        if !Arc::ptr_eq(&known.snapshot, &facts.snapshot) {
            self.0.store(Arc::new(Known { snapshot: facts.snapshot.clone(), kinds: RwLock::default() }));
            known = self.0.load();
            if !Arc::ptr_eq(&known.snapshot, &facts.snapshot) {
                // A call of another snapshot was faster.
                return charged(facts, tags, plans);
            }
        }
        let route = facts.resolved.as_ref().and_then(|resolved| resolved.route.as_ref());
        let kind = (Arc::as_ptr(&facts.key).addr(), route.map_or(0, |route| Arc::as_ptr(route).addr()));
        if let Some(kind) = known.kinds.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return Ok(kind.charged.clone());
        }
        let charged = charged(facts, tags, plans)?;
        let mut kinds = known.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MOST {
            kinds.clear();
        }
        let held = (facts.key.clone(), route.cloned());
        kinds.insert(kind, Kind { charged: charged.clone(), _held: held });
        Ok(charged)
    }
}

fn charged(
    facts: &Facts,
    tags: &[String],
    (of_tenant, of_key): Plans<'_>,
) -> Result<Option<Charged>, Failure> {
    let key = &facts.key;
    let mut list: Vec<Account> = Vec::new();
    let route = facts.resolved.as_ref().and_then(|resolved| resolved.route.as_deref());
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    for budget in facts.snapshot.budgets.applying(key, route, &tags) {
        let budget = budget.map_err(|unreadable| Failure::Unreadable(unreadable.clone()))?;
        list.push((&budget.spec).into());
    }
    for (whose, plan) in [("tenant", of_tenant), ("key", of_key)] {
        let Some(plan) = plan else { continue };
        let id = if whose == "key" { key.id.as_str() } else { key.tenant.id.as_str() };
        list.extend(of_plan(whose, id, plan).map(|(account, _)| account));
    }
    if list.is_empty() {
        return Ok(None);
    }
    let organisation = key.tenant.organisation.as_ref().map(contracts::OrganisationId::as_str);
    let accounts = Accounts::new(Accounts::group_of(organisation, &key.tenant.id), list);
    let may_refuse = accounts.list().iter().any(|account| account.limit < NO_LIMIT);
    Ok(Some(Charged { accounts: Arc::new(accounts), may_refuse }))
}

/// The accounts of a plan's dollars, with their hard limits where there are any.
pub(crate) fn of_plan(whose: &str, id: &str, plan: &Plan) -> impl Iterator<Item = (Account, Option<Usd>)> {
    let limits = [
        (plan.dollars_per_minute, Window::Minute),
        (plan.dollars_per_day, Window::Day),
        (plan.dollars_per_month, Window::Month),
    ];
    let subject: Arc<str> = format!("{whose} {id}").into();
    limits.into_iter().filter_map(move |(limit, window)| {
        let Limit { hard, soft } = limit?;
        let id = format!("plan|{whose}|{id}|{window}").into();
        let subject = subject.clone();
        let limit = hard.unwrap_or(NO_LIMIT);
        Some((Account { id, subject, origin: Origin::Plan, limit, soft, window }, hard))
    })
}
