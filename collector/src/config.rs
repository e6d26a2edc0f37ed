//! The section `[collector]` of `control-tower.toml`.

use contracts::TenantId;
use runtime::config::{ByteSize, InvalidSetting, Section, duration};
use runtime::tls::TlsConfig;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the collector listens, whom it trusts, how much it holds and how it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where OTLP over gRPC is served.
    pub grpc_listen: SocketAddr,
    /// Where OTLP over HTTP is served, and `/healthz`, `/readyz`, `/metrics`.
    pub http_listen: SocketAddr,
    /// Listeners that are not on loopback speak TLS, or this says that they need not, because something else encrypts: a
    /// service mesh around a Kubernetes pod, or a proxy before it.
    pub allow_plaintext: bool,
    /// Shared secret of the gateway and other services of ours, sent as `x-control-tower-service-key`: whoever has it names
    /// the tenant of each span itself. At least 32 characters; without it no service is trusted.
    pub service_key: Option<String>,
    /// Tenant of requests from this machine that carry no key. Without it they are refused, as are all others without a key.
    pub loopback_tenant: Option<TenantId>,
    /// Days that telemetry is kept when neither the tenant's policy nor the span says.
    pub default_retention_days: u16,
    /// Directory of the spool, of what could not be inserted and of the writer's state.
    pub spool_dir: PathBuf,
    /// What the spool may hold on disk.
    pub spool_max: ByteSize,
    /// Size of one file of the spool.
    pub spool_segment: ByteSize,
    /// How long an fsync may be put off while no request waits for one. Those that do wait share the next, which begins at once.
    #[serde(with = "duration")]
    pub fsync_interval: Duration,
    /// Largest request as it comes over the wire.
    pub max_request: ByteSize,
    /// Largest request once it is decompressed.
    pub max_decompressed: ByteSize,
    /// Larger spans are cut down to their metadata.
    pub max_span: ByteSize,
    /// Bytes of requests that may be in work at a time; more are asked to come again.
    pub max_in_flight: ByteSize,
    /// Most rows in one insert.
    pub batch_rows: usize,
    /// Most bytes in one insert.
    pub batch_bytes: ByteSize,
    /// How long a batch that is not full waits for more.
    #[serde(with = "duration")]
    pub batch_linger: Duration,
    /// Ids of inserted spans that are remembered, to recognise one that is sent again without asking ClickHouse.
    pub dedup_ids: usize,
    /// How far the clocks of senders may be ahead or behind before a span sent again after a restart is not recognised.
    #[serde(with = "duration")]
    pub dedup_clock_skew: Duration,
    /// The same for services of ours, which send the service key: the machines of one fleet keep their clocks together.
    #[serde(with = "duration")]
    pub dedup_service_clock_skew: Duration,
    /// Whether other collectors write to the same warehouse. ClickHouse is then asked about every span that this collector
    /// did not insert itself, so that one that is sent to one collector and again to another is found.
    pub several_collectors: bool,
    /// What a client is asked to wait when the collector is under pressure.
    #[serde(with = "duration")]
    pub retry_after: Duration,
    /// How long requests and the last batch may take at shutdown.
    #[serde(with = "duration")]
    pub drain_deadline: Duration,
    /// TLS on both listeners, and with `client_ca` the certificates of tenants: one that comes from there names its tenant,
    /// by the URI `control-tower://tenant/<id>` among its subject alternative names, or, where it has no such URI, by its one
    /// DNS name. That tenant must have at least one key, if only a revoked one, and a key sent along must be the tenant's.
    /// Where probes ask for `/readyz` without a certificate, `client_auth` is to be `optional`: spans still need a
    /// certificate or a key. Changed files are read at the next start.
    pub tls: Option<TlsConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_listen: SocketAddr::from(([127, 0, 0, 1], 4317)),
            http_listen: SocketAddr::from(([127, 0, 0, 1], 4318)),
            allow_plaintext: false,
            service_key: None,
            loopback_tenant: None,
            default_retention_days: 30,
            spool_dir: PathBuf::from("data/spool/collector"),
            spool_max: ByteSize::gib(4),
            spool_segment: ByteSize::mib(64),
            fsync_interval: Duration::from_millis(5),
            max_request: ByteSize::mib(32),
            max_decompressed: ByteSize::mib(64),
            max_span: ByteSize::mib(4),
            max_in_flight: ByteSize::mib(256),
            batch_rows: 20_000,
            batch_bytes: ByteSize::mib(16),
            batch_linger: Duration::from_millis(500),
            dedup_ids: 900_000,
            dedup_clock_skew: Duration::from_mins(10),
            dedup_service_clock_skew: Duration::from_secs(10),
            several_collectors: false,
            retry_after: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(10),
            tls: None,
        }
    }
}

const SECTION: Section = Section("collector");

impl Config {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.validate_listeners()?;
        let secret = self.service_key.as_deref();
        SECTION.check(
            secret.is_none_or(|key| key.len() >= 32 && key.bytes().all(|b| b.is_ascii_graphic())),
            "service_key",
            "(hidden)".to_owned(),
            "at least 32 printable ASCII characters without spaces",
        )?;
        SECTION.check(
            self.default_retention_days > 0,
            "default_retention_days",
            "0".to_owned(),
            "1 to 65535 days",
        )?;
        let spool = self.spool_max.as_u64();
        SECTION.check(
            self.spool_segment.as_u64() >= 1024 * 1024 && self.spool_segment.as_u64() <= spool / 2,
            "spool_segment",
            self.spool_segment.to_string(),
            "1 MiB to half of collector.spool_max",
        )?;
        let in_memory = 1024_u64..=1024 * 1024 * 1024;
        for (key, size) in [
            ("max_request", self.max_request),
            ("max_decompressed", self.max_decompressed),
            ("max_span", self.max_span),
            ("batch_bytes", self.batch_bytes),
        ] {
            SECTION.check(in_memory.contains(&size.as_u64()), key, size.to_string(), "1 KiB to 1 GiB")?;
        }
        let largest = self.max_request.as_u64().max(self.max_decompressed.as_u64());
        SECTION.check(
            self.max_in_flight.as_u64() >= largest && self.max_in_flight.as_u64() <= 1 << 40,
            "max_in_flight",
            self.max_in_flight.to_string(),
            "at least collector.max_request and collector.max_decompressed, at most 1 TiB",
        )?;
        SECTION.check(
            (1..=1_000_000).contains(&self.batch_rows),
            "batch_rows",
            self.batch_rows.to_string(),
            "1 to 1000000",
        )?;
        SECTION.check(
            self.batch_linger <= Duration::from_mins(1),
            "batch_linger",
            format!("{:?}", self.batch_linger),
            "at most 60s",
        )?;
        SECTION.check(
            self.dedup_ids >= self.batch_rows,
            "dedup_ids",
            self.dedup_ids.to_string(),
            "at least collector.batch_rows",
        )?;
        SECTION.check(
            (1..=3600).contains(&self.retry_after.as_secs()),
            "retry_after",
            format!("{:?}", self.retry_after),
            "1s to 1h",
        )
    }

    fn validate_listeners(&self) -> Result<(), InvalidSetting> {
        for (key, addr) in [("grpc_listen", self.grpc_listen), ("http_listen", self.http_listen)] {
            SECTION.check(
                self.tls.is_some() || self.allow_plaintext || addr.ip().to_canonical().is_loopback(),
                key,
                addr.to_string(),
                "an address of loopback, or cert and key in [collector.tls], or collector.allow_plaintext = true where \
                 something else encrypts, such as a service mesh",
            )?;
        }
        let Some(tls) = &self.tls else { return Ok(()) };
        SECTION.check(
            tls.client_auth.is_none() || tls.client_ca.is_some(),
            "tls.client_auth",
            format!("{:?}", tls.client_auth).to_lowercase(),
            "none without collector.tls.client_ca, the file to verify clients with",
        )?;
        SECTION.check(
            (Duration::from_millis(100)..=Duration::from_mins(5)).contains(&tls.handshake_timeout),
            "tls.handshake_timeout",
            format!("{:?}", tls.handshake_timeout),
            "100ms to 5m",
        )?;
        SECTION.check(tls.max_handshakes > 0, "tls.max_handshakes", "0".to_owned(), "1 to 65535")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_bad_value_names_its_key_and_what_is_expected() {
        let config = Config { service_key: Some("short".into()), ..Config::default() };
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.contains("collector.service_key") && error.contains("32") && !error.contains("short"),
            "{error}"
        );
        let config = Config { batch_rows: 0, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "batch_rows");
        let config = Config { dedup_ids: 1, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "dedup_ids");
    }

    #[test]
    fn off_loopback_it_takes_tls_or_a_word_that_plaintext_is_meant() {
        let open = Config { http_listen: "0.0.0.0:4318".parse().unwrap(), ..Config::default() };
        let error = open.validate().unwrap_err().to_string();
        for part in ["collector.http_listen", "0.0.0.0:4318", "[collector.tls]", "collector.allow_plaintext"]
        {
            assert!(error.contains(part), "{error}");
        }
        let open = Config { grpc_listen: "[::]:4317".parse().unwrap(), ..Config::default() };
        assert_eq!(open.validate().unwrap_err().key, "grpc_listen");
        Config { allow_plaintext: true, ..open.clone() }.validate().unwrap();
        Config { tls: Some(tls("")), ..open }.validate().unwrap();
        for inside in ["[::1]:1", "127.1.2.3:1", "[::ffff:127.0.0.1]:1"] {
            let config = Config { grpc_listen: inside.parse().unwrap(), ..Config::default() };
            config.validate().unwrap();
        }
    }

    #[test]
    fn settings_of_tls_must_fit_together() {
        for (more, key) in [
            ("client_auth = \"optional\"", "tls.client_auth"),
            ("handshake_timeout = \"0s\"", "tls.handshake_timeout"),
            ("max_handshakes = 0", "tls.max_handshakes"),
        ] {
            let config = Config { tls: Some(tls(more)), ..Config::default() };
            assert_eq!(config.validate().unwrap_err().key, key);
        }
        let both = tls("client_ca = \"ca.pem\"\nclient_auth = \"required\"");
        Config { tls: Some(both), ..Config::default() }.validate().unwrap();
    }

    /// The section with `more` in it, read as a file is.
    fn tls(more: &str) -> TlsConfig {
        #[derive(Deserialize)]
        struct File {
            collector: Config,
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control-tower.toml");
        let text = format!("[collector.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{more}\n");
        std::fs::write(&file, text).unwrap();
        runtime::config::load::<File>(Some(&file)).unwrap().collector.tls.unwrap()
    }
}
