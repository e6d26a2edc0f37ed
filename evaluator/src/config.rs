//! The section `[evaluator]` of `control-tower.toml`.

use crate::hub::{self, HubId};
use crate::judges::JudgesConfig;
use contracts::TenantId;
use runtime::config::{InvalidSetting, Section, duration};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const SECTION: Section = Section("evaluator");

/// Where the evaluator listens, which calls it judges, and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `/v1/evaluate`, `/v1/score`, annotations and health are served.
    pub listen: SocketAddr,
    /// Whether production calls are judged; the API is served either way.
    pub online: bool,
    /// Workers of this process. Several processes share the work.
    pub workers: usize,
    /// Calls that a worker takes at a time.
    pub chunk_calls: usize,
    /// Chunks that may be planned and not yet done, all processes together.
    pub open_chunks: usize,
    /// How long a worker may be silent before another one takes its chunk over.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// How long the planner waits when there is nothing to judge.
    #[serde(with = "duration")]
    pub poll: Duration,
    /// A call is judged so long after its end, when it and its trace are there.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// Calls that arrive so long after their end are still found, as is a judge's first look back; older ones need a back-fill.
    #[serde(with = "duration")]
    pub lookback: Duration,
    /// How often the arms of adaptive experiments are measured, so that gateways shift their shares.
    #[serde(with = "duration")]
    pub measure_every: Duration,
    /// Share of the calls that is judged where no rule of `sampling` fits, 0 to 1.
    pub sample: f64,
    /// Shares by tenant and route; the first rule that fits counts.
    pub sampling: Vec<SamplingRule>,
    /// Base URL of the gateway, without `/v1`, for judges that ask a model.
    pub gateway_url: Option<String>,
    /// An API key for these; calls made with it are never judged.
    pub gateway_key: Option<String>,
    /// How long one request to the API may take at most.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// `inference.model_dir`: directory of the embedder's weights, when they are not in one of the usual places.
    #[serde(skip)]
    pub model_dir: Option<PathBuf>,
    /// `inference.hub_model`: a model of a hub, fetched into the data directory, instead.
    #[serde(skip)]
    pub hub_model: Option<HubId>,
    /// The hub that it is fetched from, a base URL.
    #[serde(skip)]
    pub hub_endpoint: String,
    /// The judges.
    pub judges: JudgesConfig,
    /// How long requests may take at shutdown.
    #[serde(with = "duration")]
    pub drain_deadline: Duration,
}

/// Which share of some calls is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingRule {
    /// Of this tenant; of any when absent.
    pub tenant: Option<TenantId>,
    /// That took this route; any when absent.
    pub route: Option<String>,
    /// 0 to 1. The choice is made by the span's id, so it is the same whoever makes it.
    pub share: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            online: true,
            workers: 2,
            chunk_calls: 256,
            open_chunks: 32,
            lease: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            settle: Duration::from_secs(10),
            lookback: Duration::from_hours(1),
            measure_every: Duration::from_mins(5),
            sample: 1.0,
            sampling: Vec::new(),
            gateway_url: None,
            gateway_key: None,
            deadline: Duration::from_secs(30),
            model_dir: None,
            hub_model: None,
            hub_endpoint: hub::PUBLIC.to_owned(),
            judges: JudgesConfig::default(),
            drain_deadline: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        SECTION.check((1..=64).contains(&self.workers), "workers", self.workers, "1 to 64")?;
        SECTION.check(
            (1..=2000).contains(&self.chunk_calls),
            "chunk_calls",
            self.chunk_calls,
            "1 to 2000 calls",
        )?;
        SECTION.check(
            (1..=1000).contains(&self.open_chunks),
            "open_chunks",
            self.open_chunks,
            "1 to 1000 chunks",
        )?;
        let seconds = |time: Duration| format!("{} ms", time.as_millis());
        let lease = Duration::from_secs(3)..=Duration::from_hours(1);
        SECTION.check(lease.contains(&self.lease), "lease", seconds(self.lease), "3s to 1h")?;
        let poll = Duration::from_millis(50)..=Duration::from_hours(1);
        SECTION.check(poll.contains(&self.poll), "poll", seconds(self.poll), "50ms to 1h")?;
        SECTION.check(
            self.lookback > self.settle && self.lookback <= Duration::from_hours(24 * 31),
            "lookback",
            seconds(self.lookback),
            "longer than evaluator.settle, 31 days at most",
        )?;
        let measure = Duration::from_secs(1)..=Duration::from_hours(24);
        SECTION.check(
            measure.contains(&self.measure_every),
            "measure_every",
            seconds(self.measure_every),
            "1s to 24h",
        )?;
        SECTION.check((0.0..=1.0).contains(&self.sample), "sample", self.sample, "0 to 1")?;
        for rule in &self.sampling {
            SECTION.check((0.0..=1.0).contains(&rule.share), "sampling.share", rule.share, "0 to 1")?;
        }
        let deadline = Duration::from_millis(100)..=Duration::from_mins(10);
        SECTION.check(
            deadline.contains(&self.deadline),
            "deadline",
            seconds(self.deadline),
            "100ms to 10min",
        )?;
        if let Some(url) = &self.gateway_url {
            let is_http = url.starts_with("http://") || url.starts_with("https://");
            SECTION.check(is_http, "gateway_url", url, "a URL such as http://127.0.0.1:8080")?;
        }
        self.judges.validate()
    }
}
