//! What every handler works with.

use super::Config;
use super::assets::Assets;
use super::reads::Reads;
use super::throttle::Throttle;
use crate::admin::Gateways;
use control::Control;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use runtime::{Clock, Metrics};
use std::sync::Arc;

/// The parts that a console is put together from. Cloning is cheap.
#[derive(Clone)]
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// Who may do what.
    pub control: Control,
    /// Where the figures come from.
    pub reads: Arc<dyn Reads>,
    /// The time.
    pub clock: Clock,
    /// Whom to ask what goes on.
    pub gateways: Gateways,
    /// Our own metrics.
    pub metrics: Metrics,
}

/// The state shared by all handlers. Cloning is a reference count.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// What [`AppState`] shares.
pub struct Inner {
    pub(crate) parts: Parts,
    pub(crate) assets: Assets,
    pub(crate) throttle: Throttle,
    pub(crate) counts: Counts,
}

type Labels = Vec<(&'static str, &'static str)>;

/// What the console counts about itself.
#[derive(Clone)]
pub(crate) struct Counts {
    /// Sign-ins, by outcome: `ok`, `refused`, `throttled`, `failed`.
    pub(crate) sign_ins: Family<Labels, Counter>,
    /// Reads that failed, by kind of read.
    pub(crate) failed_reads: Family<Labels, Counter>,
    /// Seconds that reads took, by kind.
    pub(crate) read_seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

impl AppState {
    /// Puts the console together and registers its metrics.
    pub fn new(parts: Parts) -> Self {
        let counts = Counts::register(&parts.metrics);
        Self(Arc::new(Inner { assets: Assets::load(), throttle: Throttle::default(), counts, parts }))
    }
}

impl std::ops::Deref for AppState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Counts {
    fn register(metrics: &Metrics) -> Self {
        // From a millisecond to 16 seconds, doubling.
        let seconds: fn() -> Histogram = || Histogram::new((0..15).map(|i| 0.001 * f64::from(1 << i)));
        let counts = Self {
            sign_ins: Family::default(),
            failed_reads: Family::default(),
            read_seconds: Family::new_with_constructor(seconds),
        };
        metrics.with_registry(|registry| {
            registry.register("control_tower_web_sign_ins", "Sign-ins by outcome", counts.sign_ins.clone());
            registry.register(
                "control_tower_web_failed_reads",
                "Reads that failed, by kind",
                counts.failed_reads.clone(),
            );
            registry.register(
                "control_tower_web_read_seconds",
                "Seconds a read took, by kind",
                counts.read_seconds.clone(),
            );
        });
        counts
    }
}
