//! What evaluators share: one holder of a lease, one worker of a chunk, whatever the others try.

use crate::support::{NOW, Store};
use contracts::{Timestamp, Usd};
use control::Judging;
use control::records::{JudgingStream, Lease, NewChunk, OpenChunk, StreamProgress};
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanos(NOW.unix_nanos() + seconds * 1_000_000_000)
}

fn stream() -> JudgingStream {
    JudgingStream {
        id: "live-1".to_owned(),
        generation: "g".to_owned(),
        judges: vec!["refusal@1".to_owned()],
        tenant: None,
        next_ns: 7,
        until_ns: None,
        planned: 0,
        created_at: NOW,
        finished_at: None,
    }
}

fn chunk(id: &str) -> NewChunk {
    NewChunk {
        id: id.to_owned(),
        stream_id: "live-1".to_owned(),
        generation: "g".to_owned(),
        judges: vec!["refusal@1".to_owned()],
        calls: vec![("acme".to_owned(), 5, "t".to_owned(), "s".to_owned())],
    }
}

async fn planner(judging: &Judging, holder: &str, seconds: i64) -> Option<Lease> {
    judging.acquire("planner", holder, MINUTE, at(seconds)).await.unwrap()
}

pub async fn a_lease_has_one_holder(store: Store) {
    let judging = store.control.judging();
    let before = store.control.version().await.unwrap();
    let first = planner(&judging, "a", 0).await.unwrap();
    assert_eq!(planner(&judging, "b", 59).await, None);
    assert_eq!(planner(&judging, "a", 59).await, None, "not twice at a time, whoever asks");
    let second = planner(&judging, "b", 60).await.unwrap();
    assert!(second.fence > first.fence);
    // Who lost it cannot give it back in another's name.
    judging.release(&first).await.unwrap();
    assert_eq!(planner(&judging, "c", 61).await, None);
    judging.release(&second).await.unwrap();
    assert!(planner(&judging, "c", 61).await.is_some());
    assert_eq!(store.control.version().await.unwrap(), before, "no snapshot shows leases");
}

pub async fn a_plan_needs_its_lease(store: Store) {
    let judging = store.control.judging();
    judging.ensure_stream(&stream()).await.unwrap();
    judging.ensure_stream(&JudgingStream { next_ns: 99, ..stream() }).await.unwrap();
    assert_eq!(judging.streams("g").await.unwrap(), [stream()]);
    assert!(judging.streams("other").await.unwrap().is_empty());

    let lost = planner(&judging, "a", 0).await.unwrap();
    let held = planner(&judging, "b", 60).await.unwrap();
    let step = |from_ns, next_ns| {
        let id = "live-1".to_owned();
        [StreamProgress { id, from_ns, next_ns, planned: 3, finished: true }]
    };
    let progress = step(7, 42);
    assert!(!judging.commit_plan(&lost, &[chunk("1")], &progress, at(61)).await.unwrap());
    assert!(judging.open_chunks().await.unwrap().is_empty());
    assert!(judging.commit_plan(&held, &[chunk("1")], &progress, at(61)).await.unwrap());
    let open = OpenChunk {
        stream_id: "live-1".to_owned(),
        generation: "g".to_owned(),
        judges: chunk("1").judges,
        calls: chunk("1").calls,
        finished: false,
    };
    assert_eq!(judging.open_chunks().await.unwrap(), [open]);
    let moved = JudgingStream { next_ns: 42, planned: 3, finished_at: Some(at(61)), ..stream() };
    assert_eq!(judging.streams("g").await.unwrap(), std::slice::from_ref(&moved));
    // Whoever planned from where the stream no longer is does not move it.
    assert!(judging.commit_plan(&held, &[], &step(7, 99), at(61)).await.unwrap());
    assert_eq!(judging.streams("g").await.unwrap(), [JudgingStream { planned: 6, ..moved }]);
}

pub async fn a_chunk_is_worked_by_one(store: Store) {
    let judging = store.control.judging();
    let lease = planner(&judging, "p", 0).await.unwrap();
    judging.commit_plan(&lease, &[chunk("1"), chunk("2")], &[], NOW).await.unwrap();
    let (a, b) = tokio::join!(
        judging.take_chunk("g", "a", MINUTE, at(1)),
        judging.take_chunk("g", "b", MINUTE, at(1))
    );
    let mut taken: Vec<_> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
    // Who loses the race for one gets none and asks again.
    while taken.len() < 2 {
        taken.extend(judging.take_chunk("g", "b", MINUTE, at(1)).await.unwrap());
    }
    assert_ne!(taken[0].plan.id, taken[1].plan.id);
    assert_eq!(taken[0].planned_at, NOW);
    assert_eq!(judging.take_chunk("g", "c", MINUTE, at(2)).await.unwrap(), None);
    assert_eq!(judging.take_chunk("other", "c", MINUTE, at(200)).await.unwrap(), None);

    let first = taken.iter().find(|chunk| chunk.plan.id == "1").unwrap();
    let holder = if judging.renew_chunk("1", "a", first.fence, at(61)).await.unwrap() { "a" } else { "b" };
    assert!(judging.renew_chunk("1", holder, first.fence, at(61)).await.unwrap());
    // Silent for too long: another one takes it, and the first can neither hold nor finish it any more.
    let mut again = Vec::new();
    while let Some(chunk) = judging.take_chunk("g", "c", MINUTE, at(62)).await.unwrap() {
        again.push(chunk);
    }
    let again = again.iter().find(|chunk| chunk.plan.id == "1").unwrap();
    assert_eq!(again.fence, first.fence + 1);
    assert_eq!(again.plan, first.plan);
    assert!(!judging.renew_chunk("1", holder, first.fence, at(99)).await.unwrap());
    assert!(!judging.finish_chunk("1", holder, first.fence, at(63)).await.unwrap());
    judging.fail_chunk("1", holder, first.fence, at(99)).await.unwrap();
    judging.fail_chunk("1", "c", again.fence, at(70)).await.unwrap();
    assert_eq!((again.failures, judging.take_chunk("g", "c", MINUTE, at(69)).await.unwrap()), (0, None));
    let again = judging.take_chunk("g", "c", MINUTE, at(70)).await.unwrap().unwrap();
    assert_eq!((again.plan.id.as_str(), again.failures), ("1", 1), "once, by who held it");
    assert!(judging.finish_chunk("1", "c", again.fence, at(71)).await.unwrap());
    assert!(!judging.finish_chunk("1", "c", again.fence, at(71)).await.unwrap());
    assert_eq!(judging.count_chunks("g").await.unwrap(), 1);
    // A finished one is nobody's, and its calls are taken until it is forgotten.
    assert!(!judging.renew_chunk("1", "c", again.fence, at(999)).await.unwrap());
    let finished = async || {
        let open = judging.open_chunks().await.unwrap();
        (open.len(), open.iter().filter(|chunk| chunk.finished).count())
    };
    assert_eq!(finished().await, (2, 1));
    assert_eq!(judging.forget_finished(at(71)).await.unwrap(), 0);
    assert_eq!(judging.forget_finished(at(72)).await.unwrap(), 1);
    assert_eq!(finished().await, (1, 0));
    // The other generation is forgotten once nobody holds its chunks.
    assert_eq!(judging.forget_generations("h", at(63)).await.unwrap(), 0);
    assert_eq!(judging.forget_generations("g", at(999)).await.unwrap(), 0);
    assert_eq!(judging.forget_generations("h", at(999)).await.unwrap(), 1);
}

pub async fn a_change_of_judges_strands_no_back_fill(store: Store) {
    let judging = store.control.judging();
    let judges = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let tenant = "acme".parse::<contracts::TenantId>().unwrap();
    let back_fill = JudgingStream {
        id: "backfill-1".to_owned(),
        judges: judges(&["refusal@1", "gone@1"]),
        tenant: Some(tenant.clone()),
        next_ns: 90,
        until_ns: Some(100),
        ..stream()
    };
    judging.ensure_stream(&back_fill).await.unwrap();
    judging.ensure_stream(&stream()).await.unwrap();
    let lease = planner(&judging, "p", 0).await.unwrap();
    let one = NewChunk { stream_id: "backfill-1".to_owned(), ..chunk("1") };
    judging.commit_plan(&lease, &[one], &[], NOW).await.unwrap();
    let held = judging.take_chunk("g", "a", MINUTE, at(1)).await.unwrap().unwrap();
    // As long as anybody works there, it is left alone.
    assert_eq!(judging.adopt_backfills("h", &judges(&["refusal@1"])).await.unwrap(), 0);
    assert_eq!(judging.forget_generations("h", at(60)).await.unwrap(), 0);
    judging.fail_chunk("1", "a", held.fence, at(2)).await.unwrap();
    assert_eq!(judging.forget_generations("h", at(60)).await.unwrap(), 1);
    // Back to the call of the chunk that nobody judged.
    assert_eq!(judging.backfills(&tenant).await.unwrap()[0].next_ns, 5);
    assert_eq!(judging.adopt_backfills("h", &judges(&["toxicity@1"])).await.unwrap(), 0);
    assert_eq!(judging.adopt_backfills("h", &judges(&["refusal@1", "toxicity@1"])).await.unwrap(), 1);
    let adopted = judging.backfills(&tenant).await.unwrap().remove(0);
    assert_eq!((adopted.generation.as_str(), adopted.judges), ("h", judges(&["refusal@1"])));
    assert_eq!(judging.furthest_live("h").await.unwrap(), Some(7));
    assert_eq!(judging.furthest_live("g").await.unwrap(), None, "a back-fill is no such stream");
    // The one that goes on for ever is never moved back; a back-fill only back.
    judging.rewind("live-1", 1).await.unwrap();
    judging.rewind("backfill-1", 50).await.unwrap();
    assert_eq!(judging.streams("g").await.unwrap()[0].next_ns, 7);
    assert_eq!(judging.streams("h").await.unwrap()[0].next_ns, 5);
}

pub async fn a_judge_is_paused_for_a_while(store: Store) {
    let judging = store.control.judging();
    judging.pause_judge("panel@1", at(30), "nobody answers").await.unwrap();
    judging.pause_judge("panel@1", at(10), "a shorter one does not end it").await.unwrap();
    judging.pause_judge("other@1", at(5), "its budget is used up").await.unwrap();
    let paused = async |seconds| {
        judging.paused_judges(at(seconds)).await.unwrap().into_iter().collect::<Vec<String>>()
    };
    assert_eq!(paused(4).await, ["other@1", "panel@1"]);
    assert_eq!(paused(29).await, ["panel@1"]);
    assert!(paused(30).await.is_empty());
}

pub async fn a_budget_holds_over_all_evaluators(store: Store) {
    let judging = store.control.judging();
    let usd = |text: &str| text.parse::<Usd>().unwrap();
    // Nine evaluators ask twice each at the same time for a tenth of what there is.
    let asking: Vec<_> = (0..9)
        .map(|_| {
            let judging = judging.clone();
            tokio::spawn(async move {
                let mut granted = 0;
                for _ in 0..2 {
                    let (amount, budget) = ("0.1".parse().unwrap(), "1".parse().unwrap());
                    granted += u32::from(judging.reserve("panel", 20_000, amount, budget).await.unwrap());
                }
                granted
            })
        })
        .collect();
    let mut granted = 0;
    for task in asking {
        granted += task.await.unwrap();
    }
    assert_eq!(granted, 10);
    assert_eq!(judging.spent("panel", 20_000).await.unwrap(), usd("1"));
    // What a call cost less than was put aside is there for the next, to the last picodollar.
    judging.settle("panel", 20_000, usd("0.1"), usd("0.000000000001")).await.unwrap();
    assert!(!judging.reserve("panel", 20_000, usd("0.1"), usd("1")).await.unwrap());
    assert!(judging.reserve("panel", 20_000, usd("0.099999999999"), usd("1")).await.unwrap());
    assert_eq!(judging.spent("panel", 20_000).await.unwrap(), usd("1"));
    // Another judge and another day have budgets of their own, and no call is let through that is dearer than the whole.
    assert!(judging.reserve("other", 20_000, usd("0.1"), usd("1")).await.unwrap());
    assert!(judging.reserve("panel", 20_001, usd("0.1"), usd("1")).await.unwrap());
    assert!(!judging.reserve("third", 20_000, usd("1.1"), usd("1")).await.unwrap());
    assert_eq!(judging.spent("third", 20_000).await.unwrap(), Usd::ZERO);
}

pub async fn keys_of_judges_are_remembered(store: Store) {
    let judging = store.control.judging();
    assert!(judging.keys().await.unwrap().is_empty());
    for key in ["key_b", "key_a", "key_b"] {
        judging.note_key(&key.parse().unwrap(), NOW).await.unwrap();
    }
    let keys: Vec<String> = judging.keys().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["key_a", "key_b"]);
}
