//! Providers and a collector behind TLS, with certificates of an authority that the world does not know.

use crate::support::{Collector, Gateway, Upstream, chat, config, json, snapshot_at, sse};
use gateway_proxy::Config;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
