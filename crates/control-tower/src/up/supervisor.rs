//! Keeping processes alive.
//!
//! A child holds the read end of a pipe as its standard input: closing the write end asks it to stop, and so does our own
//! death, however sudden. Children have a process group of their own, so that Ctrl-C in a terminal reaches only us and we
//! decide the order. A child that dies is started again at once; one that keeps dying, after growing pauses. A child that
//! hangs is killed, and so dies.

use super::place::{HEALTH_FILE, Place, RUN_FILE, write_private};
use super::plan::Spec;
use super::pulse;
use crate::probe::Probe;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A child that lived this long has recovered: its next death is its first.
const STABLE: Duration = Duration::from_secs(20);
/// Pauses before the second, third, … start in a row; the last one is repeated.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Deaths during the tower's start after which the start has failed.
const FATAL_DEATHS: u32 = 3;
/// A log larger than this is set aside.
const LOG_BYTES: u64 = 64 * 1024 * 1024;
/// How often logs are looked at while their roles write them.
const LOG_CHECK: Duration = Duration::from_mins(1);
/// Where the last line of a log is looked for: in so many bytes at its end.
const LAST_BYTES: u64 = 64 * 1024;

/// Who runs, in memory and in `DIR/run.json`; where they are, in `DIR/health.json`. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<BoardState>);

#[derive(Debug)]
struct BoardState {
    pids: PathBuf,
    urls: PathBuf,
    roles: Mutex<BTreeMap<&'static str, RoleState>>,
}

#[derive(Debug, Clone, Default)]
struct RoleState {
    pid: Option<u32>,
    deaths: u32,
    last_words: String,
}

impl Board {
    /// Nobody runs but us yet; these are to.
    pub(crate) fn new(place: &Place, specs: &[Spec]) -> anyhow::Result<Self> {
        let (pids, urls) = (place.dir().join(RUN_FILE), place.dir().join(HEALTH_FILE));
        let by_role: BTreeMap<&str, &str> = specs.iter().map(|spec| (spec.role, spec.url.as_str())).collect();
        write_private(&urls, &serde_json::to_vec(&by_role)?)
            .with_context(|| format!("{}: cannot be written", urls.display()))?;
        let board = Self(Arc::new(BoardState { pids, urls, roles: Mutex::default() }));
        let pid = Some(std::process::id());
        board.change("up", |state| state.pid = pid);
        Ok(board)
    }

    /// Nobody runs any more.
    pub(crate) fn clear(&self) {
        for path in [&self.0.pids, &self.0.urls] {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot be removed");
            }
        }
    }

    fn change(&self, role: &'static str, change: impl FnOnce(&mut RoleState)) {
        let mut roles = self.0.roles.lock().unwrap_or_else(PoisonError::into_inner);
        change(roles.entry(role).or_default());
        let pids: BTreeMap<&str, u32> =
            roles.iter().filter_map(|(role, state)| Some((*role, state.pid?))).collect();
        let written = serde_json::to_vec(&pids).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|bytes| write_private(&self.0.pids, &bytes)) {
            tracing::error!(path = %self.0.pids.display(), %error, "cannot be written");
        }
    }

    fn state(&self, role: &str) -> RoleState {
        let roles = self.0.roles.lock().unwrap_or_else(PoisonError::into_inner);
        roles.get(role).cloned().unwrap_or_default()
    }
}

/// A role that is kept alive.
#[derive(Debug)]
pub(crate) struct Child {
    spec: Arc<Spec>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Child {
    /// Starts the role and keeps it alive until [`Child::stop`].
    pub(crate) fn start(spec: Spec, board: Board, probe: Probe) -> Self {
        let spec = Arc::new(spec);
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_alive(spec.clone(), board, probe, stop.clone()));
        Self { spec, stop, task }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// An error when the role keeps dying during the tower's start.
    pub(crate) fn check_alive(&self, board: &Board) -> anyhow::Result<()> {
        let state = board.state(self.spec.role);
        if state.deaths < FATAL_DEATHS {
            return Ok(());
        }
        bail!("{} does not start: {}", self.spec.role, state.last_words)
    }

    /// Asks the role to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(role = self.spec.role, %error, "its supervisor failed");
        }
    }
}

async fn keep_alive(spec: Arc<Spec>, board: Board, probe: Probe, stop: CancellationToken) {
    let role = spec.role;
    let health_url = format!("{}/healthz", spec.url);
    let mut row = 0;
    loop {
        let started = Instant::now();
        let mut child = match spawn(&spec) {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(role, error = %format!("{error:#}"), "cannot be started");
                board.change(role, |state| {
                    state.deaths += 1;
                    state.last_words = format!("{error:#}");
                });
                if pause(&mut row, Duration::ZERO, &stop).await {
                    return;
                }
                continue;
            }
        };
        // Waiting for a child closes its standard input, which would stop it; so the pipe is held here.
        let lifeline = child.stdin.take();
        let pid = child.id();
        board.change(role, |state| state.pid = pid);
        let last_words = tokio::select! {
            status = child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::error!(role, pid, %status, lived_ms = millis(started.elapsed()), "died, starting it again");
                last_words(spec.log.as_deref(), &status)
            }
            complaint = pulse::until_it_hangs(&probe, &health_url, spec.stop_deadline) => {
                tracing::error!(
                    role, pid, complaint, lived_ms = millis(started.elapsed()),
                    "hangs, killing it and starting it again"
                );
                kill(role, &mut child).await;
                complaint
            }
            never = keep_small(&spec) => match never {},
            () = stop.cancelled() => {
                end(&spec, child, lifeline).await;
                board.change(role, |state| state.pid = None);
                return;
            }
        };
        board.change(role, |state| {
            (state.pid, state.deaths, state.last_words) = (None, state.deaths + 1, last_words);
        });
        if pause(&mut row, started.elapsed(), &stop).await {
            return;
        }
    }
}

/// Waits as long as the number of deaths in a row asks for; true when it is time to stop instead.
async fn pause(row: &mut usize, lived: Duration, stop: &CancellationToken) -> bool {
    *row = if lived >= STABLE { 0 } else { *row };
    let pause = PAUSES.get(*row).or(PAUSES.last()).copied().unwrap_or_default();
    *row += 1;
    tokio::select! {
        () = tokio::time::sleep(pause) => false,
        () = stop.cancelled() => true,
    }
}

fn spawn(spec: &Spec) -> anyhow::Result<tokio::process::Child> {
    let binary = std::env::current_exe().context("cannot find our own binary")?;
    let mut command = Command::new(binary);
    command.args(&spec.args).envs(spec.env.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
    match &spec.log {
        None => command.stderr(Stdio::piped()),
        Some(path) => {
            set_aside(path, LOG_BYTES).with_context(|| path.display().to_string())?;
            let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
            command.stderr(log.with_context(|| format!("{}: cannot be opened", path.display()))?)
        }
    };
    let mut child = command.spawn().context("cannot start a process")?;
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(show(spec.role, stderr));
    }
    Ok(child)
}

async fn show(role: &'static str, stderr: tokio::process::ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        crate::output::fail(&format!("{role:9} | {line}"));
    }
}

/// Closes the child's standard input and waits; kills it when it takes too long.
async fn end(spec: &Spec, mut child: tokio::process::Child, lifeline: Option<ChildStdin>) {
    drop(lifeline);
    if let Ok(status) = tokio::time::timeout(spec.stop_deadline, child.wait()).await {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::info!(role = spec.role, %status, "stopped");
        return;
    }
    tracing::warn!(
        role = spec.role,
        deadline_s = spec.stop_deadline.as_secs(),
        "did not stop in time and is killed"
    );
    kill(spec.role, &mut child).await;
}

async fn kill(role: &str, child: &mut tokio::process::Child) {
    if let Err(error) = child.kill().await {
        tracing::error!(role, %error, "cannot be killed");
    }
}

/// Sets the role's log aside whenever it has grown too large: roles run for months.
async fn keep_small(spec: &Spec) -> Infallible {
    loop {
        tokio::time::sleep(LOG_CHECK).await;
        let Some(path) = spec.log.clone() else { continue };
        let done = tokio::task::spawn_blocking(move || set_aside(&path, LOG_BYTES)).await;
        if let Err(error) = done.map_err(std::io::Error::from).and_then(|done| done) {
            tracing::warn!(role = spec.role, %error, "its log is too large and cannot be set aside");
        }
    }
}

/// Moves what is in a log larger than `most` to `….log.1`, its end at least. The role may be writing: it goes on at the beginning of the
/// same file, and what it writes between the copy and the cut is lost.
fn set_aside(path: &Path, most: u64) -> std::io::Result<()> {
    let Ok(mut log) = File::open(path) else { return Ok(()) };
    let length = log.metadata()?.len();
    if length <= most {
        return Ok(());
    }
    log.seek(SeekFrom::Start(length.saturating_sub(2 * most)))?;
    std::io::copy(&mut log, &mut File::create(path.with_extension("log.1"))?)?;
    File::options().write(true).open(path)?.set_len(0)
}

/// The last `most` bytes of a file.
fn end_of(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut end = Vec::new();
    file.take(most).read_to_end(&mut end)?;
    Ok(end)
}

/// The last line of the role's log, which says why it died; its exit status otherwise.
fn last_words(log: Option<&Path>, status: &str) -> String {
    let log = log.and_then(|path| end_of(path, LAST_BYTES).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => line.chars().take(2000).collect(),
        None => status.to_owned(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_words_of_a_log_that_does_not_fit_memory_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        let mut log = File::create(&path).unwrap();
        // A hole takes no room on the disk, and all the room in memory if it is read.
        log.set_len(1 << 40).unwrap();
        log.seek(SeekFrom::End(0)).unwrap();
        log.write_all("\nlistens\npanicked at h\u{e9}\n\n".as_bytes()).unwrap();
        assert_eq!(last_words(Some(&path), "exit status: 1"), "panicked at h\u{e9}");
        assert_eq!(last_words(Some(&dir.path().join("none")), "exit status: 1"), "exit status: 1");
        assert_eq!(last_words(None, "signal: 9"), "signal: 9");
    }

    #[test]
    fn a_log_is_set_aside_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.log");
        let mut role = File::options().create(true).append(true).open(&path).unwrap();
        role.write_all(b"first\n").unwrap();
        set_aside(&path, 10).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first\n", "it is small");
        role.write_all(b"second\n").unwrap();
        set_aside(&path, 10).unwrap();
        role.write_all(b"third\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"third\n");
        assert_eq!(std::fs::read(dir.path().join("gateway.log.1")).unwrap(), b"first\nsecond\n");
        // Of what grew beyond all bounds the end is kept.
        role.write_all(&[b'x'; 100]).unwrap();
        set_aside(&path, 10).unwrap();
        assert_eq!(std::fs::read(dir.path().join("gateway.log.1")).unwrap(), [b'x'; 20]);
        set_aside(&dir.path().join("none.log"), 10).unwrap();
    }
}
