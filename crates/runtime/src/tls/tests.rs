//! Files that cannot be used, and the server behind TLS against clients that behave and clients that do not.

use super::*;
use crate::{ServeOptions, Shutdown, listen, serve_tls};
use axum::Router;
use axum::routing::get;
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::Ipv4Addr;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for 127.0.0.1 in files.
fn files(dir: &TempDir) -> (TlsConfig, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let at = |name: &str, text: String| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let config = TlsConfig {
        cert: at("cert.pem", certificate.pem()),
        key: at("key.pem", key.serialize_pem()),
        client_ca: None,
        client_auth: None,
        handshake_timeout: Duration::from_millis(300),
        max_handshakes: 2,
    };
    (config, certificate.der().clone())
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (good, _) = files(&dir);
    let missing = dir.path().join("missing.pem");
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n").unwrap();
    let other = dir.path().join("other.pem");
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let torn = dir.path().join("torn.pem");
    std::fs::write(&torn, "-----BEGIN CERTIFICATE-----\nAQID\n").unwrap();
    for (config, key, file) in [
        (TlsConfig { cert: missing.clone(), ..good.clone() }, "cert", &missing),
        (TlsConfig { cert: good.key.clone(), ..good.clone() }, "cert", &good.key),
        (TlsConfig { cert: garbage.clone(), ..good.clone() }, "cert", &garbage),
        (TlsConfig { cert: torn.clone(), ..good.clone() }, "cert", &torn),
        (TlsConfig { key: missing.clone(), ..good.clone() }, "key", &missing),
        (TlsConfig { key: good.cert.clone(), ..good.clone() }, "key", &good.cert),
        (TlsConfig { key: other.clone(), ..good.clone() }, "key", &other),
        (TlsConfig { client_ca: Some(missing.clone()), ..good.clone() }, "client_ca", &missing),
        (TlsConfig { client_ca: Some(garbage.clone()), ..good.clone() }, "client_ca", &garbage),
    ] {
        let error = Tls::load("role.tls", &config).unwrap_err();
        assert_eq!((error.key.as_str(), &error.file), (format!("role.tls.{key}").as_str(), file));
        let text = error.to_string();
        assert!(text.starts_with(&format!("role.tls.{key}: {}: ", file.display())), "{text}");
    }
    Tls::load("role.tls", &good).unwrap();
}

struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    server: JoinHandle<crate::serve::Drained>,
    tls: Tls,
    certificate: CertificateDer<'static>,
}

fn start(options: ServeOptions) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let (config, certificate) = files(&dir);
    let tls = Tls::load("role.tls", &config).unwrap();
    let routes = |_: Option<&CertificateDer<'static>>| {
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        Router::new().route("/", get(|| async { "hello" })).route("/slow", get(slow))
    };
    let listener = listen("role.listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown::manual();
    let server = tokio::spawn(serve_tls(listener, tls.clone(), routes, shutdown.clone(), options));
    Running { addr, shutdown, server, tls, certificate }
}

impl Running {
    async fn connect(&self, alpn: &[&[u8]]) -> ClientStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    fn handshakes(&self, outcome: &'static str) -> u64 {
        self.tls.handshakes.get_or_create(&[("outcome", outcome)]).get()
    }
}

/// What comes until the server closes.
async fn rest<R: tokio::io::AsyncRead + Unpin>(mut stream: R) -> String {
    let mut answer = Vec::new();
    // A reset is a close as well; what came before it counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn alpn_says_which_http_is_spoken() {
    let running = start(ServeOptions::default());
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let mut stream = running.connect(alpn).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
    }
    let stream = running.connect(&[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (executor, io) = (hyper_util::rt::TokioExecutor::new(), hyper_util::rt::TokioIo::new(stream));
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::get("https://t/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!((response.status(), response.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(running.handshakes("ok"), 3);
}

#[tokio::test]
async fn who_stalls_is_not_waited_for_and_holds_up_nobody_for_long() {
    let running =
        start(ServeOptions { header_read_timeout: Duration::from_millis(300), ..ServeOptions::default() });
    // More than there are turns, so that some wait for theirs in vain.
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        stalled.push(stream);
    }
    for stream in stalled {
        rest(stream).await;
    }
    assert_eq!(running.handshakes("timeout"), 4);
    // After the handshake: no preface, half of one, no head.
    rest(running.connect(&[b"h2"]).await).await;
    let mut half = running.connect(&[b"h2"]).await;
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    rest(half).await;
    rest(running.connect(&[b"http/1.1"]).await).await;
}

#[tokio::test]
async fn plaintext_is_turned_away() {
    let running = start(ServeOptions::default());
    let mut plain = TcpStream::connect(running.addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    assert!(!rest(plain).await.contains("HTTP"));
    assert_eq!(running.handshakes("failed"), 1);
}

#[tokio::test]
async fn draining_finishes_what_runs() {
    let running = start(ServeOptions::default());
    let mut stream = running.connect(&[b"http/1.1"]).await;
    let _shaking = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.shutdown.trigger();
    let answer = rest(stream).await;
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(timeout(PATIENCE, running.server).await.unwrap().unwrap().cut, 0);
}
