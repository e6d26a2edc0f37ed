//! What a pool's fields may hold.

use super::{
    Balance, Breaker, Deployment, Hedge, HedgeAfter, Pool, PrefixAffinity, Probe, Retries, Weighing,
};
use crate::policy::InvalidPolicy;
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

const HOUR_MS: u64 = 3_600_000;

fn within<T: PartialOrd + Copy + fmt::Debug + fmt::Display>(
    field: &str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), InvalidPolicy> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, value, format!("{} to {}", range.start(), range.end())))
}

fn at_most_itself(field: &str, value: u64, other: &str, bound: u64) -> Result<(), InvalidPolicy> {
    if value <= bound {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, value, format!("at most {other}, which is {bound}")))
}

fn url(field: &str, url: &str) -> Result<(), InvalidPolicy> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !url.contains(char::is_whitespace)
    {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, url, "a URL that begins with http:// or https://"))
}

impl Pool {
    /// Whether it can be taken as it is.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        within("deployments", self.deployments.len(), &(0..=1_024))?;
        let mut seen = HashSet::new();
        for (number, deployment) in self.deployments.iter().enumerate() {
            let path = format!("deployments[{number}]");
            if !seen.insert(&deployment.id) {
                let unique = "an id that no other deployment of the pool has";
                return Err(InvalidPolicy::new(format!("{path}.id"), deployment.id.as_str(), unique));
            }
            deployment.validate().map_err(|error| error.within(&path))?;
        }
        self.breaker.validate().map_err(|error| error.within("breaker"))?;
        if let Some(probe) = &self.probe {
            probe.validate().map_err(|error| error.within("probe"))?;
        }
        if let Balance::PrefixAffinity(affinity) = &self.balance {
            affinity.validate().map_err(|error| error.within("balance"))?;
        }
        within("slow_start_ms", self.slow_start_ms, &(0..=HOUR_MS))?;
        self.weighing.validate().map_err(|error| error.within("weighing"))?;
        self.retries.validate().map_err(|error| error.within("retries"))?;
        if let Some(hedge) = &self.hedge {
            hedge.validate().map_err(|error| error.within("hedge"))?;
        }
        self.queue.validate().map_err(|error| error.within("queue"))?;
        within("fallbacks", self.fallbacks.len(), &(0..=16))
    }
}

impl Deployment {
    /// Whether it can be taken as it is.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.upstream_model.is_empty() || self.upstream_model.len() > 256 {
            return Err(InvalidPolicy::new("upstream_model", &self.upstream_model, "1 to 256 bytes"));
        }
        if let Some(name) = self.price_as.as_ref().filter(|name| name.is_empty() || name.len() > 256) {
            return Err(InvalidPolicy::new("price_as", name, "1 to 256 bytes"));
        }
        within("weight", self.weight, &(0..=1_000))?;
        within("slots", self.slots.unwrap_or(1), &(1..=1_000_000))?;
        if let Some(load) = &self.load {
            url("load.url", &load.url)?;
            within("load.every_ms", load.every_ms, &(100..=HOUR_MS))?;
        }
        if let Some(gpu) = &self.gpu {
            url("gpu.url", &gpu.url)?;
            within("gpu.every_ms", gpu.every_ms, &(100..=HOUR_MS))?;
        }
        Ok(())
    }
}

impl Breaker {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        within("consecutive_faults", self.consecutive_faults, &(1..=1_000))?;
        within("fault_percent", self.fault_percent, &(1..=100))?;
        within("min_calls", self.min_calls, &(1..=100_000))?;
        within("window_ms", self.window_ms, &(1_000..=HOUR_MS))?;
        within("ejection_ms", self.ejection_ms, &(100..=HOUR_MS))?;
        within("max_ejection_ms", self.max_ejection_ms, &(100..=24 * HOUR_MS))?;
        at_most_itself("ejection_ms", self.ejection_ms, "max_ejection_ms", self.max_ejection_ms)?;
        within("trial_successes", self.trial_successes, &(1..=100))?;
        within("max_ejected_percent", self.max_ejected_percent, &(0..=100))?;
        within("rate_limited_ms", self.rate_limited_ms, &(1..=HOUR_MS))?;
        within("max_rate_limited_ms", self.max_rate_limited_ms, &(1..=24 * HOUR_MS))?;
        at_most_itself(
            "rate_limited_ms",
            self.rate_limited_ms,
            "max_rate_limited_ms",
            self.max_rate_limited_ms,
        )
    }
}

impl Probe {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        if !self.path.starts_with('/') || self.path.contains(char::is_whitespace) {
            return Err(InvalidPolicy::new("path", &self.path, "a path that begins with /"));
        }
        within("every_ms", self.every_ms, &(100..=HOUR_MS))?;
        within("timeout_ms", self.timeout_ms, &(1..=HOUR_MS))?;
        within("failures", self.failures, &(1..=100))
    }
}

impl PrefixAffinity {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        within("min_prefix_bytes", self.min_prefix_bytes, &(1..=1 << 20))?;
        within("prefix_bytes", self.prefix_bytes, &(self.min_prefix_bytes..=1 << 20))?;
        within("overload_percent", self.overload_percent, &(101..=1_000))
    }
}

impl Weighing {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        within("latency_decay_ms", self.latency_decay_ms, &(100..=HOUR_MS))?;
        within("load_stale_ms", self.load_stale_ms, &(1..=HOUR_MS))?;
        at_most_itself("load_fresh_ms", self.load_fresh_ms, "load_stale_ms", self.load_stale_ms)
    }
}

impl Retries {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        within("max_attempts", self.max_attempts, &(1..=8))?;
        within("budget_percent", self.budget_percent, &(0..=100))?;
        within("min_per_second", self.min_per_second, &(0..=1_000))?;
        within("base_ms", self.base_ms, &(0..=60_000))?;
        within("max_ms", self.max_ms, &(0..=HOUR_MS))?;
        at_most_itself("base_ms", self.base_ms, "max_ms", self.max_ms)?;
        within("honour_retry_after_ms", self.honour_retry_after_ms, &(0..=HOUR_MS))?;
        within("per_try_timeout_ms", self.per_try_timeout_ms, &(1..=24 * HOUR_MS))?;
        within("per_try_timeout_whole_ms", self.per_try_timeout_whole_ms, &(1..=24 * HOUR_MS))
    }
}

impl Hedge {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        match self.after {
            HedgeAfter::FixedMs(ms) => within("after.fixed_ms", ms, &(1..=HOUR_MS))?,
            HedgeAfter::Percentile(percent) => within("after.percentile", percent, &(50..=99))?,
        }
        within("max_percent", self.max_percent, &(1..=50))
    }
}
