//! Exactly once in effect: whatever happens, table and view hold each span once.

use super::fake::{Fake, Fate};
use super::*;
use crate::writer::plan::{Plan, PlanFile};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} did not come true");
}

fn rows(spans: impl IntoIterator<Item = u64>) -> Vec<SpanRow> {
    spans.into_iter().map(row).collect()
}

fn all(spans: impl IntoIterator<Item = u64>) -> (Vec<u64>, Vec<u64>) {
    let spans: Vec<u64> = spans.into_iter().collect();
    (spans.clone(), spans)
}

#[tokio::test]
async fn spans_arrive_once_however_often_they_are_sent() {
    let (dir, fake, clock) = (tempfile::tempdir().unwrap(), Fake::default(), clock());
    let work = Work::start(dir.path(), fake.clone(), &clock);
    work.append(&rows([1, 2, 2, 3])).await;
    eventually("the first batch", || fake.stored().0.len() == 3).await;
    work.append(&rows([3, 4, 1])).await;
    eventually("the second batch", || fake.stored().0.len() == 4).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all([1, 2, 3, 4]));
    let known = |how| metrics.deduplicated(how, "traces").get();
    assert_eq!((known("batch"), known("memory"), known("clickhouse")), (1, 2, 0));
    assert_eq!(metrics.inserted.get(), 4);

    // A new process has no memory and asks.
    let work = Work::start(dir.path(), fake.clone(), &clock);
    work.append(&rows([1, 5, 4])).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all([1, 2, 3, 4, 5]));
    assert_eq!(metrics.deduplicated("clickhouse", "traces").get(), 2);
}

#[tokio::test]
async fn a_crash_after_the_insert_and_before_the_view_is_made_good() {
    for fate in [Fate::LostHalfWay, Fate::Silent] {
        let (dir, fake, clock) = (tempfile::tempdir().unwrap(), Fake::with([fate]), clock());
        let work = Work::start(dir.path(), fake.clone(), &clock);
        work.append(&rows([1, 2, 3])).await;
        fake.is_silent().await;
        assert_eq!(fake.stored().0, [1, 2, 3]);
        // More comes in behind the batch in work: the repeated batch must not swallow it.
        work.append(&rows([3, 4])).await;
        work.crash().await;
        Work::start(dir.path(), fake.clone(), &clock).finish().await;
        assert_eq!(fake.stored(), all([1, 2, 3, 4]), "{fate:?}");
    }
}

/// What is written to the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_plan_that_is_not_of_the_batch_is_replaced_and_the_log_says_why() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let fake = Fake::with([Fate::Silent]);
    let work = Work::start(dir.path(), fake.clone(), &clock);
    work.append(&rows([1, 2, 3])).await;
    fake.is_silent().await;
    work.crash().await;
    let file = PlanFile::new(dir.path());
    let plan = file.load().unwrap().unwrap();
    file.save(&Plan { rows: 5, spool: plan.spool.wrapping_add(1), ..plan.clone() }).unwrap();
    Work::start(dir.path(), fake.clone(), &clock).finish().await;
    assert_eq!(fake.stored().0, [1, 2, 3]);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("planned anew")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("rows 3, in the plan 5"), "{line}");
    assert!(line.contains(&format!("spool {}, in the plan", plan.spool)), "{line}");
}

#[tokio::test]
async fn a_store_that_is_down_is_waited_for() {
    let fates = [Fate::Unreachable, Fate::Unanswered, Fate::Unreachable];
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::with(fates));
    let work = Work::start(dir.path(), fake.clone(), &clock());
    work.append(&rows(0..10)).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all(0..10));
    assert_eq!(metrics.insert_errors.get_or_create(&[("kind", "unreachable")]).get(), 2);
    assert_eq!(metrics.clickhouse_up.get(), 1);
}

#[tokio::test]
async fn a_poisoned_row_is_set_aside_and_its_neighbours_arrive() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::default().poison([13]));
    let work = Work::start(dir.path(), fake.clone(), &clock());
    work.append(&rows(0..50)).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all((0..50).filter(|span| *span != 13)));
    assert_eq!((metrics.refused("traces").get(), metrics.inserted.get()), (1, 49));
    let files: Vec<_> =
        std::fs::read_dir(dir.path().join("rejected")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&files[0]), mode(&dir.path().join("rejected"))),
        (0o600, 0o700),
        "nobody else reads them"
    );
    let letter: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(&files[0]).unwrap().trim()).unwrap();
    assert_eq!(letter["row"]["input_tokens"], 13);
    assert_eq!(letter["costs_picodollars"][3], "13");
    assert!(letter["reason"].as_str().unwrap().contains("bad value"));
}

#[tokio::test]
async fn a_crash_while_a_batch_is_being_halved_doubles_nothing() {
    let (dir, fake, clock) = (tempfile::tempdir().unwrap(), Fake::with([Fate::Silent]).poison([7]), clock());
    let work = Work::start(dir.path(), fake.clone(), &clock);
    work.append(&rows(0..16)).await;
    fake.is_silent().await;
    work.crash().await;
    fake.will(Fate::LostHalfWay);
    let work = Work::start(dir.path(), fake.clone(), &clock);
    fake.is_silent().await;
    work.crash().await;
    Work::start(dir.path(), fake.clone(), &clock).finish().await;
    assert_eq!(fake.stored(), all((0..16).filter(|span| *span != 7)));
}

#[tokio::test]
async fn a_batch_too_large_for_memory_is_halved() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::with([Fate::Memory; 3]));
    let work = Work::start(dir.path(), fake.clone(), &clock());
    work.append(&rows(0..8)).await;
    work.finish().await;
    assert_eq!(fake.stored(), all(0..8));
    assert_eq!(fake.inserts(), 5, "three failures, then two halves");
}

#[tokio::test]
async fn a_batch_that_a_view_refuses_is_sent_again_as_it_was() {
    for fate in [Fate::ViewFailed, Fate::ViewShortOfMemory] {
        let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::with([fate; 4]));
        let work = Work::start(dir.path(), fake.clone(), &clock());
        work.append(&rows(0..8)).await;
        work.finish().await;
        assert_eq!(fake.stored(), all(0..8), "{fate:?}");
        assert_eq!(fake.inserts(), 5, "four failures, then the same batch: {fate:?}");
    }
}

#[tokio::test]
async fn a_batch_that_a_view_never_takes_is_set_aside_and_others_go_on() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::with([Fate::ViewFailed; 30]));
    let work = Work::start(dir.path(), fake.clone(), &clock());
    work.append(&rows(0..3)).await;
    eventually("the batch is given up", || work.metrics.half_inserted.get() == 3).await;
    work.append(&rows(3..5)).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), (vec![0, 1, 2, 3, 4], vec![3, 4]));
    assert_eq!((metrics.refused("traces").get(), metrics.inserted.get()), (0, 5));
    let mut files = std::fs::read_dir(dir.path().join("rejected")).unwrap();
    let content = std::fs::read_to_string(files.next().unwrap().unwrap().path()).unwrap();
    assert_eq!(content.lines().filter(|line| line.contains("not in its views")).count(), 3);
}

#[tokio::test]
async fn what_was_set_aside_can_be_sent_again_once_its_fault_is_mended() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::default().poison([13]));
    let clock = early_clock();
    let work = Work::start(dir.path(), fake.clone(), &clock);
    tokio::task::yield_now().await;
    clock.advance(Duration::from_hours(2));
    work.append(&rows(10..20)).await;
    eventually("the others", || fake.stored().0.len() == 9).await;
    fake.mend();
    eventually("the batch's end", || work.spool.stats().pending_bytes == 0).await;
    work.append(&rows(10..20)).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all(10..20));
    assert_eq!(metrics.deduplicated("memory", "traces").get(), 9);
}

/// A clock at which the spans of these tests, which ended at `NOW_S`, are long over, but none may be from before the start.
fn early_clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(NOW_S - 3_600))
}

#[tokio::test]
async fn what_another_collector_inserted_is_found_when_it_may_have_been() {
    for (several, sender) in [(true, Sender::Tenant), (false, Sender::ServiceAgain)] {
        let (one, other, fake) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Fake::default());
        // Both started an hour before the spans ended, so each alone takes them for new.
        let clock = early_clock();
        let (first, second) = (
            Work::start_as(one.path(), fake.clone(), &clock, several),
            Work::start_as(other.path(), fake.clone(), &clock, several),
        );
        tokio::task::yield_now().await;
        clock.advance(Duration::from_hours(2));
        first.append_as(&rows(0..5), Sender::Service).await;
        eventually("the first copy", || fake.stored().0.len() == 5).await;
        second.append_as(&rows(0..6), sender).await;
        let metrics = second.finish().await;
        first.finish().await;
        assert_eq!(fake.stored(), all(0..6), "{several} {sender:?}");
        assert_eq!(metrics.deduplicated("clickhouse", "traces").get(), 5);
    }
}

#[tokio::test]
async fn a_record_that_is_no_row_is_set_aside() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::default());
    let work = Work::start(dir.path(), fake.clone(), &clock());
    work.spool.append_durable(&[b"\x09of another version"]).await.unwrap();
    work.append(&rows([1])).await;
    let metrics = work.finish().await;
    assert_eq!(fake.stored(), all([1]));
    assert_eq!(metrics.undecodable.get(), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("rejected")).unwrap().count(), 1);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![
        Fate::Unreachable,
        Fate::Unanswered,
        Fate::LostHalfWay,
        Fate::Silent,
        Fate::Memory,
        Fate::ViewFailed,
        Fate::ViewShortOfMemory,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule_of_crashes_resends_and_failures_ends_with_each_span_once(
        lives in prop::collection::vec(
            (prop::collection::vec(prop::collection::vec(0_u64..120, 1..30), 1..4), prop::collection::vec(fate(), 0..5), 0_u64..25),
            1..5,
        ),
        poison in prop::collection::hash_set(0_u64..120, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (fake, clock) = (Fake::default().poison(poison.iter().copied()), clock());
        let dir = tempfile::tempdir().unwrap();
        let mut sent = std::collections::BTreeSet::new();
        runtime.block_on(async {
            for (batches, fates, millis) in lives {
                for fate in fates {
                    fake.will(fate);
                }
                let work = Work::start(dir.path(), fake.clone(), &clock);
                for spans in batches {
                    work.append(&rows(spans.iter().copied())).await;
                    sent.extend(spans);
                }
                tokio::time::sleep(Duration::from_millis(millis)).await;
                work.crash().await;
            }
            fake.heal();
            Work::start(dir.path(), fake.clone(), &clock).finish().await;
        });
        prop_assert_eq!(fake.stored(), all(sent.into_iter().filter(|span| !poison.contains(span))));
    }
}
