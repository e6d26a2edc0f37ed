//! kill -9 of a process that appends and reads: every acknowledged record was handed out or is still there, in order.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use spool::{Options, Spool};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The example `append`, which cargo builds along with this test.
fn appender() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/append");
    assert!(path.exists(), "{} is missing: build it with `cargo build -p spool --examples`", path.display());
    path
}

type Record = (usize, usize);

/// Runs the appender for a while, kills it, and returns what it said was acknowledged and what was read.
fn run_and_kill(dir: &Path, after: Duration) -> (BTreeSet<Record>, BTreeSet<Record>) {
    let mut child = Command::new(appender()).arg(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acknowledged, mut read) = (BTreeSet::new(), BTreeSet::new());
    let mut note = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may have been cut by the kill: then it acknowledges nothing.
        if let [kind, task, number] = words[..]
            && let (Ok(task), Ok(number)) = (task.parse(), number.parse())
        {
            let set = if kind == "a" { &mut acknowledged } else { &mut read };
            set.insert((task, number));
        }
    };
    // Its time begins with its first word: before, there would be nothing to lose.
    note(&lines.next().expect("the appender says something").unwrap());
    let start = Instant::now();
    while start.elapsed() < after {
        note(&lines.next().expect("the appender goes on until it is killed").unwrap());
    }
    // On Unix this is SIGKILL.
    child.kill().unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    child.wait().unwrap();
    for line in &rest {
        note(line);
    }
    (acknowledged, read)
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let (acknowledged, read) = run_and_kill(dir.path(), Duration::from_millis(40 + round * 35));
        assert!(acknowledged.len() > 20, "{} records prove nothing", acknowledged.len());

        let (writer, mut reader) = Spool::open(Options::new(dir.path())).unwrap();
        let mut left: Vec<Record> = Vec::new();
        while reader.has_data() {
            let batch = reader.next_batch(1000, 8 << 20, Duration::ZERO).await;
            for record in batch.records {
                let text = std::str::from_utf8(&record).unwrap();
                let mut words = text.split(' ');
                let mut word = || words.next().unwrap().parse().unwrap();
                left.push((word(), word()));
            }
        }
        let mut all: BTreeSet<Record> = read.clone();
        all.extend(&left);
        let lost: Vec<_> = acknowledged.difference(&all).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
        for task in 0..3 {
            let numbers: Vec<usize> = left.iter().filter(|(t, _)| *t == task).map(|(_, n)| *n).collect();
            assert!(
                numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "task {task} out of order: {numbers:?}"
            );
            // Written but not yet acknowledged: at most the one that each task had in hand.
            let extra = all.iter().filter(|r| r.0 == task && !acknowledged.contains(r)).count();
            assert!(extra <= 1, "task {task}: {extra} records that it had not been told of");
        }
        assert_eq!(writer.stats().corrupt, 0);
    }
}
