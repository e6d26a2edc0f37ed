//! Golden signals on rows by hand, so few that the answers can be checked by eye.

mod common;

use common::{T0_MS, call, scope};
use contracts::Usd;
use contracts::reads::{CallFilter, Outcome, Signals, TimeRange};
use warehouse::testing::Engine;
use warehouse::{EVALUATOR_KEY, EventRow, SpanRow};

const RANGE: TimeRange = TimeRange { from_ms: T0_MS, to_ms: T0_MS + 3_600_000 };

fn event(id: &str, name: &str, trace: u64, attributes: &[(&str, &str)]) -> EventRow {
    EventRow {
        tenant_id: "acme".into(),
        time: T0_MS * 1_000_000 + 5,
        observed_time: T0_MS * 1_000_000 + 5,
        event_id: id.into(),
        event_name: name.into(),
        trace_id: format!("{trace:032x}"),
        span_id: format!("{trace:016x}"),
        key_id: EVALUATOR_KEY.into(),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        retention_days: 3650,
        ..EventRow::default()
    }
}

fn verdict(id: &str, judge: &str, trace: u64, score: &str, details: &str) -> EventRow {
    let judged = [
        ("gen_ai.evaluation.name", judge),
        ("control_tower.evaluation.version", "1"),
        ("gen_ai.evaluation.score.value", score),
        ("control_tower.evaluation.details", details),
        ("control_tower.evaluation.cost", "0.001"),
    ];
    event(id, "gen_ai.evaluation.result", trace, &judged)
}

fn step(number: u64, trace: u64, operation: &str) -> SpanRow {
    SpanRow {
        record: String::new(),
        trace_id: format!("{trace:032x}"),
        operation: operation.into(),
        cost_total: 0,
        ..call("acme", 100 + number, 0)
    }
}

fn retrieval(number: u64, trace: u64, documents: &str, named: &str) -> SpanRow {
    let span_attributes = vec![("control_tower.truth.documents".to_owned(), named.to_owned())];
    SpanRow { retrieval_documents: documents.into(), span_attributes, ..step(number, trace, "retrieval") }
}

fn near(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?}, expected {expected}");
}

#[tokio::test]
async fn each_signal_is_what_its_definition_says() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let any = CallFilter::default();
    assert_eq!(
        warehouse.golden_signals(&scope("acme"), RANGE, &any, true).await.unwrap(),
        Signals::default()
    );

    let ttft = |number: u64, ms: u64| {
        let model = if number == 1 { "gpt-large" } else { "gpt-small" };
        SpanRow { ttft_ns: ms * 1_000_000, request_model: model.into(), ..call("acme", number, 1_000) }
    };
    let attempt = |number: u64, ms: u64| common::attempt(&ttft(number, ms));
    let spans = vec![
        // Requests of 100, 200 and 300 ms, and one without content; attempts of 50 and 150 ms.
        ttft(1, 100),
        ttft(2, 200),
        ttft(3, 300),
        ttft(4, 0),
        attempt(1, 50),
        attempt(2, 150),
        // Of four tool executions one failed by class, one by status.
        step(1, 1, "execute_tool"),
        step(2, 1, "execute_tool"),
        SpanRow { error_type: "timeout".into(), ..step(3, 1, "execute_tool") },
        SpanRow { status: "error".into(), ..step(4, 2, "execute_tool") },
        // Of five retrievals: one used by the answer, one named by the truth, one used for no supported claim, one not judged, one empty.
        retrieval(5, 1, r#"[{"id":"a","score":0.9},{"id":"b"}]"#, ""),
        retrieval(6, 9, r#"[{"id":"c"}]"#, r#"["x","c"]"#),
        retrieval(7, 2, r#"[{"id":"d"}]"#, ""),
        retrieval(8, 9, r#"[{"id":"e"}]"#, ""),
        retrieval(9, 1, "[]", ""),
        // Somebody else's.
        SpanRow { tenant_id: "other".into(), ..step(10, 1, "execute_tool") },
    ];
    warehouse.insert_spans(&spans, "spans").await.unwrap();
    let grounded = r#"{"claims":[{"support":0.9,"evidence":{"passage":1}},{"support":0.2,"evidence":{"passage":0}}],
        "passages":[{"index":0,"id":"z"},{"index":1,"id":"b"}]}"#;
    let baseless =
        r#"{"claims":[{"support":0.1,"evidence":{"passage":0}}],"passages":[{"index":0,"id":"d"}]}"#;
    let later = EventRow { time: T0_MS * 1_000_000 + 9, ..verdict("v2", "hallucination", 1, "0.2", "") };
    let action = |id: &str, trace: u64, outcome: &str| {
        let said = [
            ("control_tower.action.outcome", outcome),
            ("control_tower.action.traces", &format!("[\"{trace:032x}\"]")),
        ];
        event(id, "control_tower.action", trace, &said)
    };
    let events = [
        // The later of two verdicts on one call counts; one does not apply.
        verdict("v1", "hallucination", 1, "0.9", ""),
        later,
        verdict("v3", "hallucination", 2, "0.6", ""),
        verdict("v4", "hallucination", 3, "", ""),
        verdict("v5", "grounding", 1, "0.5", grounded),
        verdict("v6", "grounding", 2, "0", baseless),
        // Two actions by one call each, one of them useful, and one of which nothing is known.
        action("a1", 1, "useful"),
        action("a2", 3, "not_useful"),
        action("a3", 77, "useful"),
    ];
    warehouse.insert_events(&events, "events").await.unwrap();

    let signals = warehouse.golden_signals(&scope("acme"), RANGE, &any, true).await.unwrap();
    assert!(signals.ttft_per_request.is_some());
    let quicker = warehouse.golden_signals(&scope("acme"), RANGE, &any, false).await.unwrap();
    let without = Signals { ttft_per_request: None, ttft_per_attempt: None, ..signals };
    assert_eq!(quicker, without, "the rest is the same without the time to the first token");
    near(signals.tool_error_rate, 2.0 / 4.0);
    near(signals.retrieval_hit_rate, 2.0 / 5.0);
    assert_eq!((signals.retrievals, signals.retrievals_known, signals.tools), (5, 4, 4));
    assert_eq!((signals.hallucination_judged, signals.grounding_judged), (2, 2));
    near(signals.hallucination_proxy, 0.4);
    near(signals.grounding_coverage, 0.25);
    let (request, attempt) = (signals.ttft_per_request.unwrap(), signals.ttft_per_attempt.unwrap());
    assert_eq!((request.measured, attempt.measured), (3, 2));
    near(Some(request.p50_ms), 200.0);
    near(Some(request.p95_ms), 290.0);
    near(Some(attempt.p50_ms), 100.0);
    // Two calls of 0.003 dollars; the first was judged three times, twice by the same judge, and the second once, at 0.001 dollars each.
    assert_eq!(signals.dollars_per_useful_action, Some("0.010".parse::<Usd>().unwrap()));
    assert_eq!((signals.actions, signals.useful_actions), (2, 1));

    // The same over calls of one model: the one with verdicts 0.2 and 0.5, three of four tool executions, and the useful action.
    let first = CallFilter { models: vec!["gpt-large".to_owned()], ..CallFilter::default() };
    let signals = warehouse.golden_signals(&scope("acme"), RANGE, &first, true).await.unwrap();
    near(signals.hallucination_proxy, 0.2);
    near(signals.grounding_coverage, 0.5);
    near(signals.tool_error_rate, 1.0 / 3.0);
    near(signals.retrieval_hit_rate, 1.0 / 2.0);
    assert_eq!((signals.hallucination_judged, signals.retrievals, signals.tools), (1, 2, 3));
    let (request, attempt) = (signals.ttft_per_request.unwrap(), signals.ttft_per_attempt.unwrap());
    assert_eq!((request.measured, attempt.measured), (1, 1));
    assert_eq!(signals.dollars_per_useful_action, Some("0.006".parse::<Usd>().unwrap()));
    assert_eq!((signals.actions, signals.useful_actions), (1, 1));
    // A filter that picks no call leaves nothing, whatever it asks for.
    for filter in [
        CallFilter { text: Some("nobody said this".to_owned()), ..CallFilter::default() },
        CallFilter { outcome: Some(Outcome::Error), ..CallFilter::default() },
        CallFilter { keys: vec!["key-z".to_owned()], ..CallFilter::default() },
    ] {
        let signals = warehouse.golden_signals(&scope("acme"), RANGE, &filter, true).await.unwrap();
        assert_eq!(signals, Signals::default(), "{filter:?}");
    }
}
