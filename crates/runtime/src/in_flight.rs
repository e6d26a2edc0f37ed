//! A bound on the bytes of all requests in work: whoever does not fit waits a little and is then asked to come again.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are KiB, so that a semaphore's counter suffices.
const UNIT: usize = 1024;
/// How long a request may wait for room.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bound on the bytes of all requests in work. Cloning shares it.
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
    pub async fn enter(&self, bytes: usize) -> Option<Room> {
        let permit = self.acquire(self.units_of(bytes)).await?;
        Some(Room { permit, bound: self.clone() })
    }

    /// Takes room for `bytes` if it is there at once. More than the bound takes all of it.
    pub fn try_enter(&self, bytes: usize) -> Option<Room> {
        let permit = self.room.clone().try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(Room { permit, bound: self.clone() })
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }

    async fn acquire(&self, units: u32) -> Option<OwnedSemaphorePermit> {
        let permit = self.room.clone().acquire_many_owned(units);
        tokio::time::timeout(PATIENCE, permit).await.ok()?.ok()
    }
}

/// What one request takes of the bound, until it is dropped.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
    bound: InFlight,
}

impl Room {
    /// How much it is, bytes.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Gives back what is more than `bytes`, or waits for what is missing; false when that is not there in time.
    pub async fn resize(&mut self, bytes: usize) -> bool {
        let (have, want) = (self.permit.num_permits(), self.bound.units_of(bytes));
        if let Some(missing) = u32::try_from(have).ok().and_then(|have| want.checked_sub(have)) {
            let Some(more) = self.bound.acquire(missing).await else { return false };
            self.permit.merge(more);
        } else {
            drop(self.permit.split(have - want as usize));
        }
        true
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
        assert!(in_flight.try_enter(3 * 1024).is_none() && in_flight.try_enter(2 * 1024).is_some());
        drop(first);
        let all = in_flight.enter(1 << 40).await.unwrap();
        assert!(in_flight.enter(1).await.is_none());
        drop(all);
        assert!(in_flight.enter(1).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn room_grows_and_shrinks_within_the_bound() {
        let in_flight = InFlight::new(10 * 1024);
        let mut first = in_flight.enter(2 * 1024).await.unwrap();
        let second = in_flight.enter(4 * 1024).await.unwrap();
        assert!(first.resize(6 * 1024).await);
        assert!(!first.resize(7 * 1024).await && first.bytes() == 6 * 1024);
        assert!(in_flight.enter(1).await.is_none());
        assert!(first.resize(1024).await);
        assert!(in_flight.enter(5 * 1024).await.is_some());
        drop(second);
        assert!(first.resize(usize::MAX).await && first.bytes() == 10 * 1024);
    }
}
