//! A tower of the real binary, on free ports and a directory of its own.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// The ports that `--port-base` shifts.
const PORTS: [u16; 8] = [3000, 4317, 4318, 8070, 8080, 8090, 8123, 9009];
const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// A running tower; stopped, and its directory removed, when dropped.
pub(crate) struct Tower {
    pub(crate) http: Http,
    up: Child,
    dir: tempfile::TempDir,
    bootstrap: Value,
}

impl Tower {
    /// Starts one, and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = File::create(dir.path().join("up.log")).expect("a log");
        let up = Command::new(env!("CARGO_BIN_EXE_control-tower"))
            .args(["up", "--port-base", &free_port_base().to_string(), "--data-dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let http = Client::builder(TokioExecutor::new()).build_http();
        let mut tower = Self { http, up, dir, bootstrap: Value::Null };
        let started = Instant::now();
        while !tower.log("up.log").contains("ready in ") {
            if let Some(status) = tower.up.try_wait().expect("a child of ours") {
                panic!(
                    "control-tower up ended ({status}); where the engine's library is missing, `cargo xtask engine` \
                     fetches it"
                );
            }
            assert!(started.elapsed() < STARTED_WITHIN, "control-tower up is not ready in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let bootstrap = std::fs::read(tower.dir.path().join("bootstrap.json")).expect("a bootstrap file");
        tower.bootstrap = serde_json::from_slice(&bootstrap).expect("JSON");
        tower
    }

    /// Asks it to stop, as Ctrl-C does, and checks that it ends well and leaves nobody behind.
    pub(crate) async fn stop(mut self) {
        signal(self.up.id(), Signal::TERM);
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.up.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(asked.elapsed() < Duration::from_secs(60), "control-tower up does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(status.success(), "control-tower up ended with {status}");
    }

    /// The process of a role, while it has one.
    pub(crate) fn pid(&self, role: &str) -> Option<u32> {
        let run = std::fs::read(self.dir.path().join("run.json")).ok()?;
        let run: Value = serde_json::from_slice(&run).ok()?;
        run[role].as_u64()?.try_into().ok()
    }

    /// Whether a role says that it is ready.
    pub(crate) async fn is_ready(&self, role: &str) -> bool {
        let url = match role {
            "gateway" => format!("{}/readyz", self.text("/gateway_url")),
            "collector" => format!("{}/readyz", self.text("/otlp_http_url")),
            "web" => format!("{}/readyz", self.text("/console_url")),
            "store" => format!("{}/ping", self.text("/clickhouse/url")),
            other => panic!("{other} is no role"),
        };
        let request = Request::get(url).body(Full::default()).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(1), self.http.request(request)).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()))
    }

    /// What ClickHouse answers; asked again for a while, for it may have just been killed.
    pub(crate) async fn query(&self, sql: &'static str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let request = Request::post(format!(
                "{}/?database={}",
                self.text("/clickhouse/url"),
                self.text("/clickhouse/database")
            ))
            .header("x-clickhouse-user", self.text("/clickhouse/user"))
            .header("x-clickhouse-key", self.text("/clickhouse/password"))
            .body(Full::new(Bytes::from_static(sql.as_bytes())))
            .expect("a request");
            let failure = match self.http.request(request).await {
                Ok(answer) => {
                    let status = answer.status();
                    let body = answer.into_body().collect().await.expect("an answer").to_bytes();
                    let text = String::from_utf8_lossy(&body).into_owned();
                    if status.is_success() {
                        return text;
                    }
                    text
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "{sql}: {failure}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) fn gateway_url(&self) -> String {
        self.text("/gateway_url").to_owned()
    }

    pub(crate) fn tenant_key(&self) -> String {
        self.text("/tenant_key").to_owned()
    }

    fn text(&self, pointer: &str) -> &str {
        self.bootstrap.pointer(pointer).and_then(Value::as_str).expect("bootstrap.json names it")
    }

    fn log(&self, name: &str) -> String {
        let bytes = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The ends of all logs, for whoever must find out why a test failed.
    fn show_logs(&self) {
        let mut names = vec!["up.log".to_owned()];
        let logs = std::fs::read_dir(self.dir.path().join("logs")).into_iter().flatten().flatten();
        names.extend(logs.map(|entry| Path::new("logs").join(entry.file_name()).display().to_string()));
        for name in names {
            let text = self.log(&name);
            let lines: Vec<&str> = text.lines().collect();
            println!("--- {name}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        if matches!(self.up.try_wait(), Ok(None)) {
            signal(self.up.id(), Signal::TERM);
            let asked = Instant::now();
            while matches!(self.up.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(20) {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            // The roles end with it: they hold the other ends of its pipes.
            let _ = self.up.kill();
            let _ = self.up.wait();
        }
    }
}

/// kill -9.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a process of ours");
}

/// A shift by which all ports of a tower are free, below the range from which the system takes ports by itself.
fn free_port_base() -> u16 {
    let start = u16::try_from(std::process::id() % 11_000).expect("below the modulus");
    let bases = (0..11_000).step_by(7).map(|step| 11_000 + (start + step) % 11_000);
    let free =
        |base: &u16| PORTS.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port + base)).is_ok());
    bases.into_iter().find(free).expect("a block of free ports")
}
