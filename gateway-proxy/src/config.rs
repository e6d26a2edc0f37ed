//! The gateway's settings: section `[gateway]` of `control-tower.toml`. Durations are whole milliseconds unless the name says
//! otherwise, sizes are bytes.

mod budgets;

pub use budgets::{BudgetsConfig, WhenGatewayDies};

use ipnet::IpNet;
use runtime::config::{InvalidSetting, Section};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Most of [`Limits::capture_bytes`]. All content of a call together must stay below what the collector takes as a span.
const MOST_CAPTURED: usize = 512 << 10;

/// Section `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Base URL of the collector's OTLP/HTTP endpoint; `/v1/traces` is appended.
    pub collector_url: String,
    /// Shared secret that lets the gateway speak for every tenant at the collector (`[collector] service_key`).
    pub collector_key: String,
    /// PEM file of authorities that providers' and the collector's certificates may come from, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the authorities that Redis' certificate must come from where a URL of it begins with `rediss://`. Without it, a
    /// public one.
    pub redis_ca_file: Option<PathBuf>,
    /// Networks of proxies in front of the gateway, whose `x-forwarded-for` says where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Directory of the sentence embedder (`inference.model_dir`, or where it is found), by which cascades and caches compare meanings.
    /// Without it cascades go by words alone, and caches by exact requests.
    #[serde(skip)]
    pub embedder: Option<PathBuf>,
    /// `service.instance.id` of the spans.
    pub instance: String,
    /// How often the control database is asked whether something changed.
    pub control_poll_ms: u64,
    /// How long streams may go on after a stop was asked for.
    pub drain_ms: u64,
    /// What a request may be at most.
    pub limits: Limits,
    /// How long anything may take at most.
    pub timeouts: Timeouts,
    /// Connections to upstreams.
    pub upstream: UpstreamConfig,
    /// Where finished calls wait for the collector.
    pub spool: SpoolConfig,
    /// What clients say of answers afterwards.
    pub outcomes: OutcomesConfig,
    /// Streams that clients may come back to.
    pub resume: ResumeConfig,
    /// What is kept of budgets, and where.
    pub budgets: BudgetsConfig,
    /// Addresses that keep failing to authenticate.
    pub flood: FloodConfig,
    /// Checks of answers.
    pub cascade: CascadeConfig,
    /// Answers that are given again.
    pub cache: CacheConfig,
}

/// Section `[gateway.cache]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Bytes of all answers that this process keeps.
    pub max_bytes: usize,
    /// `redis://HOST:PORT` or `rediss://HOST:PORT` (TLS), where several gateways share answers. Empty: this gateway keeps its own.
    pub redis: String,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, redis: String::new() }
    }
}

/// Section `[gateway.cascade]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CascadeConfig {
    /// Checks that run at the same time: each takes a processor.
    pub checks_at_a_time: usize,
}

impl Default for CascadeConfig {
    fn default() -> Self {
        Self { checks_at_a_time: 2 }
    }
}

/// Section `[gateway.flood]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodConfig {
    /// Wrong keys from one address in a minute, after which it has to wait.
    pub failures_per_minute: std::num::NonZeroU32,
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self { failures_per_minute: std::num::NonZeroU32::MIN.saturating_add(59) }
    }
}

/// Section `[gateway.resume]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumeConfig {
    /// Most bytes that are kept of a stream; of a longer one its latest events.
    pub stream_bytes: usize,
    /// Most bytes that are kept of all of them; beyond that those that ended first are let go of, and no other is taken on.
    pub total_bytes: usize,
    /// Most streams.
    pub most_streams: usize,
    /// Most of `total_bytes` and `most_streams` that one tenant's streams may take, percent.
    pub tenant_percent: u8,
    /// How long one is kept after its end.
    pub keep_ms: u64,
    /// Most sockets that are open with one key at a time.
    pub sockets_per_key: u32,
    /// A socket of which nothing comes for so long is closed. A client that waits for something is asked meanwhile whether it is there.
    pub socket_idle_ms: u64,
}

impl Default for ResumeConfig {
    fn default() -> Self {
        Self {
            stream_bytes: 4 << 20,
            total_bytes: 256 << 20,
            most_streams: 10_000,
            tenant_percent: 50,
            keep_ms: 600_000,
            sockets_per_key: 100,
            socket_idle_ms: 120_000,
        }
    }
}

/// Section `[gateway.outcomes]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutcomesConfig {
    /// What becomes of an outcome about a response or a trace of which there was no call when it came.
    pub unknown: Unknown,
}

/// See [`OutcomesConfig::unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// It waits, and counts as soon as the call is there.
    #[default]
    Park,
    /// It is left out for good.
    Refuse,
}

impl Unknown {
    /// As configured.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Refuse => "refuse",
        }
    }
}

/// Section `[gateway.limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request's body; a larger one gets 413.
    pub body_bytes: usize,
    /// An upstream's answer: one that is not streamed gets 502 when it is larger, a stream is ended when its text is.
    pub answer_bytes: usize,
    /// Arrays and objects within each other in a request's body; deeper ones get 400.
    pub json_depth: usize,
    /// Bytes of all requests' bodies in work together, those up to 64 KiB aside; a request that does not fit gets 503.
    pub bodies_in_work_bytes: usize,
    /// Captured content per span attribute; what is beyond is cut off and counted.
    pub capture_bytes: usize,
}

/// Section `[gateway.timeouts]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// A client's request line and headers, from the connection's start or the answer before: so long is a connection kept
    /// for the next request.
    pub client_header_ms: u64,
    /// Between two pieces of a client's body; 408 after that.
    pub client_body_ms: u64,
    /// For all of a client's body; 408 after that.
    pub client_body_total_ms: u64,
    /// For a client to take up the next piece of its answer; its connection is given up after that.
    pub client_stall_ms: u64,
    /// TCP and TLS to an upstream.
    pub connect_ms: u64,
    /// From the request's last byte out to the answer's first byte in.
    pub first_byte_ms: u64,
    /// Between two pieces of an answer.
    pub idle_ms: u64,
    /// The whole call.
    pub total_ms: u64,
}

/// Section `[gateway.upstream]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Further tries when a connection cannot be made. Nothing was sent then, so a retry cannot cost twice.
    pub connect_retries: u8,
    /// Idle connections kept per upstream.
    pub idle_connections: usize,
    /// How long an idle connection is kept.
    pub idle_connection_ms: u64,
}

/// Section `[gateway.spool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Its directory, used by one process at a time.
    pub dir: PathBuf,
    /// Most bytes on disk.
    pub max_bytes: u64,
    /// Bytes per file.
    pub segment_bytes: u64,
    /// How often it is forced to the disk. A crash of the process loses nothing; a crash of the machine at most this much.
    pub fsync_interval_ms: u64,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

/// What the gateway does when finished calls can no longer be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// New calls get 503 until there is room: nothing goes unrecorded.
    Refuse,
    /// Calls go on; what cannot be recorded is dropped and counted.
    Drop,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            collector_url: "http://127.0.0.1:4318".into(),
            collector_key: String::new(),
            ca_file: None,
            redis_ca_file: None,
            trusted_proxies: Vec::new(),
            embedder: None,
            instance: "gateway-1".into(),
            control_poll_ms: 500,
            drain_ms: 30_000,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            upstream: UpstreamConfig::default(),
            spool: SpoolConfig::default(),
            outcomes: OutcomesConfig::default(),
            resume: ResumeConfig::default(),
            budgets: BudgetsConfig::default(),
            flood: FloodConfig::default(),
            cascade: CascadeConfig::default(),
            cache: CacheConfig::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            answer_bytes: 64 << 20,
            json_depth: 96,
            bodies_in_work_bytes: 512 << 20,
            capture_bytes: 256 << 10,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_header_ms: 75_000,
            client_body_ms: 30_000,
            client_body_total_ms: 120_000,
            client_stall_ms: 120_000,
            connect_ms: 5_000,
            first_byte_ms: 300_000,
            idle_ms: 120_000,
            total_ms: 1_800_000,
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self { connect_retries: 1, idle_connections: 1_024, idle_connection_ms: 55_000 }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/spool/gateway"),
            max_bytes: 4 << 30,
            segment_bytes: 64 << 20,
            fsync_interval_ms: 50,
            when_full: WhenFull::Refuse,
        }
    }
}

const SECTION: Section = Section("gateway");

impl Config {
    /// Checks what types cannot: ranges and URLs. The error names the key, the value and what is expected.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let uri: Result<http::Uri, _> = self.collector_url.parse();
        SECTION.check(
            uri.is_ok_and(|u| u.authority().is_some() && matches!(u.scheme_str(), Some("http" | "https"))),
            "collector_url",
            format!("{:?}", self.collector_url),
            "an http or https URL, such as http://127.0.0.1:4318",
        )?;
        SECTION.check(
            self.collector_key.bytes().all(|b| (0x21..=0x7e).contains(&b)),
            "collector_key",
            "(secret)",
            "visible ASCII characters without spaces",
        )?;
        let positive = "a whole number from 1 on";
        let numbers = [
            ("control_poll_ms", self.control_poll_ms),
            ("limits.body_bytes", self.limits.body_bytes as u64),
            ("limits.answer_bytes", self.limits.answer_bytes as u64),
            ("limits.capture_bytes", self.limits.capture_bytes as u64),
            ("timeouts.client_header_ms", self.timeouts.client_header_ms),
            ("timeouts.client_body_ms", self.timeouts.client_body_ms),
            ("timeouts.client_body_total_ms", self.timeouts.client_body_total_ms),
            ("timeouts.client_stall_ms", self.timeouts.client_stall_ms),
            ("timeouts.connect_ms", self.timeouts.connect_ms),
            ("timeouts.first_byte_ms", self.timeouts.first_byte_ms),
            ("timeouts.idle_ms", self.timeouts.idle_ms),
            ("timeouts.total_ms", self.timeouts.total_ms),
            ("resume.stream_bytes", self.resume.stream_bytes as u64),
            ("resume.most_streams", self.resume.most_streams as u64),
            ("resume.keep_ms", self.resume.keep_ms),
            ("resume.sockets_per_key", self.resume.sockets_per_key.into()),
            ("resume.socket_idle_ms", self.resume.socket_idle_ms),
            ("budgets.default_max_tokens", self.budgets.default_max_tokens),
            ("cascade.checks_at_a_time", self.cascade.checks_at_a_time as u64),
            ("budgets.lease_ms", self.budgets.lease_ms),
            ("budgets.redis_timeout_ms", self.budgets.redis_timeout_ms),
            ("spool.max_bytes", self.spool.max_bytes),
            ("spool.segment_bytes", self.spool.segment_bytes),
            ("spool.fsync_interval_ms", self.spool.fsync_interval_ms),
        ];
        for (key, value) in numbers {
            SECTION.check(value > 0, key, value, positive)?;
        }
        if let Some(grant) = self.budgets.grant {
            SECTION.check(
                grant >= contracts::Usd::ZERO,
                "budgets.grant",
                grant,
                "decimal US dollars from 0 on, such as \"0.50\"",
            )?;
        }
        if let Some(file) = &self.redis_ca_file {
            let is_asked =
                [&self.budgets.redis, &self.cache.redis].iter().any(|url| url.starts_with("rediss://"));
            SECTION.check(
                is_asked,
                "redis_ca_file",
                file.display(),
                "no such file where no URL of Redis begins with rediss://",
            )?;
        }
        if let Some(all) = self.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
            SECTION.check(
                false,
                "trusted_proxies",
                all,
                "networks of your own proxies: this one is everybody's",
            )?;
        }
        let resume = &self.resume;
        let percent = "a number from 1 to 100";
        SECTION.check(
            (1..=100).contains(&resume.tenant_percent),
            "resume.tenant_percent",
            resume.tenant_percent,
            percent,
        )?;
        let limits = &self.limits;
        SECTION.check(
            limits.bodies_in_work_bytes >= limits.body_bytes,
            "limits.bodies_in_work_bytes",
            limits.bodies_in_work_bytes,
            "at least gateway.limits.body_bytes",
        )?;
        SECTION.check(
            limits.capture_bytes <= MOST_CAPTURED,
            "limits.capture_bytes",
            limits.capture_bytes,
            "at most 524288: a call's prompt, instructions, tools, context and answer go to the collector as one span, which cuts those above 4 MiB to their metadata",
        )?;
        SECTION.check(
            (8..=120).contains(&limits.json_depth),
            "limits.json_depth",
            limits.json_depth,
            "a number from 8 to 120",
        )
    }
}

impl Timeouts {
    /// See [`Timeouts::client_body_ms`].
    pub fn client_body(&self) -> Duration {
        Duration::from_millis(self.client_body_ms)
    }

    /// See [`Timeouts::client_body_total_ms`].
    pub fn client_body_total(&self) -> Duration {
        Duration::from_millis(self.client_body_total_ms)
    }

    /// See [`Timeouts::client_stall_ms`].
    pub fn client_stall(&self) -> Duration {
        Duration::from_millis(self.client_stall_ms)
    }

    /// See [`Timeouts::connect_ms`].
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// See [`Timeouts::first_byte_ms`].
    pub fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }

    /// See [`Timeouts::idle_ms`].
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    /// See [`Timeouts::total_ms`].
    pub fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }
}

#[cfg(test)]
mod tests;
