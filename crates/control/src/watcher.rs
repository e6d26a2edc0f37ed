//! Keeps the newest snapshot in memory: polls the version, rebuilds on change, outlives the database.
//!
//! A failed poll changes nothing but the counters: the last snapshot stays in force, for hours if need be, and the age of
//! the last successful look tells how stale it may be.

use crate::snapshot::{Effect, Loaded, Problem};
use crate::{Control, ControlError};
use arc_swap::ArcSwap;
use contracts::policy::Snapshot;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often credentials outside the database (files, variables) are read again, and unresolved ones retried.
const SECRETS_AGAIN: Duration = Duration::from_secs(10);

/// No single poll takes longer: a database that hangs counts as one that is down.
const POLL_LIMIT: Duration = Duration::from_secs(15);

/// Starts the watcher.
#[derive(Debug)]
pub struct Snapshots;

/// The newest snapshot. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct SnapshotHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Snapshot>,
    state: Mutex<State>,
    loaded: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    /// Of the last successful poll.
    seen: Instant,
    failures: u64,
    consecutive_failures: u64,
    rebuilds: u64,
    last_error: Option<String>,
    problems: Vec<Problem>,
}

/// How fresh the snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Version in force; 0 before the first load.
    pub version: u64,
    /// Whether there has been a first load.
    pub loaded: bool,
    /// Since the database was last seen to have nothing newer; since the start while nothing was loaded.
    pub age: Duration,
    /// Failed polls since the start.
    pub failures: u64,
    /// Failed polls since the last successful one.
    pub consecutive_failures: u64,
    /// Snapshots built since the start.
    pub rebuilds: u64,
    /// Why the last poll failed; absent when it did not.
    pub last_error: Option<String>,
    /// What in the snapshot is not as it should be.
    pub problems: Vec<Problem>,
}

impl Snapshots {
    /// As [`Snapshots::start`], on the database at `url`: for roles that only read, and so have no use for a [`Control`].
    pub async fn open(
        url: &str,
        poll: Duration,
        shutdown: CancellationToken,
    ) -> Result<SnapshotHandle, ControlError> {
        Ok(Self::start(Control::open(url).await?, poll, shutdown))
    }

    /// Starts polling every `poll` until `shutdown`. The handle holds an empty snapshot (version 0) until the first load;
    /// [`SnapshotHandle::loaded`] waits for that.
    pub fn start(control: Control, poll: Duration, shutdown: CancellationToken) -> SnapshotHandle {
        let handle = SnapshotHandle(Arc::new(Shared {
            current: ArcSwap::from_pointee(Snapshot::default()),
            state: Mutex::new(State {
                seen: Instant::now(),
                failures: 0,
                consecutive_failures: 0,
                rebuilds: 0,
                last_error: None,
                problems: Vec::new(),
            }),
            loaded: watch::Sender::new(false),
        }));
        let watcher = Watcher {
            control,
            handle: handle.clone(),
            known: None,
            measured: 0,
            built: Instant::now(),
            outside: false,
        };
        tokio::spawn(shutdown.run_until_cancelled_owned(watcher.run(poll)));
        handle
    }
}

impl SnapshotHandle {
    /// A handle on a snapshot that never changes, for tests of what stands on it.
    pub fn fixed(snapshot: Snapshot) -> Self {
        Self(Arc::new(Shared {
            current: ArcSwap::from_pointee(snapshot),
            state: Mutex::new(State {
                seen: Instant::now(),
                failures: 0,
                consecutive_failures: 0,
                rebuilds: 1,
                last_error: None,
                problems: Vec::new(),
            }),
            loaded: watch::Sender::new(true),
        }))
    }

    /// The snapshot in force: an atomic read, no lock, no wait.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.current.load()
    }

    /// The snapshot in force, to keep for longer (across an await).
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// Waits for the first load.
    pub async fn loaded(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.0.loaded.subscribe().wait_for(|loaded| *loaded).await;
    }

    /// How fresh the snapshot is.
    pub fn status(&self) -> SnapshotStatus {
        let state = self.state();
        SnapshotStatus {
            version: self.load().version,
            loaded: *self.0.loaded.borrow(),
            age: state.seen.elapsed(),
            failures: state.failures,
            consecutive_failures: state.consecutive_failures,
            rebuilds: state.rebuilds,
            last_error: state.last_error.clone(),
            problems: state.problems.clone(),
        }
    }

    /// Adds the snapshot's metrics (`control_snapshot_*`) to a role's registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(SnapshotMetrics(self.clone())));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while holding the lock; if it did, the counters would still be counters.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watcher {
    control: Control,
    handle: SnapshotHandle,
    /// Version of the snapshot in force.
    known: Option<u64>,
    /// What was measured of experiments when it was built.
    measured: i64,
    built: Instant,
    outside: bool,
}

impl Watcher {
    async fn run(mut self, poll: Duration) {
        loop {
            let outcome = match tokio::time::timeout(POLL_LIMIT, self.poll()).await {
                Ok(outcome) => outcome.map_err(|error| describe(&error)),
                Err(_) => Err(format!("no answer within {} s", POLL_LIMIT.as_secs())),
            };
            match outcome {
                Ok(loaded) => self.succeeded(loaded),
                Err(error) => self.failed(error),
            }
            tokio::time::sleep(poll).await;
        }
    }

    /// A new snapshot if there is something new.
    async fn poll(&self) -> Result<Option<(Loaded, i64)>, ControlError> {
        let version = self.control.version().await?;
        let secrets_due = self.outside && self.built.elapsed() >= SECRETS_AGAIN;
        let measured = self.control.measured_mark().await?;
        if self.known == Some(version) && self.measured == measured && !secrets_due {
            return Ok(None);
        }
        // What is measured while this reads is read again at the next poll.
        Ok(Some((self.control.load().await?, measured)))
    }

    fn succeeded(&mut self, loaded: Option<(Loaded, i64)>) {
        let mut state = self.handle.state();
        if state.consecutive_failures > 0 {
            tracing::info!(failures = state.consecutive_failures, "the control database answers again");
        }
        state.seen = Instant::now();
        state.consecutive_failures = 0;
        state.last_error = None;
        let Some((loaded, measured)) = loaded else { return };
        for problem in loaded.problems.iter().filter(|problem| !state.problems.contains(problem)) {
            tracing::warn!(
                policy.kind = problem.kind,
                policy.tenant = problem.tenant.as_ref().map(contracts::TenantId::as_str),
                policy.name = problem.name,
                reason = problem.reason,
                effect = problem.effect.as_str(),
                "part of the policy cannot be applied"
            );
        }
        state.problems = loaded.problems;
        state.rebuilds += 1;
        drop(state);
        let version = loaded.snapshot.version;
        if self.known != Some(version) {
            tracing::info!(
                control.version = version,
                keys = loaded.snapshot.keys.len(),
                models = loaded.snapshot.models.len(),
                "a new policy snapshot is in force"
            );
        }
        (self.known, self.measured) = (Some(version), measured);
        self.built = Instant::now();
        self.outside = loaded.has_outside_secrets;
        self.handle.0.current.store(Arc::new(loaded.snapshot));
        self.handle.0.loaded.send_replace(true);
    }

    fn failed(&self, error: String) {
        let mut state = self.handle.state();
        // Once an outage, not twice a second.
        if state.consecutive_failures == 0 {
            tracing::warn!(
                error,
                "the control database does not answer: the last policy snapshot stays in force"
            );
        }
        state.failures += 1;
        state.consecutive_failures += 1;
        state.last_error = Some(error);
    }
}

/// An error with its causes, for a log line or a health report.
fn describe(error: &ControlError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[derive(Debug)]
struct SnapshotMetrics(SnapshotHandle);

impl prometheus_client::collector::Collector for SnapshotMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = self.0.status();
        let count = |effect| {
            let problems = status.problems.iter().filter(|problem| problem.effect == effect).count();
            f64_of(problems.try_into().unwrap_or(u64::MAX))
        };
        let gauges = [
            (
                "control_snapshot_age_seconds",
                "Since the control database was last seen to have nothing newer",
                status.age.as_secs_f64(),
            ),
            (
                "control_snapshot_version",
                "Version of the policy in force; 0 before the first load",
                f64_of(status.version),
            ),
            (
                "control_snapshot_unresolved_secrets",
                "Providers without the credential that they should have",
                count(Effect::NoCredential),
            ),
            (
                "control_snapshot_unreadable_policies",
                "Policies that cannot be read: calls that they govern are refused",
                count(Effect::Closed),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let counters = [
            ("control_snapshot_poll_failures", "Polls of the control database that failed", status.failures),
            ("control_snapshot_rebuilds", "Policy snapshots built", status.rebuilds),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// Exact up to 2^53, far beyond any version.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float in the exposition format")]
fn f64_of(number: u64) -> f64 {
    number as f64
}
