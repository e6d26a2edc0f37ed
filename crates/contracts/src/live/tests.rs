//! What is added up over gateways, and what is not.

use super::*;
use crate::policy::budget::Window;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn gateway(instance: &str, budgets: Vec<BudgetLive>) -> GatewayLive {
    let totals = Totals { calls: 10, failed: 1, input_tokens: 100, output_tokens: 50, cost: usd("0.5") };
    let lately = Lately { over_ms: 10_000, totals };
    GatewayLive {
        instance: instance.into(),
        version: "0".into(),
        at_ms: 0,
        up_ms: 1,
        policy: PolicyLive::default(),
        traffic: Traffic {
            in_flight: 2,
            since_start: totals,
            last_10_s: lately,
            last_minute: lately,
            today: lately,
        },
        pools: Vec::new(),
        budgets,
        rates: Vec::new(),
        rates_omitted: 0,
        cache: CacheLive { hits_exact: 1, misses: 3, saved: usd("0.1"), ..CacheLive::default() },
        streams: StreamsLive::default(),
        flood: FloodLive::default(),
        spool: SpoolLive::default(),
    }
}

fn budget(counted: Counted, spent: &str, own: &str) -> BudgetLive {
    let (limit, spent, held) = (usd("10"), usd(spent), usd("1"));
    BudgetLive {
        kind: BudgetKind::Budget,
        name: "monthly".parse().unwrap(),
        owner: None,
        tenant: Some("acme".parse().unwrap()),
        account: "tenant|acme|month".into(),
        window: Window::Month,
        ends_ms: Some(2_000),
        limit: Some(limit),
        soft: None,
        counted,
        spent,
        held,
        left: Some(limit - spent - held),
        own: Spending { spent: usd(own), held },
    }
}

fn together(budgets: impl IntoIterator<Item = BudgetLive>) -> Live {
    let answers = budgets.into_iter().enumerate().map(|(n, budget)| GatewayAnswer {
        url: format!("http://g{n}"),
        error: None,
        live: Some(Box::new(gateway(&format!("g{n}"), vec![budget]))),
    });
    Live::of(0, answers.collect())
}

fn shared(ledger: &str) -> Counted {
    Counted::Shared { ledger: ledger.into() }
}

#[test]
fn what_gateways_share_counts_once_and_what_they_have_of_their_own_is_added_up() {
    let live = together([budget(shared("r1"), "3", "1"), budget(shared("r1"), "4", "3")]);
    let [one] = live.budgets.as_slice() else { panic!("{:?}", live.budgets) };
    assert_eq!((one.spent, one.held, one.left), (usd("4"), usd("1"), Some(usd("5"))));
    assert_eq!((one.own.spent, &one.counted), (usd("4"), &shared("r1")), "the two parts are the whole");

    let live = together([budget(Counted::Gateway, "3", "3"), budget(Counted::Gateway, "4", "4")]);
    assert_eq!((live.budgets[0].spent, live.budgets[0].left), (usd("7"), Some(usd("11"))));

    let live = together([budget(shared("r1"), "3", "1"), budget(shared("r2"), "4", "3")]);
    assert_eq!(live.budgets[0].spent, usd("7"), "two ledgers are two accounts");
}

#[test]
fn a_ledger_that_is_away_is_told_of_by_those_who_reach_it_or_else_said_to_be_away() {
    let away = || Counted::Away { reason: "Redis does not answer".into() };
    let live = together([budget(away(), "1", "1"), budget(shared("r1"), "4", "3")]);
    assert_eq!((live.budgets[0].spent, &live.budgets[0].counted), (usd("4"), &shared("r1")));
    let live = together([budget(away(), "1", "1"), budget(away(), "3", "3")]);
    assert_eq!((live.budgets[0].spent, &live.budgets[0].counted), (usd("4"), &away()));
}

#[test]
fn a_report_of_a_window_that_is_over_does_not_count() {
    let old = BudgetLive { ends_ms: Some(1_000), ..budget(Counted::Gateway, "9", "9") };
    assert_eq!(together([old, budget(Counted::Gateway, "1", "1")]).budgets[0].spent, usd("1"));
}

#[test]
fn traffic_and_caches_are_added_up_and_who_is_silent_is_named() {
    let mut live = together([budget(Counted::Gateway, "1", "1"), budget(Counted::Gateway, "1", "1")]);
    assert_eq!((live.traffic.in_flight, live.traffic.since_start.calls), (4, 20));
    assert!((live.traffic.last_10_s.a_second(live.traffic.last_10_s.totals.calls) - 2.0).abs() < 1e-9);
    assert_eq!(live.traffic.last_10_s.cost_a_minute(), usd("6"));
    assert_eq!(live.cache.hit_rate(), Some(0.25));
    live.gateways[0].live = None;
    live.gateways[0].error = Some("nothing listens there".into());
    let text = serde_json::to_string(&live).unwrap();
    assert_eq!(serde_json::from_str::<Live>(&text).unwrap(), live, "it reads as it is written");
    let live = Live::of(0, live.gateways);
    assert_eq!((live.traffic.in_flight, live.answered().count()), (2, 1));
}

#[test]
fn a_bar_is_full_when_nothing_is_left() {
    let of = |limit, spent| BudgetLive { limit, held: Usd::ZERO, ..budget(Counted::Gateway, spent, "0") };
    assert_eq!(of(Some(usd("10")), "2.5").used_share(), Some(0.25));
    assert_eq!(of(Some(usd("10")), "11").used_share(), Some(1.0));
    assert_eq!(of(Some(Usd::ZERO), "0").used_share(), Some(1.0));
    assert_eq!(of(None, "1").used_share(), None);
}
