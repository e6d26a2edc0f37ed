//! Several gateways' answers put together: what each has of its own is added up, what they share counts once.

use super::{BudgetLive, CacheLive, Counted, GatewayAnswer, GatewayLive, Lately, Live, Spending, Traffic};
use crate::Usd;
use std::collections::BTreeMap;

impl Live {
    /// Of the answers of gateways that were asked at `at_ms`.
    pub fn of(at_ms: i64, gateways: Vec<GatewayAnswer>) -> Self {
        let all: Vec<&GatewayLive> = gateways.iter().filter_map(|answer| answer.live.as_deref()).collect();
        let traffic = all.iter().fold(Traffic::default(), |sum, gateway| add_traffic(sum, gateway.traffic));
        let cache = all.iter().fold(CacheLive::default(), |sum, gateway| add_cache(sum, &gateway.cache));
        let budgets = budgets(&all);
        Self { at_ms, gateways, traffic, budgets, cache }
    }

    /// The gateways that answered.
    pub fn answered(&self) -> impl Iterator<Item = &GatewayLive> {
        self.gateways.iter().filter_map(|answer| answer.live.as_deref())
    }
}

fn add_traffic(one: Traffic, other: Traffic) -> Traffic {
    Traffic {
        in_flight: one.in_flight + other.in_flight,
        since_start: one.since_start + other.since_start,
        last_10_s: add_lately(one.last_10_s, other.last_10_s),
        last_minute: add_lately(one.last_minute, other.last_minute),
        today: add_lately(one.today, other.today),
    }
}

/// Of a gateway that has just started nothing is known of the time before, in which it did nothing.
fn add_lately(one: Lately, other: Lately) -> Lately {
    Lately { over_ms: one.over_ms.max(other.over_ms), totals: one.totals + other.totals }
}

fn add_cache(one: CacheLive, other: &CacheLive) -> CacheLive {
    let mut shelves = one.shelves;
    for shelf in &other.shelves {
        let known =
            shelves.iter_mut().find(|known| (&known.tenant, &known.route) == (&shelf.tenant, &shelf.route));
        match known {
            Some(known) => {
                known.entries += shelf.entries;
                known.bytes += shelf.bytes;
            }
            None => shelves.push(shelf.clone()),
        }
    }
    shelves.sort_by(|a, b| {
        b.bytes.cmp(&a.bytes).then_with(|| (&a.tenant, &a.route).cmp(&(&b.tenant, &b.route)))
    });
    CacheLive {
        hits_exact: one.hits_exact + other.hits_exact,
        hits_semantic: one.hits_semantic + other.hits_semantic,
        misses: one.misses + other.misses,
        waited: one.waited + other.waited,
        vetoed: one.vetoed + other.vetoed,
        evicted: one.evicted + other.evicted,
        entries: one.entries + other.entries,
        bytes: one.bytes + other.bytes,
        max_bytes: one.max_bytes + other.max_bytes,
        saved: one.saved + other.saved,
        shelves,
        shelves_omitted: one.shelves_omitted + other.shelves_omitted,
    }
}

/// Each budget once, by kind, owner and name.
fn budgets(gateways: &[&GatewayLive]) -> Vec<BudgetLive> {
    let mut reports: BTreeMap<_, Vec<&BudgetLive>> = BTreeMap::new();
    for budget in gateways.iter().flat_map(|gateway| &gateway.budgets) {
        let key = (budget.kind, budget.owner.as_ref(), &budget.name, budget.account.as_str());
        reports.entry(key).or_default().push(budget);
    }
    reports.into_values().filter_map(|reports| one_budget(&reports)).collect()
}

fn one_budget(reports: &[&BudgetLive]) -> Option<BudgetLive> {
    // One that was asked just before midnight tells of yesterday.
    let ends = reports.iter().map(|report| report.ends_ms).max()?;
    let now: Vec<&BudgetLive> = reports.iter().copied().filter(|report| report.ends_ms == ends).collect();
    // Of those who share a ledger one is enough: the one that was asked last, for what is spent only grows.
    let mut ledgers: BTreeMap<&str, &BudgetLive> = BTreeMap::new();
    let mut counted: Vec<&BudgetLive> = Vec::new();
    for report in &now {
        match &report.counted {
            Counted::Gateway => counted.push(report),
            Counted::Shared { ledger } => {
                let last = ledgers.entry(ledger).or_insert(report);
                if report.spent > last.spent {
                    *last = report;
                }
            }
            Counted::Away { .. } => {}
        }
    }
    let is_shared = !ledgers.is_empty();
    counted.extend(ledgers.into_values());
    // Nobody knows the whole.
    if counted.is_empty() {
        counted.clone_from(&now);
    }
    let sum = |of: fn(&BudgetLive) -> Usd| counted.iter().fold(Usd::ZERO, |sum, report| sum + of(report));
    let first =
        counted.iter().find(|report| is_shared == matches!(report.counted, Counted::Shared { .. }))?;
    let own = now.iter().fold(Spending::default(), |sum, report| Spending {
        spent: sum.spent + report.own.spent,
        held: sum.held + report.own.held,
    });
    let left = counted.iter().map(|report| report.left).try_fold(Usd::ZERO, |sum, left| Some(sum + left?));
    Some(BudgetLive {
        spent: sum(|report| report.spent),
        held: sum(|report| report.held),
        left,
        own,
        ..BudgetLive::clone(first)
    })
}
