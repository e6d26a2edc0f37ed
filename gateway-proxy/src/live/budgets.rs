//! What of each budget is spent and held, here and, where the ledger is shared, by all gateways.

use super::{MOST_ROWS, People};
use crate::govern::of_plan;
use budget::{Account, Accounts, Ledger, Standing, Unavailable};
use contracts::live::{BudgetKind, BudgetLive, Counted, Spending};
use contracts::policy::budget::{Scope, Window};
use contracts::policy::plan::Plan;
use contracts::policy::{Held, Snapshot, TenantPolicy};
use contracts::{OrganisationId, PolicyName, TenantId, Timestamp, Usd};
use futures_util::stream::{self, StreamExt};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Most groups that are read at once, so that calls do not wait behind who looks.
const AT_ONCE: usize = 16;

/// A limit in dollars.
struct Limited {
    kind: BudgetKind,
    name: PolicyName,
    owner: Option<TenantId>,
    tenant: Option<TenantId>,
    account: Account,
    limit: Option<Usd>,
}

/// The limits on accounts of one group, which are read together.
type Groups = BTreeMap<Arc<str>, Vec<Limited>>;

/// How accounts of one group stand.
type Standings<'a> = HashMap<(Arc<str>, Window), &'a Standing>;

/// All budgets, and the dollars of plans that this gateway has charged, by name.
pub(super) async fn read(ledger: &Ledger, snapshot: &Snapshot, now: Timestamp) -> Vec<BudgetLive> {
    let groups = groups(snapshot);
    let reads = groups.into_iter().map(|(group, limits)| of_group(ledger, group, limits, now));
    let reads: Vec<_> = reads.collect();
    shown(stream::iter(reads).buffer_unordered(AT_ONCE).concat().await)
}

/// All budgets, and of the plans, which are as many as tenants and keys, those with the most dollars.
fn shown(all: Vec<BudgetLive>) -> Vec<BudgetLive> {
    let (mut budgets, mut plans): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|budget| budget.kind == BudgetKind::Budget);
    plans.sort_by_cached_key(|plan| (Reverse(plan.spent + plan.held), plan.account.clone()));
    plans.truncate(MOST_ROWS);
    budgets.append(&mut plans);
    budgets.sort_by_cached_key(|budget| {
        (budget.kind, budget.owner.clone(), budget.name.clone(), budget.account.clone())
    });
    budgets
}

fn groups(snapshot: &Snapshot) -> Groups {
    let people = People::of(snapshot);
    let mut groups = Groups::new();
    for budget in snapshot.budgets.iter().filter_map(|held| held.as_ref().ok()) {
        let (group, tenant) = match &budget.scope {
            Scope::Organisation { organisation } => (Accounts::group_of_organisation(organisation), None),
            Scope::Tenant { tenant } | Scope::Route { tenant, .. } | Scope::Tag { tenant, .. } => {
                (group_of(&people, tenant), Some(tenant))
            }
            Scope::Key { key } => {
                // A key that is gone is charged nothing any more.
                let Some(key) = people.keys.get(key) else { continue };
                (group_of(&people, &key.tenant.id), Some(&key.tenant.id))
            }
        };
        groups.entry(group).or_default().push(Limited {
            kind: BudgetKind::Budget,
            name: budget.name.clone(),
            owner: budget.tenant.clone(),
            tenant: tenant.cloned(),
            account: (&budget.spec).into(),
            limit: Some(budget.limit),
        });
    }
    for tenant in people.tenants.values() {
        add_plan(&mut groups, tenant, "tenant", tenant.id.as_str(), tenant.plan.as_ref());
    }
    for key in people.keys.values() {
        add_plan(&mut groups, &key.tenant, "key", key.id.as_str(), key.plan.as_ref());
    }
    groups
}

fn add_plan(
    groups: &mut Groups,
    tenant: &TenantPolicy,
    whose: &'static str,
    id: &str,
    plan: Option<&Held<Plan>>,
) {
    let Some(Ok(plan)) = plan else { return };
    for (account, limit) in of_plan(whose, id, plan) {
        let limited = Limited {
            kind: BudgetKind::Plan,
            name: plan.name.clone(),
            owner: plan.tenant.clone(),
            tenant: Some(tenant.id.clone()),
            account,
            limit,
        };
        groups.entry(group_of_tenant(tenant)).or_default().push(limited);
    }
}

/// The group of a tenant. One that is not known has no key, and so makes no calls.
fn group_of(people: &People<'_>, tenant: &TenantId) -> Arc<str> {
    people
        .tenants
        .get(tenant)
        .map_or_else(|| Accounts::group_of(None, tenant), |tenant| group_of_tenant(tenant))
}

fn group_of_tenant(tenant: &TenantPolicy) -> Arc<str> {
    Accounts::group_of(tenant.organisation.as_ref().map(OrganisationId::as_str), &tenant.id)
}

async fn of_group(
    ledger: &Ledger,
    group: Arc<str>,
    mut limits: Vec<Limited>,
    now: Timestamp,
) -> Vec<BudgetLive> {
    let all = |limits: &[Limited]| {
        Accounts::new(group.clone(), limits.iter().map(|limited| limited.account.clone()))
    };
    let own = ledger.read_own(&all(&limits), now);
    let own = by_account(&own);
    // Plans are many, and most of them not in use.
    limits.retain(|limited| {
        let is_used = |standing: &Standing| standing.spent != Usd::ZERO || standing.held != Usd::ZERO;
        limited.kind == BudgetKind::Budget || find(&own, &limited.account).is_some_and(is_used)
    });
    if limits.is_empty() {
        return Vec::new();
    }
    let ledger_id = ledger.shared_id();
    let shared = if ledger.is_shared() { Some(ledger.read(&all(&limits), now).await) } else { None };
    let shared = shared.as_ref().map(|read| read.as_ref().map(|all| by_account(all)));
    limits
        .into_iter()
        .filter_map(|limited| live(limited, &own, shared.as_ref(), ledger_id.as_deref()))
        .collect()
}

fn live(
    limited: Limited,
    own: &Standings<'_>,
    shared: Option<&Result<Standings<'_>, &Unavailable>>,
    ledger: Option<&str>,
) -> Option<BudgetLive> {
    let own = find(own, &limited.account)?;
    let (standing, counted) = match shared {
        None => (own, Counted::Gateway),
        Some(Ok(all)) => {
            (find(all, &limited.account)?, Counted::Shared { ledger: ledger.unwrap_or_default().to_owned() })
        }
        Some(Err(error)) => (own, Counted::Away { reason: error.to_string() }),
    };
    let Limited { kind, name, owner, tenant, account, limit } = limited;
    Some(BudgetLive {
        kind,
        name,
        owner,
        tenant,
        account: account.id.to_string(),
        window: account.window,
        ends_ms: standing.span.end.map(Timestamp::unix_millis),
        limit,
        soft: account.soft,
        counted,
        spent: standing.spent,
        held: standing.held,
        left: limit.map(|limit| (limit - standing.spent - standing.held).max(Usd::ZERO)),
        own: Spending { spent: own.spent, held: own.held },
    })
}

fn by_account(standings: &[Standing]) -> Standings<'_> {
    let key = |standing: &Standing| (standing.account.id.clone(), standing.account.window);
    standings.iter().map(|standing| (key(standing), standing)).collect()
}

fn find<'a>(standings: &Standings<'a>, account: &Account) -> Option<&'a Standing> {
    standings.get(&(account.id.clone(), account.window)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: BudgetKind, n: u32) -> BudgetLive {
        let spent = Usd::from_picos(i128::from(n));
        BudgetLive {
            kind,
            name: format!("n{n:04}").parse().unwrap(),
            owner: None,
            tenant: None,
            account: format!("tenant|t{n:04}|day"),
            window: Window::Day,
            ends_ms: None,
            limit: None,
            soft: None,
            counted: Counted::Gateway,
            spent,
            held: Usd::ZERO,
            left: None,
            own: Spending { spent, held: Usd::ZERO },
        }
    }

    #[test]
    fn budgets_are_shown_whole_and_the_plans_that_are_used_most() {
        let all = (0..700).rev().flat_map(|n| [row(BudgetKind::Plan, n), row(BudgetKind::Budget, n)]);
        let shown = shown(all.collect());
        let budgets = (0..700).map(|n| row(BudgetKind::Budget, n));
        let plans = (200..700).map(|n| row(BudgetKind::Plan, n));
        assert!(shown == budgets.chain(plans).collect::<Vec<_>>(), "by kind and name");
    }
}
