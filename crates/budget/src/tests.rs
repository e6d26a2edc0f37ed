//! The ledger of one machine.

mod crowd;
mod model;
mod redis;
mod shared;

use crate::*;
use contracts::policy::budget::Window;
use contracts::{Timestamp, Usd};
use std::path::Path;
use std::sync::Arc;

pub(crate) fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_790_000_000 + seconds)
}

pub(crate) fn account(id: &str, limit: &str, window: Window) -> Account {
    Account {
        id: id.into(),
        subject: id.into(),
        origin: Origin::Budget,
        limit: usd(limit),
        soft: None,
        window,
    }
}

pub(crate) fn of(accounts: &[Account]) -> Arc<Accounts> {
    Arc::new(Accounts::new("acme", accounts.to_vec()))
}

fn open(dir: &Path) -> Ledger {
    Ledger::local(JournalOptions::new(dir), WhenGatewayDies::Charge).unwrap()
}

async fn stands(ledger: &Ledger, accounts: &Accounts) -> (Usd, Usd) {
    let standing = &ledger.read(accounts, at(0)).await.unwrap()[0];
    (standing.spent, standing.held)
}

/// What a process that is killed now leaves behind.
pub(crate) fn killed(dir: &Path) -> tempfile::TempDir {
    let names = || {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        files.collect::<std::collections::BTreeSet<_>>()
    };
    loop {
        let copy = tempfile::tempdir().unwrap();
        let before = names();
        let copied = before.iter().all(|name| std::fs::copy(dir.join(name), copy.path().join(name)).is_ok());
        // It may be compacted while we look; a kill sees one moment.
        if copied && names() == before {
            return copy;
        }
    }
}

#[tokio::test]
async fn all_accounts_must_admit_and_none_keeps_what_another_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let wide = account("tenant", "10", Window::Month);
    let both = of(&[wide.clone(), account("key", "1", Window::Day)]);
    let wide = of(&[wide]);
    let mut hold = ledger.reserve(&both, usd("0.6"), at(0)).await.unwrap();
    let refused = ledger.reserve(&both, usd("0.5"), at(0)).await.unwrap_err();
    let Refused::Exhausted(why) = refused else { panic!("{refused}") };
    assert_eq!(
        (&*why.account.id, why.spent, why.held, why.asked),
        ("key", Usd::ZERO, usd("0.6"), usd("0.5"))
    );
    assert_eq!(why.ends, Window::Day.span(at(0)).end);
    assert_eq!(why.to_string(), "budget per day of key: 0.4 of 1 dollars left, expected at least 0.5");
    assert_eq!(stands(&ledger, &wide).await, (Usd::ZERO, usd("0.6")));
    hold.dispatch().await.unwrap();
    hold.dispatch().await.unwrap();
    hold.settle(usd("0.25")).await;
    assert_eq!(stands(&ledger, &wide).await, (usd("0.25"), Usd::ZERO));
    ledger.reserve(&both, usd("0.75"), at(0)).await.unwrap().release();
}

#[tokio::test]
async fn a_limit_that_changes_holds_from_the_next_call() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let with = |limit| of(&[account("tenant", limit, Window::Total)]);
    let first = ledger.reserve(&with("1"), usd("1"), at(0)).await.unwrap();
    assert!(ledger.reserve(&with("1"), usd("0.1"), at(0)).await.is_err());
    let second = ledger.reserve(&with("2"), usd("0.1"), at(0)).await.unwrap();
    assert!(ledger.reserve(&with("0.5"), Usd::ZERO, at(0)).await.is_err());
    drop((first, second));
    assert_eq!(stands(&ledger, &with("0.5")).await, (Usd::ZERO, Usd::ZERO));
}

#[tokio::test]
async fn a_dropped_hold_gives_back_what_was_not_sent_and_pays_for_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    drop(ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap());
    assert_eq!(stands(&ledger, &accounts).await, (Usd::ZERO, Usd::ZERO));
    let mut sent = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    sent.dispatch().await.unwrap();
    drop(sent);
    assert_eq!(stands(&ledger, &accounts).await, (usd("0.5"), Usd::ZERO));
    let mut failed = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    failed.dispatch().await.unwrap();
    failed.release();
    assert_eq!(stands(&ledger, &accounts).await, (usd("0.5"), Usd::ZERO));
    let metrics = ledger.metrics();
    assert_eq!((metrics.dropped.get(), metrics.released.get(), metrics.settled.get()), (1, 2, 1));
}

#[tokio::test]
async fn what_nobody_knows_is_charged_in_full_and_passes_a_soft_limit_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let soft = Account { soft: Some(usd("0.4")), ..account("tenant", "1", Window::Total) };
    let accounts = of(&[soft]);
    let unsent = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    assert_eq!(unsent.settle_unknown().await.passed, []);
    assert_eq!(stands(&ledger, &accounts).await, (Usd::ZERO, Usd::ZERO));
    let mut sent = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    sent.dispatch().await.unwrap();
    let passed = sent.settle_unknown().await.passed;
    assert!(matches!(&passed[..], [soft] if soft.crossed && soft.spent == usd("0.5")), "{passed:?}");
    assert_eq!(stands(&ledger, &accounts).await, (usd("0.5"), Usd::ZERO));
    assert_eq!(ledger.metrics().dropped.get(), 1);
}

#[tokio::test]
async fn more_than_was_held_is_charged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    let mut hold = ledger.reserve(&accounts, usd("0.5"), at(0)).await.unwrap();
    hold.dispatch().await.unwrap();
    hold.extend(usd("0.25")).await.unwrap();
    assert!(hold.extend(usd("0.5")).await.is_err());
    assert_eq!(hold.amount(), usd("0.75"));
    hold.settle(usd("1.25")).await;
    assert_eq!(stands(&ledger, &accounts).await, (usd("1.25"), Usd::ZERO));
    assert_eq!(ledger.metrics().overruns.get(), 1);
    assert_eq!(ledger.metrics().overrun_picos.get(), 500_000_000_000);
}

#[tokio::test]
async fn a_soft_limit_is_crossed_once_and_passed_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[Account { soft: Some(usd("0.5")), ..account("tenant", "1", Window::Month) }]);
    let mut told = Vec::new();
    for _ in 0..4 {
        let mut hold = ledger.reserve(&accounts, usd("0.25"), at(0)).await.unwrap();
        let before = hold.passed().len();
        hold.dispatch().await.unwrap();
        let settled = hold.settle(usd("0.2")).await;
        told.push((before, settled.passed.iter().map(|passed| passed.crossed).collect::<Vec<_>>()));
    }
    assert_eq!(told, [(0, vec![]), (0, vec![]), (0, vec![true]), (1, vec![false])]);
}

#[tokio::test]
async fn a_call_belongs_to_the_window_that_admitted_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Minute)]);
    let mut old = ledger.reserve(&accounts, usd("1"), at(0)).await.unwrap();
    old.dispatch().await.unwrap();
    assert!(ledger.reserve(&accounts, usd("1"), at(0)).await.is_err());
    let new = ledger.reserve(&accounts, usd("1"), at(60)).await.unwrap();
    old.settle(usd("0.5")).await;
    let standing = ledger.read(&accounts, at(60)).await.unwrap().remove(0);
    assert_eq!((standing.spent, standing.held), (Usd::ZERO, usd("1")));
    drop(new);
}

#[tokio::test]
async fn where_nothing_applies_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut hold = ledger.reserve(&of(&[]), usd("1000000"), at(0)).await.unwrap();
    hold.dispatch().await.unwrap();
    hold.extend(usd("1")).await.unwrap();
    hold.settle(usd("1")).await;
    assert_eq!(ledger.metrics().reserved.get(), 0);
}

#[tokio::test]
async fn what_was_sent_and_not_settled_is_charged_after_a_kill_and_what_was_not_sent_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    let _reserved = ledger.reserve(&accounts, usd("0.1"), at(0)).await.unwrap();
    let mut sent = ledger.reserve(&accounts, usd("0.2"), at(0)).await.unwrap();
    sent.dispatch().await.unwrap();
    sent.extend(usd("0.05")).await.unwrap();
    let mut settled = ledger.reserve(&accounts, usd("0.3"), at(0)).await.unwrap();
    settled.dispatch().await.unwrap();
    settled.settle(usd("0.01")).await;

    let left = killed(dir.path());
    let after = open(left.path());
    assert_eq!(stands(&after, &accounts).await, (usd("0.26"), Usd::ZERO));
    let unaccounted = after.unaccounted();
    assert_eq!(unaccounted.len(), 1);
    assert_eq!((unaccounted[0].calls, unaccounted[0].amount), (1, usd("0.25")));
    drop(after);
    let again = open(left.path());
    assert_eq!(stands(&again, &accounts).await, (usd("0.26"), Usd::ZERO));
    assert!(again.unaccounted().is_empty());

    let left = killed(dir.path());
    let lenient = Ledger::local(JournalOptions::new(left.path()), WhenGatewayDies::Release).unwrap();
    assert_eq!(stands(&lenient, &accounts).await, (usd("0.01"), Usd::ZERO));
}

#[tokio::test]
async fn a_torn_end_costs_no_more_than_the_record_that_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Total)]);
    for _ in 0..3 {
        let mut hold = ledger.reserve(&accounts, usd("0.1"), at(0)).await.unwrap();
        hold.dispatch().await.unwrap();
        hold.settle(usd("0.1")).await;
    }
    let journal = |dir: &Path| {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("journal."))
            .max()
            .unwrap()
    };
    let whole = std::fs::read(journal(dir.path())).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..=whole.len() {
        let left = killed(dir.path());
        std::fs::write(journal(left.path()), &whole[..cut]).unwrap();
        let after = open(left.path());
        seen.insert(stands(&after, &accounts).await.0);
        assert_eq!(after.metrics().journal_damaged.get(), 0);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["0", "0.1", "0.2", "0.3"].map(usd));
}

#[tokio::test]
async fn the_journal_does_not_grow_without_bound() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        fsync_interval: std::time::Duration::from_millis(1),
        compact_bytes: 10_000,
        ..JournalOptions::new(dir.path())
    };
    let ledger = Ledger::local(options, WhenGatewayDies::Charge).unwrap();
    let accounts = of(&[account("tenant", "1000", Window::Total), account("key", "1000", Window::Minute)]);
    let mut calls = 0_u64;
    // Until it has been compacted a few times, while calls go on.
    while ledger.metrics().compactions.get() < 5 {
        let mut hold = ledger.reserve(&accounts, usd("1"), at(0)).await.unwrap();
        hold.dispatch().await.unwrap();
        hold.settle(Usd::from_picos(7)).await;
        calls += 1;
        if calls.is_multiple_of(64) {
            let left = killed(dir.path());
            let after = open(left.path());
            assert_eq!(stands(&after, &accounts).await.0, Usd::from_picos(7).times(calls));
        }
    }
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(files <= 7, "{files} files are left");
    assert!(Ledger::local(JournalOptions::new(dir.path()), WhenGatewayDies::Charge).is_err(), "it is in use");
}

async fn spend_all(ledger: &Ledger, accounts: &Arc<Accounts>) {
    let mut hold = ledger.reserve(accounts, usd("1"), at(0)).await.unwrap();
    hold.dispatch().await.unwrap();
    hold.settle(usd("1")).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_finds_the_window_that_was_spent() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let accounts = of(&[account("tenant", "1", Window::Minute)]);
    spend_all(&ledger, &accounts).await;
    for seconds in [60, 120, 1_800] {
        spend(&ledger, &accounts, seconds).await;
        let late = ledger.reserve(&accounts, usd("0.1"), at(30)).await;
        assert!(late.is_err(), "after {seconds} s");
    }
    assert!(open(killed(dir.path()).path()).reserve(&accounts, usd("0.1"), at(30)).await.is_err());
    // In the end it is forgotten.
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    spend(&ledger, &accounts, 7_200).await;
    assert!(ledger.reserve(&accounts, usd("0.1"), at(30)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn groups_that_nothing_is_left_of_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        fsync_interval: std::time::Duration::from_millis(1),
        compact_bytes: 1_000,
        ..JournalOptions::new(dir.path())
    };
    let ledger = Ledger::local(options, WhenGatewayDies::Charge).unwrap();
    let of_group =
        |n: usize| Arc::new(Accounts::new(format!("group {n}"), [account("tenant", "9", Window::Day)]));
    let mut held = Vec::new();
    for n in 0..100 {
        spend(&ledger, &of_group(n), 0).await;
        if n < 3 {
            held.push(ledger.reserve(&of_group(n), usd("0.1"), at(0)).await.unwrap());
        }
    }
    let any = of(&[account("any", "1000000", Window::Total)]);
    let months = 90 * 86_400;
    tokio::time::advance(std::time::Duration::from_hours(2)).await;
    let compactions = ledger.metrics().compactions.get();
    while ledger.metrics().compactions.get() < compactions + 3 {
        spend(&ledger, &any, months).await;
    }
    assert_eq!(ledger.groups(), 4, "one that is used, and those in which something is held");
    for mut hold in held {
        hold.dispatch().await.unwrap();
        hold.settle(usd("0.1")).await;
    }
    spend(&ledger, &of_group(50), months).await;
}

async fn spend(ledger: &Ledger, accounts: &Arc<Accounts>, seconds: i64) {
    let mut hold = ledger.reserve(accounts, usd("0.1"), at(seconds)).await.unwrap();
    hold.dispatch().await.unwrap();
    hold.settle(usd("0.1")).await;
}

#[tokio::test]
async fn a_clock_that_was_wrong_once_opens_no_budget_that_was_spent() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        fsync_interval: std::time::Duration::from_millis(1),
        compact_bytes: 10_000,
        ..JournalOptions::new(dir.path())
    };
    let ledger = Ledger::local(options, WhenGatewayDies::Charge).unwrap();
    let accounts = of(&[account("tenant", "1", Window::Month)]);
    spend_all(&ledger, &accounts).await;
    spend(&ledger, &accounts, 40 * 86_400).await;
    assert!(ledger.reserve(&accounts, usd("0.1"), at(1)).await.is_err());
    // Nor when the journal is compacted, which is done as of the time that was told last, while that is wrong.
    let any = of(&[account("any", "1000000", Window::Total)]);
    for seconds in [40 * 86_400, 1] {
        let compactions = ledger.metrics().compactions.get();
        while ledger.metrics().compactions.get() < compactions + 3 {
            spend(&ledger, &any, seconds).await;
        }
    }
    let left = killed(dir.path());
    assert!(ledger.reserve(&accounts, usd("0.1"), at(1)).await.is_err());
    assert!(open(left.path()).reserve(&accounts, usd("0.1"), at(1)).await.is_err());
}

/// The files of a kind, by their positions.
fn files(dir: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let is_it = |path: &std::path::PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .strip_prefix(kind)
            .is_some_and(|rest| rest.starts_with(".0"))
    };
    let mut files: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(is_it).collect();
    files.sort();
    files
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn books_that_are_damaged_are_not_opened_as_if_nothing_were_spent() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = of(&[account("tenant", "10", Window::Total)]);
    let ledger = open(dir.path());
    spend_all(&ledger, &accounts).await;
    drop(ledger);
    // The first dollar is in the snapshot, the second in the segment.
    let ledger = open(dir.path());
    spend_all(&ledger, &accounts).await;
    let refused = |dir: &Path| {
        Ledger::local(JournalOptions::new(dir), WhenGatewayDies::Charge).expect_err("it is damaged")
    };
    let what_is_left = async |dir: &Path| {
        let options = JournalOptions { opens_damaged: true, ..JournalOptions::new(dir) };
        let ledger = Ledger::local(options, WhenGatewayDies::Charge).unwrap();
        assert_eq!(ledger.metrics().journal_damaged.get(), 1);
        stands(&ledger, &accounts).await.0
    };
    let position = |path: &Path| -> u64 { path.extension().unwrap().to_str().unwrap().parse().unwrap() };

    let left = killed(dir.path());
    let [snapshot] = &files(left.path(), "snapshot")[..] else { panic!("there is one") };
    damage(snapshot);
    assert!(matches!(refused(left.path()), OpenError::Damaged(path) if path == *snapshot));
    let error = refused(left.path()).to_string();
    assert!(error.contains("snapshot.0") && error.contains("gateway.budgets.open_damaged"), "{error}");
    assert_eq!(what_is_left(left.path()).await, Usd::ZERO);
    drop(open(left.path()));

    for (after, is_damaged, expected) in [(0, true, usd("1")), (1, false, usd("1"))] {
        // The segment that follows where this one ends was begun by a process that knew its end; the one that follows a byte later by
        // one that found it so.
        let left = killed(dir.path());
        let [segment] = &files(left.path(), "journal")[..] else { panic!("there is one") };
        let next = position(segment) + std::fs::metadata(segment).unwrap().len() + after;
        damage(segment);
        std::fs::write(left.path().join(format!("journal.{next:020}")), b"CTBUDGT1").unwrap();
        if is_damaged {
            assert!(matches!(refused(left.path()), OpenError::Damaged(path) if path == *segment));
            assert_eq!(what_is_left(left.path()).await, expected);
        } else {
            assert_eq!(stands(&open(left.path()), &accounts).await.0, expected);
        }
    }

    for kind in ["snapshot", "journal"] {
        let left = killed(dir.path());
        std::fs::remove_file(&files(left.path(), kind)[0]).unwrap();
        assert!(matches!(refused(left.path()), OpenError::Damaged(_)), "{kind}");
    }
}
