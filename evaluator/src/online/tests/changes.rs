//! When judges change, when whom they ask is away, when a chunk cannot be judged: nothing is lost, nothing stands still.

use super::*;
use crate::judges::{ERROR, JudgeError, Judging as Answer, Subject};
use control::records::NewChunk;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

const FINE: u8 = 0;
const AWAY: u8 = 1;
const SPENT: u8 = 2;
const BROKEN: u8 = 3;

/// Asks somebody who is as a test wants him to be.
#[derive(Debug, Clone, Default)]
struct Remote {
    state: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

impl Remote {
    fn is(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
}

impl Judge for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Answer<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let judge = || "remote".to_owned();
        let said = match self.state.load(Ordering::SeqCst) {
            AWAY => Err(JudgeError::Unavailable { judge: judge(), reason: "nobody answers".to_owned() }),
            SPENT => Err(JudgeError::Budget { judge: judge(), budget: "1".to_owned() }),
            BROKEN => {
                Err(JudgeError::Failed { judge: judge(), reason: "no grade".to_owned(), retryable: false })
            }
            _ => Ok(subject.verdict(self, Some(1.0), "pass")),
        };
        Box::pin(async move { said })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// `count` calls, the first `seconds` before now and the others each a second later.
async fn calls(bench: &Bench, ids: std::ops::Range<u64>, seconds: i64) {
    let spans: Vec<SpanRow> = ids
        .clone()
        .map(|id| call(id, seconds - i64::try_from(id - ids.start).unwrap(), "Rome.", ""))
        .collect();
    bench.warehouse.insert_spans(&spans, &format!("calls-{}", ids.start)).await.unwrap();
}

/// How many calls each judge has looked at, and how often it did so more than once.
async fn judged(bench: &Bench) -> BTreeMap<String, (usize, usize)> {
    let mut judged: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for ((_, judge, _), times) in bench.counts().await {
        let of = judged.entry(judge).or_default();
        *of = (of.0 + 1, of.1 + times - 1);
    }
    judged
}

pub(super) fn back_fill(shared: &Shared, from: i64, until: i64) -> JudgingStream {
    JudgingStream {
        id: "backfill-1".to_owned(),
        generation: shared.generation.clone(),
        judges: shared.registry.versions(),
        tenant: Some(tenant()),
        next_ns: (NOW - from) * 1_000_000_000,
        until_ns: Some((NOW - until) * 1_000_000_000),
        planned: 0,
        created_at: shared.clock.now(),
        finished_at: None,
    }
}

#[tokio::test]
async fn what_earlier_judges_left_open_takes_no_room_and_is_planned_again() {
    let bench = Bench::new().await;
    calls(&bench, 0..30, 600).await;
    let before = bench.shared(small(), registry(&["refusal"]));
    assert_eq!(Planner::new(before.clone()).round().await.unwrap(), 21, "all the room there is");
    let after = bench.shared(small(), registry(&["refusal", "toxicity"]));
    let mut planner = Planner::new(after.clone());
    assert_eq!(planner.round().await.unwrap(), 9, "the others of the thirty");
    drain(&after).await;
    assert_eq!(judged(&bench).await["toxicity"], (9, 0), "somebody may still be at work on the first");
    bench.clock.advance(Duration::from_mins(11));
    drain(&after).await;
    assert_eq!(judged(&bench).await, [("refusal", (30, 0)), ("toxicity", (30, 0))].map(named).into());
}

fn named<T>((name, of): (&str, T)) -> (String, T) {
    (name.to_owned(), of)
}

#[tokio::test]
async fn calls_of_an_outage_with_a_change_of_judges_are_judged() {
    let bench = Bench::new().await;
    calls(&bench, 0..5, 600).await;
    let before = bench.shared(small(), registry(&["refusal"]));
    drain(&before).await;
    // A back-fill that nobody works any more, too.
    calls(&bench, 50..60, 20_000).await;
    bench.judging.ensure_stream(&back_fill(&before, 20_000, 18_000)).await.unwrap();
    // Three hours without an evaluator, of which a look back reaches one.
    calls(&bench, 10..20, -60).await;
    bench.clock.advance(Duration::from_hours(3));
    let after = bench.shared(small(), registry(&["refusal", "toxicity"]));
    drain(&after).await;
    let judged = judged(&bench).await;
    assert_eq!((judged["refusal"], judged["toxicity"].1), ((25, 0), 0));
    assert!(judged["toxicity"].0 >= 10, "{judged:?}");
    let streams = bench.judging.backfills(&tenant()).await.unwrap();
    assert!(streams[0].finished_at.is_some() && streams[0].planned == 10, "{streams:?}");
}

#[tokio::test]
async fn who_is_away_is_asked_again_later() {
    let bench = Bench::new().await;
    calls(&bench, 0..40, 600).await;
    let remote = Remote::default();
    let shared = bench.shared(small(), registry(&["refusal"]).with(vec![Arc::new(remote.clone())]));
    remote.is(AWAY);
    drain(&shared).await;
    assert_eq!(judged(&bench).await, [("refusal", (40, 0))].map(named).into());
    let asked = remote.asked.load(Ordering::SeqCst);
    assert!(asked <= 30, "{asked} times for 40 calls: nobody asks who does not answer");
    assert_eq!(bench.judging.paused_judges(shared.clock.now()).await.unwrap().len(), 1);
    remote.is(FINE);
    bench.clock.advance(Duration::from_mins(4));
    drain(&shared).await;
    assert_eq!(judged(&bench).await, [("refusal", (40, 0)), ("remote", (40, 0))].map(named).into());
}

#[tokio::test]
async fn a_back_fill_goes_on_when_the_budget_is_whole_again() {
    let bench = Bench::new().await;
    calls(&bench, 0..20, 20_000).await;
    let remote = Remote::default();
    let shared = bench.shared(small(), Registry::new(vec![Arc::new(remote.clone())]));
    bench.judging.ensure_stream(&back_fill(&shared, 20_000, 18_000)).await.unwrap();
    remote.is(SPENT);
    drain(&shared).await;
    assert_eq!(judged(&bench).await, BTreeMap::new(), "no budget is no verdict");
    remote.is(FINE);
    bench.clock.advance(Duration::from_hours(1));
    drain(&shared).await;
    assert_eq!(judged(&bench).await, BTreeMap::new(), "not today");
    bench.clock.advance(Duration::from_hours(23));
    drain(&shared).await;
    assert_eq!(judged(&bench).await, [("remote", (20, 0))].map(named).into());
    assert!(bench.judging.backfills(&tenant()).await.unwrap()[0].finished_at.is_some());
}

#[tokio::test]
async fn a_back_fill_judges_again_what_failed_before_it_was_asked_for() {
    let bench = Bench::new().await;
    calls(&bench, 0..10, 600).await;
    let remote = Remote::default();
    let shared = bench.shared(small(), Registry::new(vec![Arc::new(remote.clone())]));
    remote.is(BROKEN);
    drain(&shared).await;
    bench.clock.advance(Duration::from_mins(5));
    drain(&shared).await;
    let labels = |verdicts: Vec<StoredVerdict>, label: &str| {
        verdicts.iter().filter(|stored| stored.verdict.label == label).count()
    };
    assert_eq!(labels(bench.verdicts().await, ERROR), 10, "the live stream leaves it at that");
    remote.is(FINE);
    bench.judging.ensure_stream(&back_fill(&shared, 1_000, 0)).await.unwrap();
    drain(&shared).await;
    bench.clock.advance(Duration::from_mins(5));
    drain(&shared).await;
    let verdicts = bench.verdicts().await;
    assert_eq!((verdicts.len(), labels(verdicts, "pass")), (20, 10));
}

#[tokio::test]
async fn a_call_is_not_planned_while_its_verdict_may_be_on_its_way() {
    let bench = Bench::new().await;
    calls(&bench, 0..7, 600).await;
    let shared = bench.shared(small(), registry(&["refusal"]));
    let mut planner = Planner::new(shared.clone());
    assert_eq!(planner.round().await.unwrap(), 7);
    // Written, but at a replica that ours has not heard of yet.
    let now = shared.clock.now();
    let lease = Duration::from_mins(1);
    let chunk = bench.judging.take_chunk(&shared.generation, "a", lease, now).await.unwrap().unwrap();
    assert!(bench.judging.finish_chunk(&chunk.plan.id, "a", chunk.fence, now).await.unwrap());
    let mut planner = Planner::new(shared.clone());
    bench.clock.advance(Duration::from_secs(30));
    assert_eq!(planner.round().await.unwrap(), 0);
    // Other judges have nothing to wait for.
    let other = bench.shared(small(), registry(&["toxicity"]));
    assert_eq!(Planner::new(other.clone()).round().await.unwrap(), 7);
    assert!(Worker::new(other, 0).round().await.unwrap());
    // It never came: the calls are judged after all.
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(planner.round().await.unwrap(), 7);
}

#[tokio::test]
async fn a_call_that_cannot_be_judged_stops_no_other() {
    let bench = Bench::new().await;
    calls(&bench, 0..7, 600).await;
    let shared = bench.shared(small(), registry(&["refusal", "pii_leak"]));
    assert_eq!(Planner::new(shared.clone()).round().await.unwrap(), 7);
    // As if a read were too large, or an insert refused, again and again.
    for _ in 0..6 {
        let now = shared.clock.now();
        let lease = Duration::from_mins(1);
        let chunk = bench.judging.take_chunk(&shared.generation, "a", lease, now).await.unwrap().unwrap();
        bench.judging.fail_chunk(&chunk.plan.id, "a", chunk.fence, now).await.unwrap();
    }
    calls(&bench, 10..15, 300).await;
    drain(&shared).await;
    assert_eq!(bench.judging.count_chunks(&shared.generation).await.unwrap(), 0);
    assert_eq!(judged(&bench).await, [("pii_leak", (12, 0)), ("refusal", (12, 0))].map(named).into());
    let verdicts = bench.verdicts().await;
    let broken: Vec<&StoredVerdict> =
        verdicts.iter().filter(|stored| stored.verdict.label == ERROR).collect();
    assert_eq!(broken.len(), 14, "seven calls by two judges");
    assert!(broken[0].verdict.explanation.contains("could not be judged 6 times"), "{:?}", broken[0]);
}

#[tokio::test]
async fn a_chunk_of_a_tenant_with_an_impossible_id_comes_to_an_end() {
    let bench = Bench::new().await;
    let odd = SpanRow { tenant_id: "no id".to_owned(), ..call(1, 600, "Rome.", "") };
    bench.warehouse.insert_spans(&[odd.clone(), call(2, 600, "Rome.", "")], "calls").await.unwrap();
    let shared = bench.shared(small(), registry(&["refusal"]));
    let lease = bench.judging.acquire("planner", "p", Duration::from_mins(1), shared.clock.now()).await;
    let fine = call(2, 600, "", "");
    let chunk = NewChunk {
        id: "1".to_owned(),
        stream_id: "live-1".to_owned(),
        generation: shared.generation.clone(),
        judges: shared.registry.versions(),
        calls: [odd, fine]
            .map(|span| (span.tenant_id, span.start_time, span.trace_id, span.span_id))
            .to_vec(),
    };
    let lease = lease.unwrap().unwrap();
    assert!(bench.judging.commit_plan(&lease, &[chunk], &[], shared.clock.now()).await.unwrap());
    let worker = Worker::new(shared.clone(), 0);
    let mut rounds = 0;
    while bench.judging.count_chunks(&shared.generation).await.unwrap() > 0 {
        rounds += 1;
        assert!(rounds < 10, "it is tried for ever");
        let _ = worker.round().await;
        bench.clock.advance(Duration::from_mins(10));
    }
    assert_eq!(judged(&bench).await, [("refusal", (1, 0))].map(named).into());
}
