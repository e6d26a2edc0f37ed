//! Answers that can be checked by eye.

use super::report::gpus;
use super::*;
use crate::reads::outcomes::{ActionCall, FeedbackSum, PoolCost, Spend};
use contracts::price::{Charge, GpuPrice, ModelPrice};
use contracts::{Timestamp, Usd};

const RANGE: TimeRange = TimeRange { from_ms: 1_000, to_ms: 2_000 };

/// Action `id` served by the call `span`, which cost so many picodollars and started at its own number of milliseconds.
fn served(id: &str, outcome: &str, span: u32, cost: i128) -> ActionCall {
    ActionCall {
        tenant_id: "acme".into(),
        outcome_id: id.into(),
        name: "resolve".into(),
        outcome: outcome.into(),
        trace_id: format!("t{}", span / 10),
        span_id: format!("s{span}"),
        start_ns: (1_000 + i64::from(span)) * 1_000_000,
        received_ns: 1_500_000_000,
        direct: true,
        weight: 1_000_000,
        operation: "chat".into(),
        model: format!("m{}", span % 2),
        calls_cost: cost,
        ..ActionCall::default()
    }
}

fn spend(calls: u64, cost: i128) -> Vec<Spend> {
    vec![Spend { tenant_id: "acme".into(), model: "m1".into(), calls, calls_cost: cost, ..Spend::default() }]
}

fn report(actions: Vec<ActionCall>, spend: Vec<Spend>, rule: Attribution) -> OutcomeReport {
    Figures { actions, spend, feedback: Vec::new(), range: RANGE }.report(rule)
}

fn picos(amount: Option<Usd>) -> Option<i128> {
    amount.map(Usd::picos)
}

#[test]
fn each_rule_pays_for_its_own_calls() {
    let undirect = ActionCall { direct: false, ..served("a", "useful", 13, 400) };
    let half = ActionCall { weight: 500_000, ..served("a", "useful", 12, 200) };
    let rows = vec![served("a", "useful", 11, 100), half, undirect];
    for (rule, cost, model) in
        [(Attribution::Last, 200, "m0"), (Attribution::Trace, 700, "m1"), (Attribution::Weighted, 200, "m0")]
    {
        let report = report(rows.clone(), spend(4, 1_000), rule);
        assert_eq!(picos(report.total.per_useful), Some(cost), "{rule}");
        assert_eq!((report.total.actions, report.total.useful), (1, 1));
        assert_eq!(report.total.overhead.picos(), 1_000 - cost, "{rule}");
        let group = report.by_model.iter().find(|group| group.actions == 1).unwrap();
        assert_eq!((group.name.as_str(), group.costs.total().picos()), (model, cost), "{rule}");
    }
}

#[test]
fn a_call_that_serves_several_actions_is_split_without_loss() {
    let rows: Vec<ActionCall> =
        ["a", "b", "c"].map(|id| served(id, if id == "a" { "useful" } else { "not_useful" }, 1, 100)).into();
    let shared = report(rows.clone(), spend(1, 100), Attribution::Trace);
    assert_eq!((shared.total.actions, shared.total.useful), (3, 1));
    assert_eq!((picos(shared.total.per_useful), shared.total.overhead), (Some(100), Usd::ZERO));
    assert_eq!(shared.total.overhead_calls, 0);
    // Weights of less than one in all leave the rest as overhead.
    let light: Vec<ActionCall> = rows.into_iter().map(|row| ActionCall { weight: 250_000, ..row }).collect();
    let weighted = report(light, spend(1, 100), Attribution::Weighted);
    assert_eq!((weighted.total.costs.total().picos(), weighted.total.overhead.picos()), (75, 25));
}

#[test]
fn every_cost_has_its_place() {
    let chat = ActionCall {
        calls_cost: 100,
        retries_cost: 30,
        cache_cost: 5,
        judges_cost: 7,
        ..served("a", "value", 1, 0)
    };
    let chat = ActionCall { value: 5_000, ..chat };
    let embedding =
        ActionCall { operation: "embeddings".into(), value: 5_000, ..served("a", "value", 2, 11) };
    let report = report(vec![chat, embedding], spend(2, 111), Attribution::Trace);
    let costs = report.total.costs;
    assert_eq!(
        [costs.answers, costs.retries, costs.cache, costs.embeddings, costs.judges].map(Usd::picos),
        [65, 30, 5, 11, 7]
    );
    assert_eq!((picos(report.total.per_useful), report.total.value.picos()), (Some(118), 5_000));
    assert_eq!(report.by_action[0].name, "resolve");
}

#[test]
fn what_is_worth_nothing_is_not_useful_and_unknown_calls_wait_or_are_refused() {
    let nothing = ActionCall { value: 0, ..served("a", "value", 1, 10) };
    let parked = ActionCall { outcome_id: "b".into(), span_id: String::new(), ..nothing.clone() };
    let late = ActionCall { outcome_id: "c".into(), refuses: true, received_ns: 5, ..nothing.clone() };
    let report = report(vec![nothing, parked, late], spend(1, 10), Attribution::Trace);
    assert_eq!((report.total.actions, report.total.useful, report.total.per_useful), (1, 0, None));
    assert_eq!((report.parked, report.refused), (1, 1));
}

#[test]
fn calls_of_another_range_pay_but_are_not_missing_from_overhead() {
    let before = ActionCall { start_ns: 5, ..served("a", "useful", 1, 40) };
    let report = report(vec![before], spend(2, 60), Attribution::Last);
    assert_eq!((picos(report.total.per_useful), report.total.overhead.picos()), (Some(40), 60));
    assert_eq!(report.total.overhead_calls, 2);
}

#[test]
fn feedback_has_its_mean_by_group() {
    let sum = |known, feedback, score_sum| FeedbackSum {
        tenant_id: "acme".into(),
        model: "m1".into(),
        known,
        feedback,
        scored: feedback,
        score_sum,
        ..FeedbackSum::default()
    };
    let feedback = vec![sum(true, 4, 3.0), sum(false, 1, 0.0)];
    let report = Figures { actions: vec![], spend: vec![], feedback, range: RANGE }.report(Attribution::Last);
    assert_eq!((report.by_model[0].feedback, report.by_model[0].mean_score), (4, Some(0.75)));
    assert_eq!((report.total.feedback, report.unplaced_feedback), (5, 1));
}

#[test]
fn idle_time_of_own_servers_is_what_is_left_of_their_hours() {
    let price = GpuPrice {
        usd_per_gpu_hour: "3.6".parse().unwrap(),
        gpus: 2,
        input_tokens_per_second: "1000".to_owned().try_into().unwrap(),
        output_tokens_per_second: "100".to_owned().try_into().unwrap(),
    };
    let entry = ModelPrice {
        provider: "vllm".into(),
        model: "llama".into(),
        aliases: Vec::new(),
        prefixes: Vec::new(),
        valid_from: None,
        charge: Charge::Gpu(price),
        source: String::new(),
    };
    let book = PriceBook::new("1", vec![entry.clone()]).unwrap();
    let cost = |provider: &str, cost| PoolCost { provider: provider.into(), model: "llama".into(), cost };
    // Two GPUs at 3.6 dollars for a second each: 0.002 dollars, of which 0.0005 were used.
    let pools = gpus(&book, RANGE, &[cost("vllm", 500_000_000), cost("other", 9)]);
    assert_eq!(
        [pools[0].paid, pools[0].used, pools[0].idle].map(Usd::picos),
        [2_000_000_000, 500_000_000, 1_500_000_000]
    );
    // The price doubles when three quarters of the second are over, and there is another before all of it.
    let dated = |at_ms: i64, dollars: &str| ModelPrice {
        valid_from: Some(Timestamp::from_unix_millis(at_ms)),
        charge: match &entry.charge {
            Charge::Gpu(price) => {
                Charge::Gpu(GpuPrice { usd_per_gpu_hour: dollars.parse().unwrap(), ..price.clone() })
            }
            tokens @ Charge::Tokens(_) => tokens.clone(),
        },
        ..entry.clone()
    };
    let (from, to) = (RANGE.from_ms, RANGE.to_ms);
    let entries = vec![dated(to - 250, "7.2"), entry.clone(), dated(from - 9, "3.6"), dated(to, "99")];
    let changed = PriceBook::new("2", entries).unwrap();
    let pools = gpus(&changed, RANGE, &[cost("vllm", 500_000_000)]);
    assert_eq!(pools.len(), 1);
    assert_eq!(
        [pools[0].paid, pools[0].used, pools[0].idle].map(Usd::picos),
        [2_500_000_000, 500_000_000, 2_000_000_000]
    );
    // Before the first price there were no servers.
    let later = PriceBook::new("3", vec![dated(to - 250, "3.6")]).unwrap();
    assert_eq!(gpus(&later, RANGE, &[])[0].paid.picos(), 500_000_000);
    let never = PriceBook::new("4", vec![dated(to, "3.6")]).unwrap();
    assert!(gpus(&never, RANGE, &[]).is_empty());
}

#[test]
fn an_interval_needs_variety_and_use() {
    assert_eq!(ratio_interval(&[(1.0, true)]), None);
    assert_eq!(ratio_interval(&[(1.0, false); 50]), None);
    let same = ratio_interval(&[(2.0, true); 50]).unwrap();
    assert!((same.low - 2.0).abs() < 1e-9 && (same.high - 2.0).abs() < 1e-9);
}
