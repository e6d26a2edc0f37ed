//! TLS for a listener, with or without certificates of clients, and for connections to others: rustls with ring, TLS 1.2 and 1.3. A
//! listener's ALPN has `h2` and `http/1.1`.
//!
//! The files are read once, at start: new certificates take a restart, which drains like any other. Where clients show
//! certificates, sessions are not resumed, so that each connection proves its own, valid at that time.

pub use rustls::pki_types::CertificateDer;

use crate::config::duration;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A section of settings, such as `[collector.tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the server's certificate, then those that lead to its root.
    pub cert: PathBuf,
    /// PEM file with the private key of the certificate, not encrypted.
    pub key: PathBuf,
    /// PEM file with the certificates that those of clients must come from. Without it clients are not asked for any.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether a client must have a certificate; `required` when `client_ca` is set and this is not.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// How long a handshake may take, the wait for its turn included.
    #[serde(default = "handshake_timeout", with = "duration")]
    pub handshake_timeout: Duration,
    /// Most handshakes at a time; further ones wait for their turn.
    #[serde(default = "max_handshakes")]
    pub max_handshakes: u16,
}

/// Whether a client must have a certificate. One that does not verify is refused in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Those without one are let in, and known by other means.
    Optional,
    /// Those without one fail the handshake.
    Required,
}

const fn handshake_timeout() -> Duration {
    Duration::from_secs(10)
}

const fn max_handshakes() -> u16 {
    256
}

/// A file of the settings cannot be used. The text names key and file.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {}: {problem}", file.display())]
pub struct TlsError {
    /// The configuration key that named the file.
    pub key: String,
    /// The file.
    pub file: PathBuf,
    problem: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a listener needs to speak TLS. Cloning shares it, limits and counts included.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    handshake_timeout: Duration,
    turns: Arc<Semaphore>,
    handshakes: Family<[(&'static str, &'static str); 1], Counter>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("handshake_timeout", &self.handshake_timeout).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files of a section; `section` is its name, such as `collector.tls`.
    pub fn load(section: &str, config: &TlsConfig) -> Result<Self, TlsError> {
        let fault = |key: &str, file: &Path| {
            let (key, file) = (format!("{section}.{key}"), file.to_owned());
            move |problem, source| TlsError { key, file, problem, source }
        };
        let chain = certificates(&config.cert).map_err(|f| f.at(fault("cert", &config.cert)))?;
        let private = private_key(&config.key).map_err(|f| f.at(fault("key", &config.key)))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match &config.client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(file) => {
                let optional = config.client_auth == Some(ClientAuth::Optional);
                client_verifier(file, optional, provider.clone())
                    .map_err(|f| f.at(fault("client_ca", file)))?
            }
        };
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|server| server.with_client_cert_verifier(verifier).with_single_cert(chain, private));
        let mut server = server.map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => {
                Fault::new("the first certificate cannot be used", error).at(fault("cert", &config.cert))
            }
            _ => Fault::new(
                "not the private key of the certificate: expected the one that belongs to it",
                error,
            )
            .at(fault("key", &config.key)),
        })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if config.client_ca.is_some() {
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            handshake_timeout: config.handshake_timeout,
            turns: Arc::new(Semaphore::new(usize::from(config.max_handshakes.max(1)))),
            handshakes: Family::default(),
        })
    }

    /// Registers `<role>_tls_handshakes`, by outcome: `ok`, `failed` or `timeout`.
    pub fn register(&self, role: &str, registry: &mut Registry) {
        registry.register(
            format!("{role}_tls_handshakes"),
            "TLS handshakes by outcome",
            self.handshakes.clone(),
        );
    }

    /// Shakes hands with a client. `None` when that failed, which is counted, or took too long.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<TlsStream<TcpStream>> {
        let attempt = async {
            // Nobody closes the semaphore: this fails never.
            let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
            self.acceptor.accept(stream).await
        };
        let (outcome, stream) = match timeout(self.handshake_timeout, attempt).await {
            Ok(Ok(stream)) => ("ok", Some(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, client.address = %peer, "a TLS handshake failed");
                ("failed", None)
            }
            Err(_) => ("timeout", None),
        };
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
        stream
    }
}

/// What is wrong with a file, before it is known which key named it.
struct Fault {
    problem: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Fault {
    fn new(problem: &'static str, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { problem, source: Some(Box::new(source)) }
    }

    fn at(
        self,
        place: impl FnOnce(&'static str, Option<Box<dyn StdError + Send + Sync>>) -> TlsError,
    ) -> TlsError {
        place(self.problem, self.source)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(file).map_err(|error| Fault::new("cannot be read: expected a PEM file", error))
}

/// What connections to others trust: the public authorities, and those in a PEM file where there is one; `key` is the setting that
/// names it.
pub fn client_config(key: &str, ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = ca_file {
        let fault =
            |problem, source| TlsError { key: key.to_owned(), file: file.to_owned(), problem, source };
        add_roots(&mut roots, file).map_err(|f| f.at(fault))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // ring has suites for both versions, so this cannot fail.
    let config = config.map_err(|error| TlsError {
        key: key.to_owned(),
        file: PathBuf::new(),
        problem: "TLS cannot be set up",
        source: Some(error.into()),
    })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of authorities in a PEM file, checked and as they are; `key` is the setting that names it.
pub fn authorities(key: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>, TlsError> {
    let Some(file) = file else { return Ok(None) };
    let fault = |problem, source| TlsError { key: key.to_owned(), file: file.to_owned(), problem, source };
    add_roots(&mut RootCertStore::empty(), file).map_err(|f| f.at(fault))?;
    read(file).map(Some).map_err(|f| f.at(fault))
}

fn add_roots(roots: &mut RootCertStore, file: &Path) -> Result<(), Fault> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| Fault::new("a certificate in it cannot be used", error))?;
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let found = found.map_err(|error| Fault::new("not valid PEM: expected certificates in PEM", error))?;
    if found.is_empty() {
        return Err(Fault { problem: "no certificate in it: expected one or more in PEM", source: None });
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            Fault { problem: "no private key in it: expected one in PEM that is not encrypted", source: None }
        }
        error => Fault::new("not valid PEM: expected a private key in PEM", error),
    })
}

fn client_verifier(
    file: &Path,
    optional: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, file)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
    verifier.build().map_err(|error: VerifierBuilderError| {
        Fault::new("clients cannot be verified with the certificates in it", error)
    })
}

#[cfg(test)]
mod tests;
