//! A role's own metrics, in Prometheus' text format. Each part of a role registers what it counts and keeps the handles.

use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};

/// The metrics of one process. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends the registry, to register metrics in it. What is registered twice is exported twice: register once, at start.
    pub fn with_registry<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        // A registration that panicked half-way leaves the registry whole: metrics are pushed one at a time.
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as `OpenMetrics` text, the body of `GET /metrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
            tracing::error!(%error, "metrics could not be written as text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_registered_counter_is_exported() {
        let metrics = Metrics::new();
        let dropped: Counter = Counter::default();
        metrics.with_registry(|r| r.register("spool_dropped", "Records dropped", dropped.clone()));
        dropped.inc_by(3);
        assert!(metrics.encode().contains("spool_dropped_total 3"), "{}", metrics.encode());
    }
}
