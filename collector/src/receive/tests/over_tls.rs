//! OTLP over TLS, with certificates of clients and without.

use super::*;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use runtime::tls::{CertificateDer, ClientAuth, TlsConfig};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use tonic::Code;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
type Credential = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, params: &CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// For a client with these names.
    fn client(&self, names: &[SanType]) -> Credential {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let (certificate, key) = self.sign(&params);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.der().clone(), key)
    }

    fn tenant(&self, id: &str) -> Credential {
        self.client(&[SanType::URI(format!("control-tower://tenant/{id}").try_into().unwrap())])
    }
}

/// A collector behind TLS, and who signed what.
struct Secured {
    tower: Tower,
    server_ca: Authority,
    client_ca: Authority,
    _dir: tempfile::TempDir,
}

impl Secured {
    fn start(client_auth: Option<ClientAuth>) -> Self {
        let (server_ca, client_ca) = (Authority::new(), Authority::new());
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, text: String| -> PathBuf {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let (certificate, key) = server_ca.sign(&CertificateParams::new(vec!["127.0.0.1".into()]).unwrap());
        let tls = TlsConfig {
            cert: at("cert.pem", certificate.pem()),
            key: at("key.pem", key.serialize_pem()),
            client_ca: Some(at("ca.pem", client_ca.0.pem())),
            client_auth,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 16,
        };
        let tower = Tower::with(Kept::default(), |config| Config { tls: Some(tls), ..config });
        Self { tower, server_ca, client_ca, _dir: dir }
    }

    fn connector(&self, credential: Option<Credential>) -> HttpsConnector<HttpConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server_ca.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match credential {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions().build()
    }

    /// Exports a span over HTTP; the status and what it says, or none when there is no connection to be had.
    async fn export(
        &self,
        credential: Option<Credential>,
        headers: &[(&str, &str)],
    ) -> Option<(StatusCode, String)> {
        let mut post = http::Request::post(format!("https://{}/v1/traces", self.tower.collector.http_addr));
        for (name, value) in [PROTOBUF].iter().chain(headers) {
            post = post.header(*name, *value);
        }
        let body = Full::new(Bytes::from(request(vec![span(1, Vec::new())]).encode_to_vec()));
        let client = Client::builder(TokioExecutor::new()).build(self.connector(credential));
        let response = client.request(post.body(body).unwrap()).await.ok()?;
        let status = response.status();
        let said = response.into_body().collect().await.unwrap().to_bytes();
        Some((status, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Exports a span over gRPC.
    async fn export_grpc(
        &self,
        credential: Option<Credential>,
        key: Option<&str>,
    ) -> Result<(), tonic::Status> {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(self.connector(credential));
        let origin = format!("https://{}", self.tower.collector.grpc_addr).parse().unwrap();
        let mut message = tonic::Request::new(request(vec![span(2, Vec::new())]));
        if let Some(key) = key {
            message.metadata_mut().insert("x-api-key", key.parse().unwrap());
        }
        TraceServiceClient::with_origin(client, origin).export(message).await.map(|_| ())
    }
}

#[tokio::test]
async fn tls_certificates_name_the_tenant_over_both_protocols() {
    let secured = Secured::start(None);
    let acme = || Some(secured.client_ca.tenant("acme"));
    assert_eq!(secured.export(acme(), &[]).await.unwrap().0, StatusCode::OK);
    secured.export_grpc(acme(), Some(KEY)).await.unwrap();
    let by_dns_name = secured.client_ca.client(&[SanType::DnsName("discreet".try_into().unwrap())]);
    assert_eq!(secured.export(Some(by_dns_name), &[]).await.unwrap().0, StatusCode::OK);
    let tenants: Vec<_> =
        secured.tower.finish().await.into_iter().map(|row| (row.name, row.tenant_id)).collect();
    let expected = [("span 1", "acme"), ("span 1", "discreet"), ("span 2", "acme")];
    assert_eq!(tenants.len(), expected.len(), "{tenants:?}");
    for (name, tenant) in expected {
        assert!(tenants.contains(&(name.to_owned(), tenant.to_owned())), "{name} of {tenant} in {tenants:?}");
    }
}

#[tokio::test]
async fn tls_without_a_good_certificate_is_no_connection_where_one_is_required() {
    let secured = Secured::start(Some(ClientAuth::Required));
    let stranger = Authority::new();
    // A certificate of the authority that signs servers is no better than one of a stranger.
    for credential in [None, Some(stranger.tenant("acme")), Some(secured.server_ca.tenant("acme"))] {
        assert_eq!(secured.export(credential, &[("x-api-key", KEY)]).await, None);
    }
    assert!(secured.export_grpc(None, Some(KEY)).await.is_err());
    let acme = Some(secured.client_ca.tenant("acme"));
    assert_eq!(secured.export(acme, &[]).await.unwrap().0, StatusCode::OK);
    assert_eq!(secured.tower.finish().await.len(), 1);
}

#[tokio::test]
async fn tls_certificates_of_others_are_refused() {
    let secured = Secured::start(None);
    let key = ("x-api-key", KEY);
    let nameless: &[SanType] = &[];
    for (credential, headers, says) in [
        (secured.client_ca.tenant("globex"), vec![], "\"globex\""),
        (secured.client_ca.tenant("globex"), vec![key], "\"globex\""),
        (secured.client_ca.tenant("discreet"), vec![key], "another tenant"),
        (secured.client_ca.tenant("acme"), vec![("x-api-key", "ct-other")], "not known"),
        (secured.client_ca.client(nameless), vec![], "names no tenant"),
    ] {
        let (status, said) = secured.export(Some(credential), &headers).await.unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{says}: {said}");
        assert!(said.contains(says), "{says}: {said}");
    }
    let other = secured.client_ca.tenant("discreet");
    let status = secured.export_grpc(Some(other), Some(KEY)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("another tenant"), "{status:?}");
    assert!(secured.tower.finish().await.is_empty());
}

#[tokio::test]
async fn tls_with_optional_certificates_takes_keys_and_probes_too() {
    let secured = Secured::start(Some(ClientAuth::Optional));
    assert_eq!(secured.export(None, &[("x-api-key", KEY)]).await.unwrap().0, StatusCode::OK);
    assert_eq!(secured.export(None, &[]).await.unwrap().0, StatusCode::UNAUTHORIZED);
    // One that is shown must still be good.
    assert_eq!(secured.export(Some(Authority::new().tenant("acme")), &[("x-api-key", KEY)]).await, None);
    let service = [(SERVICE_KEY_HEADER, SERVICE_KEY)];
    let gateway = secured.client_ca.client(&[SanType::DnsName("gateway.internal".try_into().unwrap())]);
    assert_eq!(secured.export(Some(gateway), &service).await.unwrap().0, StatusCode::OK);

    let client = Client::builder(TokioExecutor::new()).build(secured.connector(None));
    let get = |path: &str| {
        let uri = format!("https://{}{path}", secured.tower.collector.http_addr);
        client.request(http::Request::get(uri).body(Full::new(Bytes::new())).unwrap())
    };
    assert_eq!(get("/healthz").await.unwrap().status(), StatusCode::OK);
    let metrics = get("/metrics").await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("collector_tls_handshakes_total{outcome=\"failed\"} 1"), "{metrics}");
    assert_eq!(secured.tower.finish().await.len(), 1, "a service that names no tenant is refused its span");
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.pem");
    let tls = TlsConfig {
        cert: missing.clone(),
        key: missing.clone(),
        client_ca: None,
        client_auth: None,
        handshake_timeout: Duration::from_secs(10),
        max_handshakes: 16,
    };
    let config = Config { tls: Some(tls), spool_dir: dir.path().join("spool"), ..Config::default() };
    let snapshots = SnapshotHandle::fixed(Snapshot::default());
    let started =
        Collector::start(&config, Kept::default(), &snapshots, &Clock::system(), Shutdown::manual());
    let error = started.unwrap_err().to_string();
    assert!(error.starts_with(&format!("collector.tls.cert: {}", missing.display())), "{error}");
}
