//! A running gateway, and a client of it.

use super::{Collector, Upstream};
use bytes::Bytes;
use contracts::Timestamp;
use contracts::policy::{KeyPolicy, Model, Provider, Route, Secret, Snapshot, TenantPolicy};
use contracts::price::{Charge, ModelPrice, PriceBook};
use control::SnapshotHandle;
use gateway_proxy::{Config, Server};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use runtime::{Clock, Shutdown};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The key that works.
pub const KEY: &str = "ct-test-0123456789abcdef";

/// A gateway, its client and its directory.
pub struct Gateway {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where its spool is.
    pub spool: PathBuf,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
    _dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// A header as text, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Settings for tests: any free port, a spool of its own.
pub fn config(collector: Option<&Collector>) -> Config {
    let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    // Without a collector, records stay in the spool.
    config.collector_url =
        collector.map_or_else(|| "http://127.0.0.1:1".into(), |c| format!("http://{}", c.addr));
    config.collector_key = "service-key".into();
    config.drain_ms = 2_000;
    config
}

/// A policy with one tenant, two models at `upstream` (`gpt-4o-mini`, and `pro` known upstream as `pro-2025`), a route
/// `fast` to the first, and keys: one that works, one revoked, one expired, one for `pro` alone, one of
/// another tenant.
pub fn snapshot(upstream: SocketAddr, capture_content: bool) -> Snapshot {
    snapshot_at(&format!("http://{upstream}/v1"), capture_content)
}

/// The same, with the models' server at `base_url`.
pub fn snapshot_at(base_url: &str, capture_content: bool) -> Snapshot {
    let provider = Arc::new(Provider {
        secret: Some(Secret::new("sk-upstream")),
        ..Provider::new("sim".parse().unwrap(), base_url.into())
    });
    let model = |name: &str, at: &str| {
        let model = Model {
            name: name.parse().unwrap(),
            upstream_model: at.into(),
            provider: provider.clone(),
            tier: "mid".into(),
            created_at: Timestamp::from_unix_seconds(1_700_000_000),
        };
        (model.name.clone(), Arc::new(model))
    };
    let tenant = Arc::new(TenantPolicy { capture_content, ..TenantPolicy::new("acme".parse().unwrap()) });
    let key = |secret: &str, id: &str| {
        let policy = KeyPolicy::new(id.parse().unwrap(), tenant.clone());
        (control::secrets::hash(secret), policy)
    };
    let (hash_other, other) = key("ct-other-tenant-0123456789", "key-other");
    let stranger = Arc::new(TenantPolicy { id: "other".parse().unwrap(), ..TenantPolicy::clone(&tenant) });
    let other = KeyPolicy { tenant: stranger, ..other };
    let past = Some(Timestamp::from_unix_seconds(1_600_000_000));
    let (hash_ok, ok) = key(KEY, "key-1");
    let (hash_revoked, revoked) = key("ct-revoked-key-0123456789", "key-revoked");
    let (hash_expired, expired) = key("ct-expired-key-0123456789", "key-expired");
    let (hash_pro, pro) = key("ct-only-pro-key-0123456789", "key-pro");
    let revoked = KeyPolicy { revoked_at: past, ..revoked };
    let expired = KeyPolicy { expires_at: past, ..expired };
    let pro = KeyPolicy { allowed_models: Some(vec!["pro".parse().unwrap()]), ..pro };
    let route = Route::new("fast".parse().unwrap(), "gpt-4o-mini".parse().unwrap());
    Snapshot {
        version: 1,
        keys: [
            (hash_ok, ok),
            (hash_revoked, revoked),
            (hash_expired, expired),
            (hash_pro, pro),
            (hash_other, other),
        ]
        .into_iter()
        .map(|(hash, policy)| (hash, Arc::new(policy)))
        .collect(),
        providers: [(provider.id.clone(), provider.clone())].into(),
        models: [model("gpt-4o-mini", "gpt-4o-mini"), model("pro", "pro-2025")].into_iter().collect(),
        shared_routes: [(route.name.clone(), Arc::new(route))].into_iter().collect(),
        prices: Arc::new(prices()),
        ..Snapshot::default()
    }
}

/// $1 a million input tokens, $2 a million output tokens, $0.1 a million cached ones; a hundredfold at priority.
fn prices() -> PriceBook {
    let card = serde_json::json!([
        { "rates": { "input": "1", "output": "2", "cache_read": "0.1" } },
        { "tier": "priority", "rates": { "input": "100", "output": "200", "cache_read": "10" } },
    ]);
    let charge = Charge::Tokens(serde_json::from_value(card).unwrap());
    let price = |model: &str| ModelPrice {
        provider: "sim".into(),
        model: model.into(),
        aliases: Vec::new(),
        prefixes: Vec::new(),
        valid_from: None,
        charge: charge.clone(),
        source: String::new(),
    };
    PriceBook::new("test-1", vec![price("gpt-4o-mini"), price("pro-2025")]).unwrap()
}

/// A chat request.
pub fn chat(stream: bool) -> String {
    format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Say hi"}}],"stream":{stream}}}"#
    )
}

impl Gateway {
    /// In front of `upstream`, with these settings.
    pub fn start(config: Config, snapshot: Snapshot) -> Self {
        Self::start_at(config, snapshot, Clock::system())
    }

    /// The same, with a clock of the test's.
    pub fn start_at(config: Config, snapshot: Snapshot, clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config;
        config.budgets.dir = dir.path().join("budgets");
        config.spool.dir = dir.path().join("spool");
        let spool = config.spool.dir.clone();
        let server = Server::bind(config, SnapshotHandle::fixed(snapshot), clock).unwrap();
        let addr = server.local_addr().unwrap();
        let shutdown = Shutdown::manual();
        let task = tokio::spawn(server.serve(shutdown.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { addr, spool, client, shutdown, task, _dir: dir }
    }

    /// In front of `upstream`, with the defaults and a collector.
    pub async fn simple(upstream: &Upstream) -> (Self, Collector) {
        let collector = Collector::start().await;
        let gateway = Self::start(config(Some(&collector)), snapshot(upstream.addr, true));
        (gateway, collector)
    }

    /// A request with JSON and the key that works.
    pub fn request(&self, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::post(format!("http://{}{path}", self.addr))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    }

    /// Sends a request; returns as soon as the head of the answer is there.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    /// Sends a request and reads the answer to its end.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned();
        Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
    }

    /// Posts JSON with the key that works.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(self.request(path, body)).await
    }

    /// Gets a path with the key that works.
    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(format!("http://{}{path}", self.addr))
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::default())
            .unwrap();
        self.call(request).await
    }

    /// One metric's value, by its name with labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await;
        text.text().lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Whether the spool's files hold this text.
    pub fn is_spooled(&self, text: &str) -> bool {
        let files = std::fs::read_dir(&self.spool).unwrap();
        files.flatten().any(|file| {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            bytes.windows(text.len()).any(|w| w == text.as_bytes())
        })
    }

    /// Waits until it ends by itself, and says how.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.task.await.unwrap()
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
    }

    /// Loads what counts tokens, so that a test of time does not wait for it.
    pub fn warm_up() {
        let _loaded = tiktoken_rs::o200k_base_singleton().count_ordinary("warm");
    }

    /// Asks it to stop and goes on.
    pub fn begin_stop(&self) {
        self.shutdown.trigger();
    }
}
