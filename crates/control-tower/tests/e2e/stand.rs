//! Gateways under pressure: the real binary's simulated pool and gateways on one control database, without the rest of a tower.
//! What the pool served is read from its own log, whatever the gateways say.

use contracts::policy::Kind;
use control::Control;
use control::records::{NewApiKey, NewModel, NewProvider, NewRoute, NewTenant};
use runtime::Clock;
use serde_json::{Value, json};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_control-tower");
const STARTED_WITHIN: Duration = Duration::from_mins(1);
/// Where nobody listens: there is no collector, and the gateways keep what they would tell it.
const NOBODY: &str = "http://127.0.0.1:9";

/// The pool, the control database, and a directory for all.
pub(crate) struct Stand {
    dir: tempfile::TempDir,
    control: Control,
    sim_url: String,
    pub(crate) http: crate::http::Http,
    _sim: Process,
}

/// A process of the binary; ended when dropped.
struct Process(Child);

/// A gateway of the stand.
pub(crate) struct Gateway {
    pub(crate) url: String,
    name: String,
    config: Vec<(String, String)>,
    process: Option<Process>,
}

impl Stand {
    /// Starts the pool with this configuration (TOML of `[sim]`).
    pub(crate) async fn start(sim: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = dir.path().join("sim.toml");
        std::fs::write(&config, sim).unwrap();
        let url = format!("sqlite://{}", dir.path().join("control.db").display());
        let control = Control::open(&url).await.unwrap();
        let mut command = Command::new(BINARY);
        command.args(["sim", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(&config);
        command.arg("--log").arg(dir.path().join("sim.jsonl"));
        let sim = Process::start(command, &dir.path().join("sim.log"));
        let http = crate::http::Http::new();
        let sim_url = format!("http://127.0.0.1:{port}");
        let stand = Self { dir, control, sim_url, http, _sim: sim };
        stand.wait_for(&format!("{}/v1/models", stand.sim_url), &[]).await;
        stand
    }

    /// A provider that is one deployment of the pool, by its name.
    pub(crate) async fn deployment(&self, name: &str) {
        let base = format!("{}/d/{name}/v1", self.sim_url);
        let mut new = NewProvider::new(name.parse().unwrap(), base);
        new.price_as = Some("sim".to_owned());
        self.control.providers().create(new, Clock::system().now()).await.unwrap();
    }

    /// A model whose own provider is this.
    pub(crate) async fn model(&self, name: &str, provider: &str) {
        let new = NewModel {
            name: name.parse().unwrap(),
            provider: provider.parse().unwrap(),
            upstream_model: None,
            price_as: None,
            tier: None,
        };
        self.control.models().create(new, Clock::system().now()).await.unwrap();
    }

    /// A route that everybody sees.
    pub(crate) async fn route(&self, name: &str, model: &str, spec: &Value) {
        let spec = Some(serde_json::from_value(spec.clone()).unwrap());
        let new = NewRoute { spec, ..NewRoute::new(name.parse().unwrap(), model.parse().unwrap()) };
        self.control.routes().create(new, Clock::system().now()).await.unwrap();
    }

    /// What a million tokens of a model cost, in dollars: input and output.
    pub(crate) async fn price(&self, model: &str, input: &str, output: &str) {
        let entry = json!({
            "provider": "sim", "model": model, "source": "made up",
            "charge": {"tokens": [{"rates": {"input": input, "output": output, "cache_read": input}}]},
        });
        self.control.prices().put(vec![serde_json::from_value(entry).unwrap()]).await.unwrap();
    }

    /// A tenant, under a plan if there is one; the secret of its key.
    pub(crate) async fn tenant(&self, name: &str, plan: Option<&str>) -> String {
        let now = Clock::system().now();
        let mut new = NewTenant::new(name.parse().unwrap());
        new.plan = plan.map(|plan| plan.parse().unwrap());
        self.control.tenants().create(new, now).await.unwrap();
        let key = NewApiKey::new(name.parse().unwrap(), "");
        self.control.keys().create(key, now).await.unwrap().secret
    }

    /// Writes a policy.
    pub(crate) async fn put(&self, kind: Kind, name: &str, spec: &Value) {
        let (name, now) = (name.parse().unwrap(), Clock::system().now());
        self.control.documents().put(kind, None, &name, spec, None, now).await.unwrap();
    }

    /// How a deployment of the pool behaves from now on.
    pub(crate) async fn behave(&self, conduct: Value) {
        let headers = [("content-type", "application/json")];
        let answer =
            self.http.post(&format!("{}/sim/behaviour", self.sim_url), &headers, conduct.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Every call that the pool served or refused so far.
    pub(crate) fn served(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.dir.path().join("sim.jsonl")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Requests that reached the pool so far, whether they have ended or not.
    pub(crate) async fn reached(&self) -> u64 {
        let all = self.http.get(&format!("{}/sim/behaviour", self.sim_url), &[]).await.json();
        let requests = |deployment: &Value| deployment["counts"]["requests"].as_u64().unwrap();
        all.as_object().unwrap().iter().filter(|(name, _)| *name != "default").map(|(_, d)| requests(d)).sum()
    }

    /// Starts a gateway; `key` is a key that it must know to be ready.
    pub(crate) async fn gateway(&self, name: &str, config: &[(&str, &str)], key: &str) -> Gateway {
        let port = free_port();
        let place = |what: &str| self.dir.path().join(name).join(what).display().to_string();
        let control = format!("sqlite://{}", self.dir.path().join("control.db").display());
        let mut all: Vec<(String, String)> = [
            ("CONTROL__URL", control.as_str()),
            ("GATEWAY__LISTEN", &format!("127.0.0.1:{port}")),
            ("GATEWAY__INSTANCE", name),
            ("GATEWAY__COLLECTOR_URL", NOBODY),
            ("GATEWAY__SPOOL__DIR", &place("spool")),
            ("GATEWAY__BUDGETS__DIR", &place("budgets")),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
        all.extend(config.iter().map(|(key, value)| (format!("GATEWAY__{key}"), (*value).to_owned())));
        let url = format!("http://127.0.0.1:{port}");
        let mut gateway = Gateway { url, name: name.to_owned(), config: all, process: None };
        self.restart(&mut gateway, key).await;
        gateway
    }

    /// Starts a gateway again where it was.
    pub(crate) async fn restart(&self, gateway: &mut Gateway, key: &str) {
        let mut command = Command::new(BINARY);
        command.arg("gateway");
        command.envs(gateway.config.iter().map(|(key, value)| (format!("CONTROL_TOWER__{key}"), value)));
        // Whether this machine has the embedder's weights must not decide what a test sees.
        command.env_remove(inference::models::MODEL_DIR).env("XDG_CACHE_HOME", self.dir.path());
        let log = self.dir.path().join(format!("{}.log", gateway.name));
        gateway.process = Some(Process::start(command, &log));
        let bearer = format!("Bearer {key}");
        self.wait_for(&format!("{}/v1/models", gateway.url), &[("authorization", &bearer)]).await;
    }

    async fn wait_for(&self, url: &str, headers: &[(&str, &str)]) {
        let started = Instant::now();
        while !self.http.answers(url, headers).await {
            assert!(started.elapsed() < STARTED_WITHIN, "{url} is not ready in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Gateway {
    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }
}

impl Process {
    fn start(mut command: Command, log: &std::path::Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for entry in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                println!("--- {}\n{}", path.display(), lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
