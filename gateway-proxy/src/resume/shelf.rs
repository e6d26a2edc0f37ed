//! The room that kept streams take: how many there are, and their bytes, of all tenants together and of each.
//!
//! What is over makes room, and of that what was over first. A stream that goes on, or that somebody reads, is not let go of. Once those
//! that go on take half of the room, each keeps no more than its part of that half; and when there is no room left none of them grows,
//! and no other is taken on. So memory is bounded, and a tenant that fills its share leaves the rest to others.

use super::Kept;
use crate::config::ResumeConfig;
use contracts::TenantId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// All streams that are kept.
#[derive(Debug)]
pub(super) struct Shelf {
    /// What one tenant's may take.
    share: Bounds,
    keep_for: Duration,
    all: Arc<Held>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// By tenant and id; a response has two ids.
    streams: HashMap<(TenantId, String), Arc<Kept>>,
    tenants: HashMap<TenantId, Arc<Held>>,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    streams: usize,
    bytes: usize,
}

/// What is held, of one tenant or of all.
#[derive(Debug)]
struct Held {
    most: Bounds,
    streams: AtomicUsize,
    bytes: AtomicUsize,
    /// Of these, what belongs to streams that go on.
    live_streams: AtomicUsize,
    live_bytes: AtomicUsize,
    /// Of these, what is over and nobody reads: what can be let go of.
    idle_streams: AtomicUsize,
    /// Tenants that have any.
    tenants: AtomicUsize,
}

/// The room of one stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    all: Arc<Held>,
    own: Arc<Held>,
    bytes: AtomicUsize,
    is_over: AtomicBool,
    is_idle: AtomicBool,
    /// It takes none any more.
    is_left: AtomicBool,
}

impl Shelf {
    pub(super) fn new(config: &ResumeConfig) -> Self {
        let all = Bounds { streams: config.most_streams, bytes: config.total_bytes };
        let percent = usize::from(config.tenant_percent);
        let part = |of: usize| (of / 100 * percent + of % 100 * percent / 100).max(1);
        Self {
            share: Bounds { streams: part(all.streams), bytes: part(all.bytes) },
            keep_for: Duration::from_millis(config.keep_ms),
            all: Arc::new(Held::new(all)),
            books: Mutex::default(),
        }
    }

    /// Takes room for another stream of `tenant`'s, if there is any.
    pub(super) fn enter(&self, tenant: &TenantId) -> Option<Place> {
        let mut books = self.lock();
        let own = books.held(tenant, self.share);
        books.make_room(&own, Some(tenant));
        books.make_room(&self.all, None);
        // Under the lock, so that of two for whom there is room for one, one gets it.
        (own.has_room() && self.all.has_room()).then(|| Place::new(self.all.clone(), own))
    }

    /// Lets `tenant` find a stream.
    pub(super) fn put(&self, kept: &Arc<Kept>) {
        let mut books = self.lock();
        let name = kept.name();
        for id in name.ids() {
            books.streams.insert((name.tenant.clone(), id.clone()), kept.clone());
        }
    }

    /// The stream that `tenant` knows by `id`.
    pub(super) fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Kept>> {
        self.lock().streams.get(&(tenant.clone(), id.to_owned())).cloned()
    }

    /// Lets go of what is over, as far as what `tenant` holds, or all hold, is too much.
    pub(super) fn make_room(&self, tenant: &TenantId) {
        let mut books = self.lock();
        let own = books.held(tenant, self.share);
        books.make_room(&own, Some(tenant));
        books.make_room(&self.all, None);
    }

    /// Streams kept, those of them that go on, and the bytes of all.
    pub(super) fn count(&self) -> (usize, usize, usize) {
        let Held { streams, live_streams, bytes, .. } = &*self.all;
        (streams.load(Relaxed), live_streams.load(Relaxed), bytes.load(Relaxed))
    }

    /// Most bytes that are kept.
    pub(super) fn max_bytes(&self) -> usize {
        self.all.most.bytes
    }

    /// Forgets what has been over for long, and what is over and whose readers have stalled for longer than `stall`. Call it now and
    /// then.
    pub(super) fn sweep(&self, stall: Duration) {
        let mut books = self.lock();
        books.streams.retain(|_, kept| {
            let is_stalled = kept.is_stalled(stall);
            if is_stalled {
                kept.forget();
            }
            !is_stalled && kept.idle_since().is_none_or(|over| over.elapsed() < self.keep_for)
        });
        books.tenants.retain(|_, held| Arc::strong_count(held) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn held(&mut self, tenant: &TenantId, share: Bounds) -> Arc<Held> {
        if let Some(held) = self.tenants.get(tenant) {
            return held.clone();
        }
        self.tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(Held::new(share))).clone()
    }

    /// Lets go of what was over first until `held`, of `tenant` or of all, has some room again: more than for one stream, so that
    /// streams are not looked through at each call.
    fn make_room(&mut self, held: &Held, tenant: Option<&TenantId>) {
        if held.has_room() || !held.has_idle() {
            return;
        }
        let of_tenant = self.streams.iter().filter(|((owner, id), kept)| {
            tenant.is_none_or(|tenant| tenant == owner) && *id == kept.name().request_id
        });
        let over = of_tenant.filter_map(|(_, kept)| Some((kept.idle_since()?, kept.clone())));
        let mut over: Vec<(Instant, Arc<Kept>)> = over.collect();
        over.sort_by_key(|(since, _)| *since);
        for (_, kept) in over {
            if held.has_slack() {
                break;
            }
            self.forget(&kept);
        }
    }

    fn forget(&mut self, kept: &Arc<Kept>) {
        let name = kept.name();
        for id in name.ids() {
            let key = (name.tenant.clone(), id.clone());
            // An id that a provider gave twice is the later one's.
            if self.streams.get(&key).is_some_and(|known| Arc::ptr_eq(known, kept)) {
                self.streams.remove(&key);
            }
        }
    }
}

impl Held {
    fn new(most: Bounds) -> Self {
        let zero = AtomicUsize::default;
        Self {
            most,
            streams: zero(),
            bytes: zero(),
            live_streams: zero(),
            live_bytes: zero(),
            idle_streams: zero(),
            tenants: zero(),
        }
    }

    fn has_room(&self) -> bool {
        self.streams.load(Relaxed) < self.most.streams && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > self.most.bytes
    }

    fn has_slack(&self) -> bool {
        let Bounds { streams, bytes } = self.most;
        self.streams.load(Relaxed) < streams - streams / 10 && self.bytes.load(Relaxed) <= bytes - bytes / 10
    }

    /// Whether any can be let go of.
    fn has_idle(&self) -> bool {
        self.idle_streams.load(Relaxed) > 0
    }
}

impl Place {
    fn new(all: Arc<Held>, own: Arc<Held>) -> Self {
        for held in [&all, &own] {
            held.live_streams.fetch_add(1, Relaxed);
        }
        if own.streams.fetch_add(1, Relaxed) == 0 {
            all.tenants.fetch_add(1, Relaxed);
        }
        all.streams.fetch_add(1, Relaxed);
        Self {
            all,
            own,
            bytes: AtomicUsize::new(0),
            is_over: false.into(),
            is_idle: false.into(),
            is_left: false.into(),
        }
    }

    /// Most bytes that the stream may keep now, of at most `most`.
    pub(super) fn most(&self, most: usize) -> usize {
        let (all, own) = (&self.all, &self.own);
        let (all_live, own_live) = (all.live_bytes.load(Relaxed), own.live_bytes.load(Relaxed));
        let streams = own.live_streams.load(Relaxed).max(1);
        let (all_half, own_half) = (all.most.bytes / 2, own.most.bytes / 2);
        let mut most = most;
        if own_live > own_half {
            most = most.min(own_half / streams);
        }
        let fair = all_half / all.tenants.load(Relaxed).max(1);
        if all_live > all_half && own_live > fair {
            most = most.min(fair / streams);
        }
        if self.is_full() { most.min(self.bytes.load(Relaxed)) } else { most }
    }

    /// Whether what is over should make room.
    pub(super) fn needs_room(&self) -> bool {
        [&self.all, &self.own].into_iter().any(|held| held.is_full() && held.has_idle())
    }

    fn is_full(&self) -> bool {
        self.all.is_full() || self.own.is_full()
    }

    /// The stream keeps so many bytes now.
    pub(super) fn holds(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Relaxed);
        for held in [&self.all, &self.own] {
            for count in [&held.bytes, &held.live_bytes] {
                count.fetch_add(bytes, Relaxed);
                count.fetch_sub(before, Relaxed);
            }
        }
    }

    /// Whether the stream can be let go of.
    pub(super) fn set_idle(&self, is_idle: bool) {
        if self.is_idle.swap(is_idle, Relaxed) == is_idle {
            return;
        }
        for held in [&self.all, &self.own] {
            if is_idle {
                held.idle_streams.fetch_add(1, Relaxed);
            } else {
                held.idle_streams.fetch_sub(1, Relaxed);
            }
        }
    }

    /// The stream is over.
    pub(super) fn end(&self) {
        if self.is_over.swap(true, Relaxed) {
            return;
        }
        for held in [&self.all, &self.own] {
            held.live_streams.fetch_sub(1, Relaxed);
            held.live_bytes.fetch_sub(self.bytes.load(Relaxed), Relaxed);
        }
    }
}

impl Place {
    /// The stream keeps nothing any more.
    pub(super) fn leave(&self) {
        if self.is_left.swap(true, Relaxed) {
            return;
        }
        self.end();
        self.set_idle(false);
        for held in [&self.all, &self.own] {
            held.bytes.fetch_sub(self.bytes.load(Relaxed), Relaxed);
        }
        self.all.streams.fetch_sub(1, Relaxed);
        if self.own.streams.fetch_sub(1, Relaxed) == 1 {
            self.all.tenants.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
