//! A process is asked to stop by either signal or by the death of its parent, and ends at once when asked again.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

struct Waiting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Waiting {
    /// Starts the example `wait`, which cargo builds along with this test.
    fn start() -> Self {
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().parent().unwrap().join("examples/wait");
        assert!(path.exists(), "{} is missing: `cargo build -p runtime --examples`", path.display());
        let mut child = Command::new(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut waiting = Self { child, lines };
        assert_eq!(waiting.line(), "waiting");
        waiting
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it says something").unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn either_signal_asks_to_stop_and_a_second_one_insists() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let mut waiting = Waiting::start();
        waiting.signal(first);
        assert_eq!(waiting.line(), "asked to stop");
        waiting.signal(second);
        assert_eq!(waiting.child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn the_end_of_standard_input_asks_to_stop() {
    let mut waiting = Waiting::start();
    drop(waiting.child.stdin.take());
    assert_eq!(waiting.line(), "asked to stop");
    // A service manager tells the parent and us: its one signal must not cut our drain short. Two are meant.
    waiting.signal(Signal::TERM);
    std::thread::park_timeout(Duration::from_millis(300));
    assert_eq!(waiting.child.try_wait().unwrap(), None);
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.child.wait().unwrap().code(), Some(130));
}
