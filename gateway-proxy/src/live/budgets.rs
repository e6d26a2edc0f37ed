//! What of each budget is spent and held, here and, where the ledger is shared, by all gateways.

use super::People;
use crate::govern::of_plan;
use budget::{Account, Accounts, Ledger, Standing, Unavailable};
use contracts::live::{BudgetKind, BudgetLive, Counted, Spending};
use contracts::policy::budget::Scope;
use contracts::policy::plan::Plan;
use contracts::policy::{Held, Snapshot, TenantPolicy};
use contracts::{OrganisationId, PolicyName, TenantId, Timestamp, Usd};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// All budgets, and the dollars of plans that this gateway has charged, by name.
pub(super) async fn read(ledger: &Ledger, snapshot: &Snapshot, now: Timestamp) -> Vec<BudgetLive> {
    let groups = groups(snapshot);
    let reads = groups.into_iter().map(|(group, limits)| of_group(ledger, group, limits, now));
    let reads: Vec<_> = reads.collect();
    let mut budgets = join_all(reads).await.concat();
    budgets.sort_by(|one, other| {
        let key = |budget: &BudgetLive| {
            (budget.kind, budget.owner.clone(), budget.name.clone(), budget.account.clone())
        };
        key(one).cmp(&key(other))
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
    limits
        .into_iter()
        .filter_map(|limited| live(limited, &own, shared.as_ref(), ledger_id.as_deref()))
        .collect()
}

fn live(
    limited: Limited,
    own: &[Standing],
    shared: Option<&Result<Vec<Standing>, Unavailable>>,
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

fn find<'a>(standings: &'a [Standing], account: &Account) -> Option<&'a Standing> {
    standings
        .iter()
        .find(|standing| standing.account.id == account.id && standing.account.window == account.window)
}
