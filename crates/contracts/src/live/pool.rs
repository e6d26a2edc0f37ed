//! A pool as an operator sees it.

use crate::ProviderId;
use crate::policy::pool::DeploymentId;
use serde::{Deserialize, Serialize};

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its deployments, those that are finishing their last calls included.
    pub deployments: Vec<DeploymentView>,
    /// Whether so many are out that all count as in.
    pub panic: bool,
    /// Calls of the last ten seconds.
    pub calls: u32,
    /// Retries among them.
    pub retries: u32,
    /// Hedges among them.
    pub hedges: u32,
    /// The middle of the times to first byte of streamed calls over the last minutes, in milliseconds.
    pub first_byte_p50_ms: Option<f64>,
    /// The 99th percentile of them.
    pub first_byte_p99_ms: Option<f64>,
}

/// A deployment at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Its id.
    pub id: DeploymentId,
    /// Its provider.
    pub provider: ProviderId,
    /// The name that the provider knows the model by.
    pub upstream_model: String,
    /// How it stands.
    pub state: DeploymentState,
    /// Why it is out, or was last.
    pub why: Option<String>,
    /// For how long it gets no calls, in milliseconds, if that is so.
    pub ready_in_ms: Option<u64>,
    /// Calls under way.
    pub outstanding: u32,
    /// Calls among them that have no first byte.
    pub waiting: u32,
    /// How long they have waited while nobody was answered, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Peak-sensitive average of the time to first byte of streamed calls, in milliseconds.
    pub first_byte_ms: Option<f64>,
    /// The same of answers that come whole.
    pub whole_ms: Option<f64>,
    /// What the balance compares; lower is better.
    pub cost: f64,
    /// Its weight.
    pub weight: u32,
    /// The share of its weight that counts while it ramps up.
    pub ramp: f64,
    /// Calls within the breaker's window.
    pub recent_calls: u32,
    /// Faults among them.
    pub recent_faults: u32,
    /// Faults one after the other, up to now.
    pub faults_in_a_row: u32,
    /// Times that it was put out.
    pub ejections: u64,
    /// Calls sent since the beginning.
    pub sent: u64,
    /// Those that were answered to the end.
    pub succeeded: u64,
    /// Those that were bad requests.
    pub client_faults: u64,
    /// Those that were too many for it.
    pub rate_limited: u64,
    /// Those that it failed.
    pub faults: u64,
    /// Those that nobody waited for any more.
    pub cancelled: u64,
    /// What its server and its GPUs told last.
    pub load: Option<LoadSample>,
    /// How old that is, in milliseconds; of two, the younger.
    pub load_age_ms: Option<u64>,
    /// How much it counts as busier than idle, age and the pool's mean considered.
    pub pressure: f64,
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// It gets its share.
    In,
    /// It came back, or is new, and gets a growing share.
    SlowStart,
    /// It seems to hang and gets calls only if there is no other.
    Stalled,
    /// It asked to be left alone.
    BackingOff,
    /// It failed and gets none.
    Out,
    /// It failed, and calls try it one by one.
    Trial,
    /// Its weight is 0, or it is no longer in the policy: it finishes what it has.
    Draining,
}

impl DeploymentState {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::SlowStart => "slow start",
            Self::Stalled => "stalled",
            Self::BackingOff => "backing off",
            Self::Out => "out",
            Self::Trial => "trial",
            Self::Draining => "draining",
        }
    }
}

/// What a server or an exporter told at one time. What it did not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Calls that wait to be run.
    pub waiting: Option<f64>,
    /// Calls that run.
    pub running: Option<f64>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_cache: Option<f64>,
    /// Share of the time that the GPUs were busy, 0 to 1; the mean of several.
    pub gpu_busy: Option<f64>,
    /// Share of the memory in use, 0 to 1, of all GPUs together.
    pub gpu_memory: Option<f64>,
}
