//! A tower of the real binary, on free ports and in a directory of its own.

use crate::http::Http;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_control-tower");
/// The ports that `--port-base` shifts.
const PORTS: [u16; 9] = [3000, 4317, 4318, 8070, 8080, 8090, 8123, 8124, 9009];
/// The machine may be busy with other tests.
const STARTED_WITHIN: Duration = Duration::from_mins(3);
const STOPPED_WITHIN: Duration = Duration::from_mins(1);
/// So many last lines of each log are shown when a test fails: what a role says as it ends and as it starts again.
const LOG_LINES: usize = 60;

/// A running tower; stopped when dropped. Its directory goes with the last one that was started on it.
pub(crate) struct Tower {
    pub(crate) http: Http,
    pub(crate) bootstrap: Value,
    up: Child,
    site: Site,
}

/// Where a tower stands: its directory and its ports. The next tower may take them over.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    dir: Arc<tempfile::TempDir>,
    ports: Arc<Ports>,
}

impl Site {
    fn new() -> Self {
        Self { dir: Arc::new(tempfile::tempdir().unwrap()), ports: Arc::new(Ports::take()) }
    }
}

impl Tower {
    /// Starts one on a new directory, and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::launch(Site::new(), None).await
    }

    /// Starts one with a configuration of the caller's.
    pub(crate) async fn start_with(config: &Path) -> Self {
        Self::launch(Site::new(), Some(config)).await
    }

    /// Starts one where another one stood.
    pub(crate) async fn start_on(site: Site) -> Self {
        Self::launch(site, None).await
    }

    async fn launch(site: Site, config: Option<&Path>) -> Self {
        let log = File::create(site.dir.path().join("up.log")).unwrap();
        let up = Command::new(BINARY)
            .args(["up", "--port-base", &site.ports.base.to_string(), "--data-dir"])
            .arg(site.dir.path())
            .args(config.iter().flat_map(|file| [Path::new("--config"), file]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut tower = Self { http: Http::new(), bootstrap: Value::Null, up, site };
        let started = Instant::now();
        while !tower.read("up.log").contains("ready in ") {
            if let Some(status) = tower.up.try_wait().unwrap() {
                panic!(
                    "control-tower up ended ({status}); `cargo xtask engine` fetches the engine where it is missing"
                );
            }
            assert!(started.elapsed() < STARTED_WITHIN, "control-tower up is not ready in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tower.bootstrap = serde_json::from_str(&tower.read("bootstrap.json")).unwrap();
        tower
    }

    /// Asks it to stop, as Ctrl-C does; says where it stood.
    pub(crate) async fn stop(mut self) -> Site {
        signal(self.up.id(), Signal::INT);
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.up.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < STOPPED_WITHIN, "control-tower up does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(status.success(), "control-tower up ended with {status}");
        self.site.clone()
    }

    /// Ends `up` itself by kill -9; says where it stood.
    pub(crate) fn kill(mut self) -> Site {
        self.up.kill().unwrap();
        self.up.wait().unwrap();
        self.site.clone()
    }

    /// A text of `bootstrap.json`, such as `/gateway_url`.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.bootstrap
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("bootstrap.json lacks {pointer}"))
    }

    /// URL of a path at the gateway.
    pub(crate) fn gateway(&self, path: &str) -> String {
        format!("{}{path}", self.text("/gateway_url"))
    }

    /// URL of a path at the console.
    pub(crate) fn console(&self, path: &str) -> String {
        format!("{}{path}", self.text("/console_url"))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.site.dir.path()
    }

    /// Processes by role.
    pub(crate) fn pids(&self) -> Value {
        serde_json::from_str(&self.read("run.json")).unwrap_or_default()
    }

    /// Where a role answers for itself.
    pub(crate) fn health(&self, role: &str) -> String {
        let urls: Value = serde_json::from_str(&self.read("health.json")).unwrap();
        urls[role].as_str().unwrap_or_else(|| panic!("health.json lacks {role}: {urls}")).to_owned()
    }

    /// A file of the data directory; empty when there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.site.dir.path().join(name)).unwrap_or_default())
            .into_owned()
    }

    /// Asks the API of the console with the admin key.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let key = self.text("/admin_key");
        let answer = self.http.get(&self.console(path), &[("authorization", &format!("Bearer {key}"))]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// What goes on in the gateway, as a script is told.
    pub(crate) fn live(&self) -> Value {
        let output = run(&["top", "--once", "--json", "--data-dir", self.dir().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The rows of a query, each an object.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Value> {
        let url = format!("{}/?database={}", self.text("/clickhouse/url"), self.text("/clickhouse/database"));
        let headers = [
            ("x-clickhouse-user", self.text("/clickhouse/user")),
            ("x-clickhouse-key", self.text("/clickhouse/password")),
        ];
        let answer = self.http.post(&url, &headers, format!("{sql} FORMAT JSONEachRow")).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until `sql`, which selects one `n`, gives `expected`.
    pub(crate) async fn wait_for(&self, sql: &str, expected: u64, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let rows = self.query(sql).await;
            let found = number(&rows[0]["n"]);
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {found} after {within:?}, expected {expected}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn show_logs(&self) {
        let mut names = vec![PathBuf::from("up.log")];
        let logs = std::fs::read_dir(self.site.dir.path().join("logs")).into_iter().flatten().flatten();
        names.extend(logs.map(|entry| Path::new("logs").join(entry.file_name())));
        for name in names {
            let text = self.read(&name.display().to_string());
            let lines: Vec<&str> = text.lines().collect();
            println!("--- {}\n{}", name.display(), lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
        }
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        if matches!(self.up.try_wait(), Ok(None)) {
            // The roles end with it: they hold the other ends of its pipes.
            let _ = self.up.kill();
            let _ = self.up.wait();
        }
    }
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A number that ClickHouse may write as text.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A block of ports that no other test takes as long as this is held, in whatever process it runs.
#[derive(Debug)]
struct Ports {
    base: u16,
    _taken: File,
}

impl Ports {
    /// Bases are so far apart that no two towers share a port, and below the range from which the system takes ports itself.
    const BASES: std::ops::Range<u16> = 0..52;
    const STEP: u16 = 211;

    fn take() -> Self {
        let locks = std::env::temp_dir().join("control-tower-test-ports");
        std::fs::create_dir_all(&locks).unwrap();
        let free = |base: u16| {
            PORTS.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port + base)).is_ok())
        };
        let started = Instant::now();
        loop {
            for index in Self::BASES {
                let base = 11_000 + index * Self::STEP;
                let lock = File::create(locks.join(base.to_string())).unwrap();
                if lock.try_lock().is_ok() && free(base) {
                    return Self { base, _taken: lock };
                }
            }
            assert!(started.elapsed() < STARTED_WITHIN, "no block of ports is free");
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}
