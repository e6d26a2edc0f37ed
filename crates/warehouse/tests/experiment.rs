//! The arms of an experiment on data that can be checked by eye.

use contracts::TenantId;
use contracts::reads::{TenantScope, TimeRange};
use warehouse::testing::{Engine, Load};
use warehouse::{EVALUATOR_KEY, EventRow, ExperimentOwner, ExperimentRow, SpanRow};

const START_NS: i64 = 1_793_613_600_000_000_000;

fn call(trace: u8, request: &str, variant: &str, cents: i128) -> SpanRow {
    SpanRow {
        tenant_id: "acme".to_owned(),
        start_time: START_NS,
        trace_id: format!("{trace:032x}"),
        span_id: format!("{:016x}", request.bytes().map(u64::from).sum::<u64>()),
        request_id: request.to_owned(),
        response_id: format!("answer-{request}"),
        record: "call".to_owned(),
        experiment_name: "tone".to_owned(),
        experiment_variant: variant.to_owned(),
        cost_total: cents * 10_000_000_000,
        retention_days: 3650,
        ..SpanRow::default()
    }
}

fn event(id: &str, name: &str, after_ns: i64, attributes: &[(&str, &str)]) -> EventRow {
    EventRow {
        tenant_id: "acme".to_owned(),
        time: START_NS + 1,
        observed_time: START_NS + after_ns,
        event_id: id.to_owned(),
        event_name: name.to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        retention_days: 3650,
        ..EventRow::default()
    }
}

fn action(id: &str, key: &str, outcome: &str, after_ns: i64, (kind, named): (&str, &str)) -> EventRow {
    let (links, named) = (format!("control_tower.action.{kind}"), format!("[\"{named}\"]"));
    let attributes = [
        ("control_tower.idempotency.key", key),
        ("control_tower.action.name", "resolve"),
        ("control_tower.action.outcome", outcome),
        (links.as_str(), named.as_str()),
    ];
    event(id, "control_tower.action", after_ns, &attributes)
}

#[tokio::test]
async fn arms_are_summed_up_by_trace_with_late_and_corrected_outcomes() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let calls = [
        call(1, "r1", "a", 150),
        call(2, "r2", "a", 50),
        call(3, "r3", "b", 200),
        call(4, "r4", "b", 400),
        call(4, "r5", "b", 100),
        // Seen by both arms: left out.
        call(5, "r6", "a", 100),
        call(5, "r7", "b", 100),
    ];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    let first = format!("{:032x}", 1);
    let events = [
        action("e1", "k1", "useful", 1, ("traces", &first)),
        action("e2", "k2", "useful", 1, ("responses", "answer-r3")),
        action("e3", "k3", "useful", 1, ("responses", "r4")),
        // Said again, later, otherwise: that counts.
        action("e4", "k3", "not_useful", 9, ("responses", "r4")),
        action("e5", "k5", "useful", 1, ("responses", "r5")),
    ];
    warehouse.insert_events(&events, "events").await.unwrap();

    let scope = TenantScope::one("acme".parse::<TenantId>().unwrap());
    let range = TimeRange { from_ms: START_NS / 1_000_000 - 1, to_ms: START_NS / 1_000_000 + 1 };
    let rows = warehouse.experiment(&scope, "tone", &ExperimentOwner::Any, range).await.unwrap();
    let of = |variant: &str, metric: &str| {
        let row = rows.iter().find(|row| row.variant == variant && row.metric == metric);
        let ExperimentRow { units, mean, variance, .. } = row.unwrap();
        (*units, *mean, *variance)
    };
    assert_eq!(of("", "mixed"), (1, 0.0, 0.0));
    assert_eq!(of("a", "cost_usd"), (2, 1.0, 0.5), "1.50 and 0.50");
    assert_eq!(of("b", "cost_usd"), (2, 3.5, 4.5), "2.00, and 4.00 with 1.00 in one trace");
    assert_eq!(of("a", "useful_actions"), (2, 0.5, 0.5));
    assert_eq!(of("b", "useful_actions"), (2, 1.0, 0.0));
    // 2 dollars over 1 action; residuals 1.5 - 2 and 0.5 - 0, their variance 0.5, over the square of half an action.
    assert_eq!(of("a", "usd_per_useful_action"), (2, 2.0, 2.0));
    assert_eq!(of("b", "usd_per_useful_action"), (2, 3.5, 4.5), "7 dollars over 2 actions");
    let began = warehouse.experiment_start(&scope, "tone", &ExperimentOwner::Any).await.unwrap();
    assert_eq!((began.calls, began.start_ms, began.days), (7, START_NS / 1_000_000, 3650));
    assert_eq!(warehouse.experiment_start(&scope, "colour", &ExperimentOwner::Any).await.unwrap().calls, 0);
    let stranger = TenantScope::one("evil".parse::<TenantId>().unwrap());
    let seen = warehouse.experiment(&stranger, "tone", &ExperimentOwner::Any, range).await.unwrap();
    assert!(seen.iter().all(|row| row.units == 0), "{seen:?}");
}

#[tokio::test]
async fn feedback_is_the_mean_of_the_newest_scores_of_a_trace() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let calls = [
        call(1, "r1", "a", 1),
        call(1, "r2", "a", 1),
        call(2, "r3", "a", 1),
        call(3, "r4", "b", 1),
        call(4, "r5", "b", 1),
    ];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    let said = |id: &str, key: &str, trace: &str, response: &str, score: &str, after_ns: i64| EventRow {
        trace_id: trace.to_owned(),
        response_id: response.to_owned(),
        ..event(
            id,
            "control_tower.feedback",
            after_ns,
            &[("control_tower.idempotency.key", key), ("control_tower.feedback.score", score)],
        )
    };
    let third = format!("{:032x}", 3);
    let events = [
        // One trace, two answers: one observation.
        said("f1", "k1", "", "answer-r1", "1", 1),
        said("f2", "k2", "", "r2", "0", 1),
        // Corrected.
        said("f3", "k3", "", "answer-r3", "0", 1),
        said("f4", "k3", "", "answer-r3", "1", 9),
        said("f5", "k5", &third, "", "-1", 1),
        // A label alone has no score; nobody knows of what this is.
        said("f6", "k6", "", "answer-r5", "", 1),
        said("f7", "k7", "", "answer-x", "1", 1),
    ];
    warehouse.insert_events(&events, "events").await.unwrap();
    let scope = TenantScope::one("acme".parse::<TenantId>().unwrap());
    let range = TimeRange { from_ms: START_NS / 1_000_000 - 1, to_ms: START_NS / 1_000_000 + 1 };
    let rows = warehouse.experiment(&scope, "tone", &ExperimentOwner::Any, range).await.unwrap();
    let of = |variant: &str| {
        let row = rows.iter().find(|row| row.variant == variant && row.metric == "feedback").unwrap();
        (row.units, row.mean, row.variance)
    };
    assert_eq!(of("a"), (2, 0.75, 0.125), "0.5 and 1");
    assert_eq!(of("b"), (1, -1.0, 0.0));
}

fn verdict(id: &str, trace: u8, request: &str, version: &str, score: &str, after_ns: i64) -> EventRow {
    let call_ns = START_NS.to_string();
    let attributes = [
        ("gen_ai.evaluation.name", "grounding"),
        ("gen_ai.evaluation.score.value", score),
        ("control_tower.evaluation.version", version),
        ("control_tower.evaluation.call_time_unix_nano", &call_ns),
    ];
    let call = call(trace, request, "a", 0);
    EventRow {
        time: START_NS + after_ns,
        trace_id: call.trace_id,
        span_id: call.span_id,
        key_id: EVALUATOR_KEY.to_owned(),
        ..event(id, "gen_ai.evaluation.result", after_ns, &attributes)
    }
}

#[tokio::test]
async fn values_are_useful_and_the_newest_verdict_of_a_judge_counts() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let calls =
        [call(1, "r1", "a", 150), call(2, "r2", "a", 50), call(3, "r3", "a", 100), call(3, "r4", "a", 0)];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    let valued = |id: &str, request: &str, amount: &str| {
        let mut event = action(id, id, "value", 1, ("responses", request));
        event.attributes.push(("control_tower.action.value".to_owned(), amount.to_owned()));
        event
    };
    let events = [
        valued("e1", "r1", "12.5"),
        // Worth nothing, or a loss.
        valued("e2", "r2", "0"),
        valued("e3", "r3", "-4"),
        // Version 2 speaks for version 1; a judge that says nothing any more has no score.
        verdict("v1", 1, "r1", "1", "0", 5),
        verdict("v2", 1, "r1", "2", "1", 9),
        verdict("v3", 2, "r2", "1", "1", 5),
        verdict("v4", 2, "r2", "2", "", 9),
        verdict("v5", 3, "r3", "1", "0.25", 5),
        verdict("v6", 3, "r4", "1", "0.75", 5),
    ];
    warehouse.insert_events(&events, "events").await.unwrap();
    let scope = TenantScope::one("acme".parse::<TenantId>().unwrap());
    let range = TimeRange { from_ms: START_NS / 1_000_000 - 1, to_ms: START_NS / 1_000_000 + 1 };
    let rows = warehouse.experiment(&scope, "tone", &ExperimentOwner::Any, range).await.unwrap();
    let of = |metric: &str| {
        let row = rows.iter().find(|row| row.variant == "a" && row.metric == metric).unwrap();
        (row.units, row.mean)
    };
    assert_eq!(of("usd_per_useful_action"), (3, 3.0), "3 dollars, one useful action");
    assert_eq!(of("grounding"), (2, 0.75), "1, and the mean of 0.25 and 0.75");
}

#[tokio::test]
async fn two_tenants_who_name_things_alike_are_kept_apart() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let of_zeta = |call: SpanRow| SpanRow { tenant_id: "zeta".to_owned(), ..call };
    let told_by_zeta = |event: EventRow| EventRow { tenant_id: "zeta".to_owned(), ..event };
    // One trace, response and request id at both, on different arms.
    let calls = [call(1, "r1", "a", 100), of_zeta(call(1, "r1", "b", 300))];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    let first = format!("{:032x}", 1);
    let liked = |score: &str| EventRow {
        trace_id: first.clone(),
        ..event(
            "f1",
            "control_tower.feedback",
            1,
            &[("control_tower.idempotency.key", "k2"), ("control_tower.feedback.score", score)],
        )
    };
    let events = [
        // Of one idempotency key, and of one event id: zeta's is newer, and says otherwise.
        action("e1", "k1", "useful", 1, ("traces", &first)),
        told_by_zeta(action("e1", "k1", "not_useful", 9, ("traces", &first))),
        liked("1"),
        told_by_zeta(liked("-1")),
        verdict("v1", 1, "r1", "1", "0.25", 5),
        told_by_zeta(verdict("v1", 1, "r1", "1", "0.75", 9)),
    ];
    warehouse.insert_events(&events, "events").await.unwrap();
    let both = TenantScope::many(["acme", "zeta"].map(|tenant| tenant.parse().unwrap()).into()).unwrap();
    let range = TimeRange { from_ms: START_NS / 1_000_000 - 1, to_ms: START_NS / 1_000_000 + 1 };
    let rows = warehouse.experiment(&both, "tone", &ExperimentOwner::Any, range).await.unwrap();
    let of = |variant: &str, metric: &str| {
        let row = rows.iter().find(|row| row.variant == variant && row.metric == metric);
        row.map(|row| (row.units, row.mean))
    };
    assert_eq!(of("", "mixed").unwrap_or_default().0, 0, "no trace saw both");
    assert_eq!((of("a", "cost_usd"), of("b", "cost_usd")), (Some((1, 1.0)), Some((1, 3.0))));
    assert_eq!((of("a", "useful_actions"), of("b", "useful_actions")), (Some((1, 1.0)), Some((1, 0.0))));
    assert_eq!((of("a", "usd_per_useful_action"), of("b", "usd_per_useful_action")), (Some((1, 1.0)), None));
    assert_eq!((of("a", "feedback"), of("b", "feedback")), (Some((1, 1.0)), Some((1, -1.0))));
    assert_eq!((of("a", "grounding"), of("b", "grounding")), (Some((1, 0.25)), Some((1, 0.75))));
}

#[tokio::test]
#[ignore = "takes a minute: a million calls"]
async fn a_million_calls_are_compared_within_the_memory_of_a_read() {
    const CALLS: u64 = 1_000_000;
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let from_ms = START_NS / 1_000_000;
    let range = TimeRange { from_ms, to_ms: from_ms + 86_400_000 };
    Load { calls: CALLS, tenants: 3, range }.insert(&warehouse).await;
    let tenants = ["tenant-0", "tenant-1", "tenant-2"].map(|tenant| tenant.parse().unwrap());
    let all = TenantScope::many(tenants.into()).unwrap();
    let rows = warehouse.experiment(&all, "load", &ExperimentOwner::Any, range).await.unwrap();
    let costs = rows.iter().filter(|row| row.metric == "cost_usd" && row.mean > 0.0);
    assert_eq!(costs.map(|row| row.units).sum::<u64>(), CALLS, "each a trace of its own: {rows:?}");
}
