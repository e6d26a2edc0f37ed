//! The policy in force, also while there is none yet.
//!
//! The gateway starts without its control database: it listens, says that it is not ready, refuses calls for the moment, and
//! goes on trying until the first snapshot is there. From then on the snapshot outlives the database.

use contracts::policy::Snapshot;
use control::{ControlError, SnapshotHandle, SnapshotStatus, Snapshots};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long the first try may hold up the start, and the pause between later ones.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module. Cloning is a reference count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    snapshots: OnceLock<SnapshotHandle>,
    /// What is in force before the first: nothing, version 0.
    none: Arc<Snapshot>,
}

/// Where snapshots come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They come already.
    Open(SnapshotHandle),
    /// The database at this URL, which did not answer yet, polled this often.
    Awaited { url: String, poll: Duration },
}

impl Source {
    /// Opens the database at `url`. One that does not answer is awaited; a URL that never will lead to one is an error.
    pub(crate) async fn open(
        url: &str,
        poll: Duration,
        shutdown: CancellationToken,
    ) -> Result<Self, ControlError> {
        let awaited = || Self::Awaited { url: url.to_owned(), poll };
        match timeout(PATIENCE, Snapshots::open(url, poll, shutdown)).await {
            Ok(Ok(handle)) => Ok(Self::Open(handle)),
            Ok(Err(error @ ControlError::Url(_))) => Err(error),
            Ok(Err(error)) => {
                warn(&error);
                Ok(awaited())
            }
            Err(_elapsed) => {
                tracing::warn!("the control database does not answer: the gateway starts without a policy");
                Ok(awaited())
            }
        }
    }

    /// Waits until the database is open.
    pub(crate) async fn handle(self, shutdown: CancellationToken) -> SnapshotHandle {
        let (url, poll) = match self {
            Self::Open(handle) => return handle,
            Self::Awaited { url, poll } => (url, poll),
        };
        loop {
            match Snapshots::open(&url, poll, shutdown.clone()).await {
                Ok(handle) => return handle,
                Err(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the control database is still not to be opened"
                ),
            }
            sleep(PATIENCE).await;
        }
    }
}

fn warn(error: &ControlError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the control database cannot be opened: the gateway starts without a policy, and goes on trying"
    );
}

impl Policy {
    /// From now on in force: what `snapshots` hold.
    pub(crate) fn set(&self, snapshots: SnapshotHandle) {
        // Set once, by whoever waited for the source.
        let _ = self.0.snapshots.set(snapshots);
    }

    /// How fresh the snapshot is; `None` while the database was never open.
    pub(crate) fn status(&self) -> Option<SnapshotStatus> {
        self.0.snapshots.get().map(SnapshotHandle::status)
    }

    /// The snapshot in force, to keep across an await.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.0.snapshots.get().map_or_else(|| self.0.none.clone(), SnapshotHandle::load_full)
    }
}
