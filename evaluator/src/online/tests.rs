//! Online evaluation on the real engine: every call judged once per version, whoever works, dies or comes late.

mod changes;
mod costs;

use super::worker::Batch;
use super::{OnlineMetrics, Planner, Shared, Worker, generation};
use crate::config::{Config, SamplingRule};
use crate::judges::{Judge, JudgesConfig, Registry};
use contracts::policy::{KeyPolicy, Snapshot, TenantPolicy};
use contracts::reads::{TenantScope, TimeRange};
use contracts::{TenantId, Timestamp};
use control::records::JudgingStream;
use control::{Judging, SnapshotHandle};
use runtime::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use warehouse::testing::Engine;
use warehouse::{EventRow, SpanRow, StoredVerdict, VerdictPage, Warehouse};

/// 2026-11-02T10:00:00Z.
const NOW: i64 = 1_793_613_600;

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

/// A call `seconds` before now that asks for a capital and gets this answer from this context.
fn call(id: u64, seconds: i64, answer: &str, context: &str) -> SpanRow {
    let text = |role: &str, text: &str| {
        serde_json::json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string()
    };
    SpanRow {
        tenant_id: "acme".to_owned(),
        start_time: (NOW - seconds) * 1_000_000_000 + i64::try_from(id).unwrap(),
        trace_id: format!("{id:032x}"),
        span_id: format!("{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        record: "call".to_owned(),
        operation: "chat".to_owned(),
        route: if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        request_model: "m".to_owned(),
        response_id: format!("resp-{id}"),
        http_status: 200,
        input_messages: text("user", "What is the capital of Italy?"),
        output_messages: text("assistant", answer),
        retrieval_documents: if context.is_empty() {
            String::new()
        } else {
            serde_json::json!([{"id": "d1", "text": context, "source": "wiki"}]).to_string()
        },
        retention_days: 3650,
        ..SpanRow::default()
    }
}

struct Bench {
    _engine: Engine,
    _dir: tempfile::TempDir,
    warehouse: Warehouse,
    judging: Judging,
    clock: Clock,
}

impl Bench {
    async fn new() -> Self {
        let engine = Engine::start().await;
        let warehouse = engine.warehouse("control_tower").await;
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("control.db").display());
        let judging = Judging::open(&url).await.unwrap();
        let clock = Clock::manual(Timestamp::from_unix_seconds(NOW));
        Self { _engine: engine, _dir: dir, warehouse, judging, clock }
    }

    fn shared(&self, config: Config, registry: Registry) -> Shared {
        let key = KeyPolicy::new("key-1".parse().unwrap(), Arc::new(TenantPolicy::new(tenant())));
        let mut snapshot = Snapshot::default();
        snapshot.keys.insert(control::secrets::hash("secret"), Arc::new(key));
        Shared {
            generation: generation(&registry),
            process: control::secrets::random_hex::<4>().unwrap(),
            spending: tokio_util::task::TaskTracker::new(),
            clock: self.clock.clone(),
            metrics: OnlineMetrics::default(),
            config: Arc::new(config),
            registry,
            warehouse: self.warehouse.clone(),
            judging: self.judging.clone(),
            snapshots: SnapshotHandle::fixed(snapshot),
        }
    }

    async fn verdicts(&self) -> Vec<StoredVerdict> {
        let range = TimeRange { from_ms: (NOW - 86_400) * 1000, to_ms: (NOW + 86_400) * 1000 };
        let page = VerdictPage { rows: 100_000, ..VerdictPage::default() };
        self.warehouse.evaluations(&TenantScope::one(tenant()), range, &page).await.unwrap()
    }

    /// How often each judge's each version looked at each call.
    async fn counts(&self) -> BTreeMap<(String, String, String), usize> {
        let mut counts = BTreeMap::new();
        for stored in self.verdicts().await {
            let verdict = stored.verdict;
            *counts.entry((verdict.subject.span_id, verdict.judge, verdict.version)).or_default() += 1;
        }
        counts
    }
}

fn registry(names: &[&str]) -> Registry {
    let enabled = names.iter().map(|name| (*name).to_owned()).collect();
    Registry::built_in(&JudgesConfig { enabled, ..JudgesConfig::default() }, None).unwrap()
}

fn small() -> Config {
    Config { chunk_calls: 7, open_chunks: 3, ..Config::default() }
}

/// Plans and works until nothing is left.
async fn drain(shared: &Shared) {
    let (mut planner, worker) = (Planner::new(shared.clone()), Worker::new(shared.clone(), 0));
    let mut idle = 0;
    while idle < 2 {
        let planned = planner.round().await.unwrap();
        let mut worked = false;
        while worker.round().await.unwrap() {
            worked = true;
        }
        idle = if planned == 0 && !worked { idle + 1 } else { 0 };
    }
}

#[tokio::test]
async fn calls_get_their_verdicts_once_and_new_versions_get_theirs() {
    let bench = Bench::new().await;
    let mut spans: Vec<SpanRow> = (0..50)
        .map(|id| {
            call(
                id,
                600 - i64::try_from(id).unwrap(),
                "The capital is Rome.",
                "Rome is the capital of Italy.",
            )
        })
        .collect();
    spans.push(call(50, 500, "The capital is Paris, founded in 1492.", "Rome is the capital of Italy."));
    spans.push(call(51, 500, "Mail me at bob@corp.io", ""));
    spans.push(SpanRow { error_type: "timeout".to_owned(), ..call(52, 500, "", "") });
    spans.push(SpanRow { operation: "embeddings".to_owned(), ..call(53, 500, "", "") });
    bench.warehouse.insert_spans(&spans, "calls").await.unwrap();

    let judges = ["grounding", "hallucination", "pii_leak"];
    let shared = bench.shared(small(), registry(&judges));
    drain(&shared).await;
    let counts = bench.counts().await;
    assert_eq!(counts.len(), 52 * 3);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");

    let verdicts = bench.verdicts().await;
    let of = |id: u64, judge: &str| {
        let span = call(id, 0, "", "").span_id;
        verdicts.iter().map(|s| &s.verdict).find(|v| v.subject.span_id == span && v.judge == judge).unwrap()
    };
    assert_eq!(of(51, "pii_leak").label, "leak");
    assert_eq!(of(51, "grounding").label, "not_applicable");
    assert_eq!(of(50, "grounding").label, "fail");
    assert!(of(50, "hallucination").score.unwrap() > of(7, "hallucination").score.unwrap());
    assert_eq!(of(7, "grounding").score, Some(1.0));
    let claim = &of(7, "grounding").details["claims"][0];
    assert_eq!(claim["evidence"]["passage"], 0);
    assert_eq!(of(7, "grounding").details["passages"][0]["id"], "d1");
    assert_eq!(of(7, "grounding").subject.response_id, "resp-7");

    // Late calls are found by looking back, and nobody is judged twice.
    bench.warehouse.insert_spans(&[call(60, 1200, "Rome.", "Rome is in Italy.")], "late").await.unwrap();
    bench.clock.advance(Duration::from_mins(5));
    drain(&shared).await;
    assert_eq!(bench.counts().await.len(), 53 * 3);

    // A judge that is added judges what the look back reaches; the others do not again.
    let more = bench.shared(small(), registry(&["grounding", "hallucination", "pii_leak", "refusal"]));
    drain(&more).await;
    let counts = bench.counts().await;
    assert_eq!(counts.len(), 53 * 4);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn a_verdict_that_somebody_else_wrote_in_our_name_counts_for_nothing() {
    let bench = Bench::new().await;
    let one = call(1, 600, "Rome.", "");
    bench.warehouse.insert_spans(std::slice::from_ref(&one), "calls").await.unwrap();
    let shared = bench.shared(Config::default(), registry(&["refusal"]));
    let forged = |id: &str, key_id: &str, service: &str| EventRow {
        tenant_id: "acme".to_owned(),
        time: one.start_time + 5,
        event_id: id.to_owned(),
        event_name: contracts::verdict::EVENT_NAME.to_owned(),
        trace_id: one.trace_id.clone(),
        span_id: one.span_id.clone(),
        service_name: service.to_owned(),
        key_id: key_id.to_owned(),
        attributes: [
            ("gen_ai.evaluation.name", "refusal"),
            ("gen_ai.evaluation.score.value", "0.5"),
            ("gen_ai.evaluation.score.label", "forged"),
            ("control_tower.evaluation.version", shared.registry.get("refusal").unwrap().version()),
            ("control_tower.evaluation.call_time_unix_nano", &one.start_time.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        retention_days: 3650,
        ..EventRow::default()
    };
    // What a tenant's telemetry can look like: any service it likes, none, and a key of its own.
    let events = [
        forged("e1", "", "control-tower-evaluator"),
        forged("e2", "", ""),
        forged("e3", "key-1", "control-tower-evaluator"),
    ];
    bench.warehouse.insert_events(&events, "forged").await.unwrap();
    drain(&shared).await;
    let verdicts = bench.verdicts().await;
    let ours: Vec<&str> =
        verdicts.iter().filter(|s| s.source.is_empty()).map(|s| s.verdict.label.as_str()).collect();
    assert_eq!(ours, ["answered"]);
    let mut others: Vec<&str> =
        verdicts.iter().map(|s| s.source.as_str()).filter(|s| !s.is_empty()).collect();
    others.sort_unstable();
    assert_eq!(others, ["control-tower-evaluator", "key-1", "unknown"]);
    // Of one judge's verdicts ours comes first, however late the others say they are.
    let scope = TenantScope::one(tenant());
    let of_call =
        bench.warehouse.evaluations_of_call(&scope, &one.trace_id, &one.span_id, None).await.unwrap();
    assert_eq!((of_call.len(), of_call[0].verdict.label.as_str()), (4, "answered"));
}

#[tokio::test]
async fn a_long_stream_is_judged_when_it_has_ended_without_looking_back() {
    let bench = Bench::new().await;
    let shared = bench.shared(Config::default(), registry(&["refusal"]));
    let mut planner = Planner::new(shared.clone());
    // The first round looks back; from here on the live stream moves along, and looks back in three minutes.
    assert_eq!(planner.round().await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(planner.round().await.unwrap(), 0);
    // It began twenty minutes ago and ends now, so it comes now; beside it a quick one.
    let lasted = |id: u64, seconds: i64| SpanRow {
        start_time: (NOW + 20 - seconds) * 1_000_000_000,
        duration_ns: seconds.unsigned_abs() * 1_000_000_000,
        ..call(id, 0, "Rome.", "")
    };
    bench.warehouse.insert_spans(&[lasted(1, 1_200), lasted(2, 1)], "calls").await.unwrap();
    assert_eq!(planner.round().await.unwrap(), 0, "not settled");
    bench.clock.advance(Config::default().settle + Duration::from_millis(1));
    assert_eq!(planner.round().await.unwrap(), 2);
    while Worker::new(shared.clone(), 0).round().await.unwrap() {}
    assert_eq!(bench.counts().await.len(), 2);
    // Nothing is planned again, neither by moving on nor by looking back.
    for _ in 0..3 {
        bench.clock.advance(Duration::from_mins(2));
        assert_eq!(planner.round().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn samples_by_route_are_the_same_whoever_takes_them() {
    let bench = Bench::new().await;
    let spans: Vec<SpanRow> = (0..400).map(|id| call(id, 600, "Rome.", "")).collect();
    bench.warehouse.insert_spans(&spans, "calls").await.unwrap();
    let config = |sample| Config {
        sample,
        sampling: vec![SamplingRule { tenant: None, route: Some("even".to_owned()), share: 0.0 }],
        ..Config::default()
    };
    drain(&bench.shared(config(0.5), registry(&["refusal"]))).await;
    let first = bench.counts().await;
    assert!((60..=140).contains(&first.len()), "{} of 200", first.len());
    // Another set of judges takes the same calls, and a larger share all of them.
    drain(&bench.shared(config(0.5), registry(&["toxicity"]))).await;
    assert_eq!(bench.counts().await.len(), 2 * first.len());
    drain(&bench.shared(config(1.0), registry(&["refusal", "toxicity"]))).await;
    assert_eq!(bench.counts().await.len(), 400);
}

#[tokio::test]
async fn a_back_fill_judges_its_range_and_ends() {
    let bench = Bench::new().await;
    let spans: Vec<SpanRow> =
        (0..40).map(|id| call(id, 20_000 - 100 * i64::try_from(id).unwrap(), "Rome.", "")).collect();
    bench.warehouse.insert_spans(&spans, "calls").await.unwrap();
    let shared = bench.shared(small(), registry(&["refusal"]));
    drain(&shared).await;
    assert_eq!(bench.counts().await.len(), 0, "older than the look back");
    let back_fill = JudgingStream {
        id: "backfill-1".to_owned(),
        generation: shared.generation.clone(),
        judges: shared.registry.versions(),
        tenant: Some(tenant()),
        next_ns: (NOW - 20_000) * 1_000_000_000,
        until_ns: Some((NOW - 18_000) * 1_000_000_000),
        planned: 0,
        created_at: Timestamp::from_unix_seconds(NOW),
        finished_at: None,
    };
    bench.judging.ensure_stream(&back_fill).await.unwrap();
    drain(&shared).await;
    assert_eq!(bench.counts().await.len(), 20);
    let streams = bench.judging.streams(&shared.generation).await.unwrap();
    assert_eq!((streams[1].planned, streams[1].finished_at.is_some()), (20, true));
}

/// Judges at random speed, so that a test can make others overtake it.
#[derive(Debug)]
struct Slow(Duration);

impl Judge for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a crate::judges::Subject) -> crate::judges::Judging<'a> {
        Box::pin(async move {
            tokio::time::sleep(self.0).await;
            Ok(subject.verdict(self, Some(1.0), "pass"))
        })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_die_or_oversleep_leave_no_gap_and_no_double() {
    let bench = Bench::new().await;
    let spans: Vec<SpanRow> = (0..200).map(|id| call(id, 600, "Rome.", "")).collect();
    bench.warehouse.insert_spans(&spans, "calls").await.unwrap();
    let judges = || Registry::new(vec![Arc::new(Slow(Duration::from_millis(5)))]);
    let config = Config { chunk_calls: 20, open_chunks: 5, ..Config::default() };
    let shared = bench.shared(config.clone(), judges());
    let mut planner = Planner::new(shared.clone());
    // Each round four workers start; each is dropped at another point of its work, and time passes so that leases run out.
    for round in 0..12_u64 {
        planner.round().await.unwrap();
        let workers: Vec<_> = (0..4_u64)
            .map(|number| {
                let worker = Worker::new(bench.shared(config.clone(), judges()), 0);
                tokio::spawn(async move {
                    let until = Duration::from_millis(7 + 11 * number + 5 * round);
                    let _ = tokio::time::timeout(until, worker.round()).await;
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        bench.clock.advance(Duration::from_secs(61));
    }
    drain(&shared).await;
    let counts = bench.counts().await;
    assert_eq!(counts.len(), 200);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[tokio::test]
async fn a_chunk_that_was_written_but_not_struck_off_counts_once() {
    let bench = Bench::new().await;
    let spans: Vec<SpanRow> = (0..10).map(|id| call(id, 600, "Rome.", "")).collect();
    bench.warehouse.insert_spans(&spans, "calls").await.unwrap();
    let shared = bench.shared(Config::default(), registry(&["refusal"]));
    Planner::new(shared.clone()).round().await.unwrap();
    // Written by one whose lease ran out, as far as the others know, then by the one who took over.
    let lease = Duration::from_mins(1);
    let late = bench
        .judging
        .take_chunk(&shared.generation, "late", lease, shared.clock.now())
        .await
        .unwrap()
        .unwrap();
    bench.clock.advance(Duration::from_secs(61));
    let next = bench
        .judging
        .take_chunk(&shared.generation, "next", lease, shared.clock.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(late.plan, next.plan);
    let worker = |name: &str| Worker { name: name.to_owned(), shared: shared.clone() };
    assert!(worker("late").write(&late, &mut Batch::new(&late)).await.is_err(), "who lost it does not write");
    let calls: Vec<warehouse::UnjudgedCall> = next.plan.calls.iter().map(super::worker::unjudged).collect();
    let found = bench.warehouse.judge_calls(&calls, &next.plan.judges, 0).await.unwrap();
    let mut batch = Batch::new(&next);
    worker("next").judge(&next, &calls, &found, &mut batch).await.unwrap();
    let token = format!("judging-{}", next.plan.id);
    // The clock of the first was wrong, so it did write, and more than once.
    for _ in 0..3 {
        bench.warehouse.insert_events(&batch.rows, &token).await.unwrap();
    }
    worker("next").write(&next, &mut batch).await.unwrap();
    bench.clock.advance(Duration::from_secs(61));
    drain(&shared).await;
    let counts = bench.counts().await;
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}
