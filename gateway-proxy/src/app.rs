//! What all requests share.

use crate::address::TrustedProxies;
use crate::caching::Answers;
use crate::cascading::Checks;
use crate::config::{Limits, Timeouts, Unknown};
use crate::emit::Recorder;
use crate::experimenting::Experiments;
use crate::govern::Governor;
use crate::guarding::Guards;
use crate::identity::Ids;
use crate::live::Live;
use crate::meter::Estimator;
use crate::metrics::GatewayMetrics;
use crate::policy::Policy;
use crate::pools::Pools;
use crate::prompting::Prompter;
use crate::relay::Watchman;
use crate::resume::Streams;
use crate::upstream::Upstreams;
use runtime::{Clock, InFlight};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Made once at start.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) policy: Policy,
    pub(crate) governor: Governor,
    pub(crate) checks: Arc<Checks>,
    pub(crate) answers: Answers,
    pub(crate) prompter: Arc<Prompter>,
    pub(crate) guards: Guards,
    pub(crate) experiments: Arc<Experiments>,
    pub(crate) pools: Pools,
    pub(crate) upstreams: Upstreams,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) estimator: Estimator,
    pub(crate) watchman: Watchman,
    pub(crate) streams: Streams,
    pub(crate) live: Live,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) unknown_outcomes: Unknown,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Calls whose tokens are counted and that are recorded after their client has left.
    pub(crate) background: TaskTracker,
    /// So many of them are counted at a time.
    pub(crate) counters: Arc<Semaphore>,
    /// The process is about to end: what is left to be counted is estimated by its length.
    pub(crate) hurry: AtomicBool,
    /// Bounds the bytes of clients' bodies in work.
    pub(crate) bodies: InFlight,
}
