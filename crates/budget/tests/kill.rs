//! kill -9 of a process that spends: what it said it spent is in the books, to the picodollar.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use budget::{Account, Accounts, JournalOptions, Ledger, Origin, WhenGatewayDies};
use contracts::policy::budget::Window;
use contracts::{Timestamp, Usd};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The example `spend`, which cargo builds along with this test.
fn spender() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/spend");
    assert!(path.exists(), "{} is missing: build it with `cargo build -p budget --examples`", path.display());
    path
}

/// Calls that were said to be sent and paid, by task.
type Said = [(i128, i128); 3];

fn run_and_kill(dir: &Path, after: Duration) -> Said {
    let mut child = Command::new(spender()).arg(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Said::default();
    let mut note = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may have been cut by the kill: then it says nothing.
        if let [kind, task, _number] = words[..]
            && let Ok(task) = task.parse::<usize>()
        {
            let of_task = &mut said[task];
            *(if kind == "sent" { &mut of_task.0 } else { &mut of_task.1 }) += 1;
        }
    };
    note(&lines.next().expect("the spender says something").unwrap());
    let start = Instant::now();
    while start.elapsed() < after {
        note(&lines.next().expect("the spender goes on until it is killed").unwrap());
    }
    // On Unix this is SIGKILL.
    child.kill().unwrap();
    lines.map_while(Result::ok).for_each(|line| note(&line));
    child.wait().unwrap();
    said
}

#[tokio::test]
async fn what_was_spent_survives_a_kill() {
    let now = Timestamp::from_unix_seconds(1_790_000_000);
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let mut before = [0; 3];
        // Killed twice: what the first life left is in the second.
        for life in 0..2 {
            let said = run_and_kill(dir.path(), Duration::from_millis(40 + round * 35));
            assert!(said[0].1 > 20, "{said:?} proves nothing");
            let ledger = Ledger::local(JournalOptions::new(dir.path()), WhenGatewayDies::Charge).unwrap();
            let account = |id: &str, window| Account {
                id: id.into(),
                subject: id.into(),
                origin: Origin::Budget,
                limit: Usd::ZERO,
                soft: None,
                window,
            };
            let accounts =
                Accounts::new("acme", [account("all", Window::Total), account("day", Window::Day)]);
            let standings = ledger.read(&accounts, now).await.unwrap();
            assert_eq!(standings[0].spent, standings[1].spent);
            assert_eq!(standings[0].held, Usd::ZERO);
            let mut digits = standings[0].spent.picos();
            for (task, (sent, paid)) in said.into_iter().enumerate() {
                let spent = digits % 1_000_000 - before[task];
                // A call costs 1 and holds 2. At most one was under way, and not all that was done was said.
                let may_be = [
                    paid + (sent - paid),     // settled, and perhaps not said so
                    paid + 2 * (sent - paid), // sent, and charged in full
                    sent + 2,                 // all settled, and one more was sent
                ];
                assert!(
                    may_be.contains(&spent),
                    "life {life}, task {task}: {spent} spent, {sent} sent, {paid} paid"
                );
                before[task] += spent;
                digits /= 1_000_000;
            }
        }
    }
}
