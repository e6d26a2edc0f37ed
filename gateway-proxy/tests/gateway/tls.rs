//! Providers, a collector and Redis behind TLS, with certificates of an authority that the world does not know.

use crate::cascades::routed;
use crate::limits::named;
use crate::support::{Collector, Gateway, Upstream, chat, config, json, snapshot_at, sse};
use contracts::policy::Reaching;
use contracts::policy::budget::Budget;
use gateway_proxy::Config;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const ANSWER: &str = r#"{"id":"c","model":"gpt-4o-mini","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

/// TLS in front of `behind`; returns where, and writes what clients must trust to `ca_file`.
async fn front(behind: SocketAddr, ca_file: &Path) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let mut known = std::fs::read_to_string(ca_file).unwrap_or_default();
    known.push_str(&certificate.pem());
    std::fs::write(ca_file, known).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
            });
        }
    });
    addr
}

fn trusting(ca_file: Option<PathBuf>, collector: SocketAddr) -> Config {
    Config { ca_file, collector_url: format!("https://{collector}"), ..config(None) }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    let upstream = Upstream::start(|request| {
        if String::from_utf8_lossy(&request.body).contains("\"stream\":true") {
            sse(&[b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"])
        } else {
            json(200, ANSWER)
        }
    })
    .await;
    let collector = Collector::start().await;
    let (model, records) = (front(upstream.addr, &ca_file).await, front(collector.addr, &ca_file).await);
    let policy = snapshot_at(&format!("https://{model}/v1"), false);

    let gateway = Gateway::start(trusting(Some(ca_file), records), policy.clone());
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ANSWER));
    assert_eq!(gateway.post("/v1/chat/completions", chat(true)).await.status, 200);
    let connections: Vec<usize> = upstream.received().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 0], "the connection is kept, TLS and all");
    assert_eq!(collector.calls(2).await.len(), 2);

    let wary = Gateway::start(trusting(None, records), policy);
    assert_eq!(wary.post("/v1/chat/completions", chat(false)).await.status, 502);
    assert_eq!(upstream.received().len(), 2, "nothing was sent to whom nobody vouches for");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, "nothing").unwrap();
    let gateway = Gateway::start(
        trusting(Some(ca_file.clone()), "127.0.0.1:1".parse().unwrap()),
        snapshot_at("https://127.0.0.1:1/v1", false),
    );
    let error = gateway.ended().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("gateway.ca_file: {}: no certificate", ca_file.display())), "{error}");
}

/// A Redis that takes TLS alone, and the file of its authority.
struct Redis {
    process: Child,
    url: String,
    ca_file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let (cert_file, key_file) = (dir.path().join("redis.pem"), dir.path().join("redis.key"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", "0", "--tls-auth-clients", "no"])
            .args(["--tls-port", &port.to_string()])
            .arg("--tls-cert-file")
            .arg(&cert_file)
            .arg("--tls-key-file")
            .arg(&key_file)
            .arg("--tls-ca-cert-file")
            .arg(&cert_file)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Self { process, url: format!("rediss://127.0.0.1:{port}"), ca_file: cert_file, _dir: dir }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

#[tokio::test]
async fn budgets_and_answers_are_shared_through_a_redis_behind_tls() {
    let redis = Redis::start();
    let upstream = Upstream::always(json(200, ANSWER)).await;
    let cache = serde_json::json!({"exact": true, "ttl_seconds": 60});
    let mut policy = routed(&upstream, &upstream, None, Some(cache));
    let budget = serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "1"});
    let budget: Budget = serde_json::from_value(budget).unwrap();
    policy.budgets.insert(None, budget.reach(), Ok(named("b", budget)));
    let start = |ca_file: Option<&Path>| {
        let mut config = config(None);
        config.redis_ca_file = ca_file.map(Path::to_owned);
        config.budgets.redis.clone_from(&redis.url);
        config.cache.redis.clone_from(&redis.url);
        // A new Redis keeps closed for a lease.
        config.budgets.lease_ms = 300;
        Gateway::start(config, policy.clone())
    };
    let ask = async |gateway: &Gateway, text: &str| {
        let body = serde_json::json!({"model": "route", "max_tokens": 2, "messages": [{"role": "user", "content": text}]});
        gateway.post("/v1/chat/completions", body.to_string()).await
    };
    let good = async |gateway: &Gateway, text: &str| {
        for _ in 0..400 {
            let answer = ask(gateway, text).await;
            if answer.status == 200 {
                return answer;
            }
            assert_eq!(answer.json()["error"]["code"], "budget_unavailable", "{}", answer.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("budgets did not open");
    };
    let gateways = [start(Some(&redis.ca_file)), start(Some(&redis.ca_file))];
    assert_eq!(good(&gateways[0], "one").await.header("x-control-tower-cache"), "miss");
    // It is written beside the call. What was not there in time is asked of the model and kept by this gateway, so each try asks another.
    let mut shared = String::new();
    for n in 0..400 {
        let text = format!("question {n}");
        good(&gateways[0], &text).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        good(&gateways[1], &text).await.header("x-control-tower-cache").clone_into(&mut shared);
        if shared == "hit_exact" {
            break;
        }
    }
    assert_eq!(shared, "hit_exact", "what one keeps, another gives");

    // A server that nobody vouches for is told nothing.
    let wary = start(None);
    let refused = ask(&wary, "three").await;
    assert_eq!(refused.json()["error"]["code"], "budget_unavailable", "{}", refused.text());
}

#[tokio::test]
async fn a_file_of_authorities_for_redis_that_is_none_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, "nothing").unwrap();
    let mut config = Config { redis_ca_file: Some(ca_file.clone()), ..config(None) };
    config.cache.redis = "rediss://127.0.0.1:1".into();
    let gateway = Gateway::start(config, snapshot_at("https://127.0.0.1:1/v1", false));
    let error = gateway.ended().await.unwrap_err().to_string();
    let expected = format!("gateway.redis_ca_file: {}: no certificate", ca_file.display());
    assert!(error.starts_with(&expected), "{error}");
}
