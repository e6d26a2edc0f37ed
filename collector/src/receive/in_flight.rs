//! A bound on the bytes of all requests in work: whoever does not fit waits a little and is then asked to come again.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are KiB, so that a semaphore's counter suffices.
const UNIT: usize = 1024;
/// How long a request may wait for room.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bound. Cloning shares it.
#[derive(Debug, Clone)]
pub struct InFlight {
    room: Arc<Semaphore>,
    units: u32,
}

impl InFlight {
    /// At most `bytes` in work.
    pub fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX).max(1);
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits for room for `bytes`; `None` when there is none in time. More than the bound takes all of it.
    pub async fn enter(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        let permit = self.room.clone().acquire_many_owned(units);
        tokio::time::timeout(PATIENCE, permit).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_fit_waits_and_is_then_sent_away() {
        let in_flight = InFlight::new(10 * 1024);
        let first = in_flight.enter(8 * 1024).await.unwrap();
        assert!(in_flight.enter(3 * 1024).await.is_none());
        drop(first);
        let all = in_flight.enter(1 << 40).await.unwrap();
        assert!(in_flight.enter(1).await.is_none());
        drop(all);
        assert!(in_flight.enter(1).await.is_some());
    }
}
