//! How busy a deployment says it is: what its server and the exporter of its GPUs tell, and how much that counts.
//!
//! A gateway knows only its own calls; a server also has those of other gateways and clients. What it tells becomes a
//! *pressure*: 0 is idle, 1 about twice the wait. A sample counts fully while it is fresh and fades until it is stale; what it
//! does not say is taken to be as the pool's others are, so that a deployment without metrics is neither favoured nor shunned.

mod text;

use contracts::live::LoadSample;
use contracts::policy::pool::{GpuKind, LoadKind};
use std::time::Duration;

/// What a server or an exporter told at one time. What it did not tell is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
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

impl Sample {
    /// From the metrics of a server of `kind`, in Prometheus' text format; of several models that it serves, `model` if it
    /// names it. Any text is fine: what is not found is not told.
    pub fn of_server(text: &str, kind: LoadKind, model: &str) -> Self {
        let names: &[(&str, Field)] = match kind {
            LoadKind::Vllm => &[
                ("vllm:num_requests_waiting", Field::Waiting),
                ("vllm:num_requests_running", Field::Running),
                ("vllm:kv_cache_usage_perc", Field::KvCache),
                // Its name before version 0.10.
                ("vllm:gpu_cache_usage_perc", Field::KvCache),
            ],
            LoadKind::Sglang => &[
                ("sglang:num_queue_reqs", Field::Waiting),
                ("sglang:num_running_reqs", Field::Running),
                ("sglang:token_usage", Field::KvCache),
            ],
            LoadKind::LlamaCpp => &[
                ("llamacpp:requests_deferred", Field::Waiting),
                ("llamacpp:requests_processing", Field::Running),
                ("llamacpp:kv_cache_usage_ratio", Field::KvCache),
            ],
            LoadKind::Tgi => {
                &[("tgi_queue_size", Field::Waiting), ("tgi_batch_current_size", Field::Running)]
            }
        };
        let mut ours = Gathered::default();
        let mut all = Gathered::default();
        for line in text::lines(text) {
            let Some((_, field)) = names.iter().find(|(name, _)| *name == line.name) else { continue };
            all.add(*field, line.value);
            if line.label("model_name") == Some(model) {
                ours.add(*field, line.value);
            }
        }
        if ours == Gathered::default() { all.sample() } else { ours.sample() }
    }

    /// From the metrics of an exporter of `kind`; of its GPUs those in `devices`, by index or UUID, or all if none is named.
    pub fn of_gpus(text: &str, kind: GpuKind, devices: &[String]) -> Self {
        let names: &[(&str, Field)] = match kind {
            GpuKind::Dcgm => &[
                ("DCGM_FI_DEV_GPU_UTIL", Field::GpuPercent),
                ("DCGM_FI_DEV_FB_USED", Field::MemoryUsed),
                ("DCGM_FI_DEV_FB_FREE", Field::MemoryFree),
            ],
            GpuKind::Nvml => &[
                ("nvidia_smi_utilization_gpu_ratio", Field::GpuShare),
                ("nvidia_smi_memory_used_bytes", Field::MemoryUsed),
                ("nvidia_smi_memory_total_bytes", Field::MemoryTotal),
                ("nvidia_gpu_duty_cycle", Field::GpuPercent),
                ("nvidia_gpu_memory_used_bytes", Field::MemoryUsed),
                ("nvidia_gpu_memory_total_bytes", Field::MemoryTotal),
            ],
        };
        let mut gathered = Gathered::default();
        for line in text::lines(text) {
            let Some((_, field)) = names.iter().find(|(name, _)| *name == line.name) else { continue };
            let labels = ["gpu", "minor_number", "index", "UUID", "uuid"];
            let named = |device: &String| labels.iter().any(|label| line.label(label) == Some(device));
            if devices.is_empty() || devices.iter().any(named) {
                gathered.add(*field, line.value);
            }
        }
        gathered.sample()
    }

    /// What is told here, and by `other` where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.or(other.waiting),
            running: self.running.or(other.running),
            kv_cache: self.kv_cache.or(other.kv_cache),
            gpu_busy: self.gpu_busy.or(other.gpu_busy),
            gpu_memory: self.gpu_memory.or(other.gpu_memory),
        }
    }

    /// How much busier than idle, where anything was told.
    ///
    /// A queue as long as the batch that runs doubles the wait. A KV cache above 80% means calls that are put aside soon, and at
    /// 100% that they are. A GPU is busy as soon as a single call runs and its memory is full by design, so these count little.
    pub fn pressure(&self) -> Option<f64> {
        let queue = self.waiting.map(|waiting| (waiting / self.running.unwrap_or(8.0).max(8.0)).min(8.0));
        let cache = self.kv_cache.map(|used| ((used - 0.8) / 0.2).clamp(0.0, 1.0));
        let busy = self.gpu_busy.map(|share| 0.25 * share);
        let memory = self.gpu_memory.map(|share| if share > 0.98 { 0.1 } else { 0.0 });
        let told = [queue, cache, busy, memory];
        told.iter().any(Option::is_some).then(|| told.iter().flatten().sum())
    }
}

impl From<Sample> for LoadSample {
    fn from(sample: Sample) -> Self {
        let Sample { waiting, running, kv_cache, gpu_busy, gpu_memory } = sample;
        Self { waiting, running, kv_cache, gpu_busy, gpu_memory }
    }
}

/// How much a sample of this age counts, 0 to 1.
pub(crate) fn confidence(age: Duration, fresh: Duration, stale: Duration) -> f64 {
    if age <= fresh {
        return 1.0;
    }
    if age >= stale {
        return 0.0;
    }
    stale.saturating_sub(age).as_secs_f64() / stale.saturating_sub(fresh).as_secs_f64()
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Waiting,
    Running,
    KvCache,
    GpuPercent,
    GpuShare,
    MemoryUsed,
    MemoryFree,
    MemoryTotal,
}

/// Sums over engines and GPUs.
#[derive(Debug, Default, PartialEq)]
struct Gathered {
    waiting: Option<f64>,
    running: Option<f64>,
    kv_cache: Option<f64>,
    busy: f64,
    gpus: f64,
    memory_used: Option<f64>,
    memory_free: Option<f64>,
    memory_total: Option<f64>,
}

impl Gathered {
    fn add(&mut self, field: Field, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let sum = |to: &mut Option<f64>| *to = Some(to.unwrap_or_default() + value);
        match field {
            Field::Waiting => sum(&mut self.waiting),
            Field::Running => sum(&mut self.running),
            Field::KvCache => self.kv_cache = Some(self.kv_cache.unwrap_or_default().max(value.min(1.0))),
            Field::GpuPercent | Field::GpuShare => {
                let unit = if matches!(field, Field::GpuPercent) { 100.0 } else { 1.0 };
                self.busy += (value / unit).min(1.0);
                self.gpus += 1.0;
            }
            Field::MemoryUsed => sum(&mut self.memory_used),
            Field::MemoryFree => sum(&mut self.memory_free),
            Field::MemoryTotal => sum(&mut self.memory_total),
        }
    }

    fn sample(&self) -> Sample {
        let total = match (self.memory_total, self.memory_used, self.memory_free) {
            (Some(total), ..) => Some(total),
            (None, Some(used), Some(free)) => Some(used + free),
            _ => None,
        };
        let memory = self.memory_used.zip(total).filter(|(_, total)| *total > 0.0);
        Sample {
            waiting: self.waiting,
            running: self.running,
            kv_cache: self.kv_cache,
            gpu_busy: (self.gpus > 0.0).then(|| self.busy / self.gpus),
            gpu_memory: memory.map(|(used, total)| (used / total).min(1.0)),
        }
    }
}

#[cfg(test)]
mod tests;
