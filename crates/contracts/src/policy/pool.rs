//! Deployments of a model, and how they are watched, balanced and retried.
//!
//! A model is served by one or several deployments: a server of one's own, an account at a provider, a region. A [`Pool`] says
//! which there are and how a call finds one that answers. Every field but the deployments has a default.

mod validate;

use super::InvalidPolicy;
use super::queue::Queue;
use crate::{ModelName, ProviderId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A deployment's name, unique in its pool: 1 to 128 characters of `A–Z a–z 0–9 . _ : / -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeploymentId(Arc<str>);

impl DeploymentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for DeploymentId {
    type Err = InvalidPolicy;
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(safe) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPolicy::new("id", text, "1 to 128 characters of A-Z a-z 0-9 . _ : / -"))
        }
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = InvalidPolicy;
    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// One place that serves a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Its name.
    pub id: DeploymentId,
    /// Where it is and how it is spoken to.
    pub provider: ProviderId,
    /// The name that the provider knows the model by.
    pub upstream_model: String,
    /// The model's name in the price book, where it is neither the model's own `price_as` nor what the provider knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_as: Option<String>,
    /// Its share of the calls beside the others' weights; 0 drains it: it finishes what it has and gets no more.
    #[serde(default = "one")]
    pub weight: u32,
    /// How many calls it runs at once before they wait in its own queue, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Where its server tells how busy it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadSource>,
    /// Where the exporter of its GPUs tells how busy they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSource>,
}

/// The metrics of an inference server, in Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSource {
    /// Where they are, such as `http://10.0.0.7:8000/metrics`.
    pub url: String,
    /// Whose they are.
    #[serde(default)]
    pub kind: LoadKind,
    /// How often they are read.
    #[serde(default = "load_every_ms")]
    pub every_ms: u64,
}

/// Whose metrics tell of waiting calls, running calls and the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadKind {
    /// vLLM.
    #[default]
    Vllm,
    /// `SGLang`.
    Sglang,
    /// llama.cpp's server.
    LlamaCpp,
    /// Text Generation Inference.
    Tgi,
}

/// The metrics of a GPU exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuSource {
    /// Where they are, such as `http://10.0.0.7:9400/metrics`.
    pub url: String,
    /// Whose they are.
    #[serde(default)]
    pub kind: GpuKind,
    /// The GPUs that serve this deployment, by index or UUID; none named means all that the exporter tells of.
    #[serde(default)]
    pub devices: Vec<String>,
    /// How often they are read.
    #[serde(default = "gpu_every_ms")]
    pub every_ms: u64,
}

/// Whose metrics tell of GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuKind {
    /// NVIDIA's DCGM exporter.
    #[default]
    Dcgm,
    /// An exporter over NVML or `nvidia-smi` (`nvidia_gpu_exporter`, `nvidia_gpu_prometheus_exporter`).
    Nvml,
}

/// The deployments of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Who serves it; the model's own provider when nobody is named.
    pub deployments: Vec<Deployment>,
    /// When a deployment that fails is left out, and when it comes back.
    pub breaker: Breaker,
    /// Requests of the gateway's own that ask whether a deployment is well; without them, calls tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Over how long a deployment that came back, or came new, gets up to its full share.
    pub slow_start_ms: u64,
    /// How calls are spread.
    pub balance: Balance,
    /// How latency and load are weighed.
    pub weighing: Weighing,
    /// What happens to a call that failed before its answer began.
    pub retries: Retries,
    /// Whether a call that waits long is sent a second time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// What waits before it.
    pub queue: Queue,
    /// Models that answer instead when no deployment does, in this order.
    pub fallbacks: Vec<ModelName>,
}

/// When a deployment is left out. Faults are what it is to blame for: answers of 5xx, 408, 401 and 403 (the credentials are
/// the deployment's own), no connection, no answer in time, answers cut short. Never a bad request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// So many faults one after the other put it out.
    pub consecutive_faults: u32,
    /// So does this share of faults within the window, and half of the latest `min_calls` calls.
    pub fault_percent: u32,
    /// The share says nothing of fewer calls than these.
    pub min_calls: u32,
    /// The window.
    pub window_ms: u64,
    /// How long it is out the first time; each further time doubles it.
    pub ejection_ms: u64,
    /// How long at most; and after so long without a fault to speak of, the doubling starts over.
    pub max_ejection_ms: u64,
    /// Calls in a row that must be answered before it is in again.
    pub trial_successes: u32,
    /// When a greater share of the pool is out, all count as in: what is left would fall over under everybody's calls.
    pub max_ejected_percent: u32,
    /// How long a deployment is left alone after the second 429 in a row without `retry-after`; doubles while they go on.
    pub rate_limited_ms: u64,
    /// How long at most, whatever `retry-after` says.
    pub max_rate_limited_ms: u64,
}

/// Requests that ask whether a deployment is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Path, from the root of the deployment's origin.
    pub path: String,
    /// How often.
    pub every_ms: u64,
    /// An answer that takes longer is a failure.
    pub timeout_ms: u64,
    /// So many failures in a row put it out.
    pub failures: u32,
}

/// How calls are spread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Balance {
    /// Of two chosen at random, the one that promises the earlier answer: peak-sensitive latency times outstanding calls.
    #[default]
    LeastOutstandingPeakEwma,
    /// At random, in proportion to the weights.
    Weighted,
    /// Prompts that begin alike go to the same deployment, for its KV cache, as long as it is not overloaded.
    PrefixAffinity(PrefixAffinity),
}

/// What it is for prompts to begin alike, and how far that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixAffinity {
    /// Prompts shorter than this go by load alone: there is too little to reuse.
    pub min_prefix_bytes: usize,
    /// So much of a prompt is compared.
    pub prefix_bytes: usize,
    /// A deployment takes at most this share of its even part of the calls; what is beyond goes to the next.
    pub overload_percent: u32,
}

/// How latency and load are weighed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weighing {
    /// After so long a slow answer has lost all but a third (1/e) of its say.
    pub latency_decay_ms: u64,
    /// Samples of load this young count fully.
    pub load_fresh_ms: u64,
    /// Samples of load this old say nothing any more; between the two they fade.
    pub load_stale_ms: u64,
}

/// What happens to a call that failed before its answer began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Tries of one call, the first included.
    pub max_attempts: u32,
    /// Retries may add so much to the pool's calls,
    pub budget_percent: u32,
    /// and so many a second beside.
    pub min_per_second: u32,
    /// The first wait before the same deployment is asked again is random up to this; each further doubles it.
    pub base_ms: u64,
    /// Up to this.
    pub max_ms: u64,
    /// A `retry-after` up to this is waited for when no other deployment is left; 0 waits for none.
    pub honour_retry_after_ms: u64,
    /// How long one try of a streamed call may go without the first byte of its answer.
    pub per_try_timeout_ms: u64,
    /// The same of a call whose answer comes whole, which is as long as it takes to write it.
    pub per_try_timeout_whole_ms: u64,
}

/// A second try beside one that takes long; the first answer wins and the other try is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hedge {
    /// When.
    pub after: HedgeAfter,
    /// So much may they add to the pool's calls.
    pub max_percent: u32,
}

/// When a call takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HedgeAfter {
    /// After so many milliseconds without a first byte.
    FixedMs(u64),
    /// When this percentile of the latest times to first byte has passed.
    Percentile(u32),
}

const fn one() -> u32 {
    1
}

const fn load_every_ms() -> u64 {
    1_000
}

const fn gpu_every_ms() -> u64 {
    5_000
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            deployments: Vec::new(),
            breaker: Breaker::default(),
            probe: None,
            slow_start_ms: 30_000,
            balance: Balance::default(),
            weighing: Weighing::default(),
            retries: Retries::default(),
            hedge: None,
            queue: Queue::default(),
            fallbacks: Vec::new(),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive_faults: 5,
            fault_percent: 30,
            min_calls: 20,
            window_ms: 30_000,
            ejection_ms: 5_000,
            max_ejection_ms: 300_000,
            trial_successes: 3,
            max_ejected_percent: 75,
            rate_limited_ms: 1_000,
            max_rate_limited_ms: 60_000,
        }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self { path: "/health".to_owned(), every_ms: 5_000, timeout_ms: 2_000, failures: 3 }
    }
}

impl Default for PrefixAffinity {
    fn default() -> Self {
        Self { min_prefix_bytes: 256, prefix_bytes: 1_024, overload_percent: 125 }
    }
}

impl Default for Weighing {
    fn default() -> Self {
        Self { latency_decay_ms: 10_000, load_fresh_ms: 5_000, load_stale_ms: 30_000 }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            budget_percent: 10,
            min_per_second: 2,
            base_ms: 50,
            max_ms: 2_000,
            honour_retry_after_ms: 5_000,
            per_try_timeout_ms: 60_000,
            per_try_timeout_whole_ms: 300_000,
        }
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after: HedgeAfter::Percentile(95), max_percent: 5 }
    }
}

#[cfg(test)]
mod tests;
