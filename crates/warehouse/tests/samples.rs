//! Samples of judged calls: of all of their range, each call once.

use contracts::TenantId;
use contracts::reads::{TenantScope, TimeRange};
use std::collections::BTreeSet;
use warehouse::testing::Engine;
use warehouse::{EVALUATOR_KEY, EventRow};

/// 2026-11-02T10:00:00Z.
const T0_MS: i64 = 1_793_613_600_000;
const HOUR_MS: i64 = 3_600_000;
const CALLS: i64 = 400;

/// What `judge` says of call `number`, which started so many hours after the beginning.
fn verdict(number: i64, judge: &str, label: &str, key: &str) -> EventRow {
    let start_ns = (T0_MS + number * HOUR_MS) * 1_000_000;
    let attributes = [
        ("gen_ai.evaluation.name", judge),
        ("gen_ai.evaluation.score.label", label),
        ("control_tower.evaluation.version", "1"),
        ("control_tower.evaluation.call_time_unix_nano", &start_ns.to_string()),
    ];
    EventRow {
        tenant_id: "acme".to_owned(),
        time: start_ns + 5,
        event_id: format!("{number}-{judge}-{key}"),
        event_name: "gen_ai.evaluation.result".to_owned(),
        trace_id: format!("{number:032x}"),
        span_id: format!("{number:016x}"),
        key_id: key.to_owned(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        retention_days: 3650,
        ..EventRow::default()
    }
}

#[tokio::test]
async fn a_sample_is_of_the_whole_range_and_the_same_whoever_takes_it() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let judges = ["refusal", "toxicity", "pii_leak"];
    let events: Vec<EventRow> = (0..CALLS)
        .flat_map(|number| judges.map(|judge| verdict(number, judge, "pass", EVALUATOR_KEY)))
        .chain((CALLS..2 * CALLS).map(|number| verdict(number, "refusal", "pass", "key-1")))
        .chain([verdict(7, "grounding", "fail", EVALUATOR_KEY)])
        .collect();
    warehouse.insert_events(&events, "verdicts").await.unwrap();
    let range = TimeRange { from_ms: T0_MS, to_ms: T0_MS + 2 * CALLS * HOUR_MS };
    let scope = |tenant: &str| TenantScope::one(tenant.parse::<TenantId>().unwrap());
    let none: [String; 0] = [];
    let sample = async |judges: &[String], labels: &[String], rows| {
        warehouse.sample_calls(&scope("acme"), range, judges, labels, rows).await.unwrap()
    };
    let taken = sample(&none, &none, 100).await;
    let spans: BTreeSet<&str> = taken.iter().map(|call| call.span_id.as_str()).collect();
    assert_eq!(spans.len(), 100, "each call once, however many judges it has");
    let middle_ns = (T0_MS + CALLS / 2 * HOUR_MS) * 1_000_000;
    let early = taken.iter().filter(|call| call.start_ns < middle_ns).count();
    assert!((30..=70).contains(&early), "{early} of 100 are of the first half");
    let last_ns = (T0_MS + CALLS * HOUR_MS) * 1_000_000;
    assert!(taken.iter().all(|call| call.start_ns < last_ns), "others' verdicts are not ours");
    assert_eq!(sample(&["toxicity".to_owned()], &none, 100).await, taken);
    let failed = sample(&none, &["fail".to_owned()], 100).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].span_id, format!("{:016x}", 7));
    let stranger = warehouse.sample_calls(&scope("evil"), range, &none, &none, 5).await.unwrap();
    assert!(stranger.is_empty());
}
