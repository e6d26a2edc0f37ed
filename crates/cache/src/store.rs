//! The answers of one process, and what a gateway asks of them.

mod lead;
mod semantic;
#[cfg(test)]
mod tests;

pub use lead::Lead;
pub use semantic::{Embed, EmbedError};

use crate::control::{Control, Mode};
use crate::entry::Entry;
use crate::flight::{Joined, Seat, Turn};
use crate::question::Question;
use crate::shared::{Job, Shared, SharedOptions, Worker};
use crate::shelf::{Found, Shelf};
use contracts::policy::cache::Cache;
use contracts::{TenantId, Timestamp, Usd};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bounds of a process's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Bytes of all answers together. When there are more, those with the most give way, so that nobody's answers go for a
    /// neighbour's flood.
    pub max_bytes: usize,
    /// Questions that are embedded at once.
    pub embed_parallel: usize,
    /// How long a question waits for its turn to be embedded before it goes on without.
    pub embed_wait: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { max_bytes: 256 * 1024 * 1024, embed_parallel: 2, embed_wait: Duration::from_millis(50) }
    }
}

/// The cache. Cloning shares it.
#[derive(Debug, Clone)]
pub struct AnswerCache {
    pub(crate) inner: Arc<Inner>,
}

/// What a cache says to a request.
#[derive(Debug)]
pub enum Asked {
    /// Here is its answer.
    Hit(Hit),
    /// The model has to be called; then [`Lead::keep`].
    Call(Box<Lead>),
    /// There is none, and `only-if-cached` forbids to call: 504.
    Absent,
}

/// An answer that was given before.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The answer.
    pub entry: Arc<Entry>,
    /// How it was found.
    pub status: Status,
    /// The cosine of the questions, of a semantic hit.
    pub similarity: Option<f32>,
    /// How old it is: the `age` header.
    pub age: Duration,
    /// What the call would have cost: what the answer cost then.
    pub saved: Usd,
    /// Whether the request waited for another's call.
    pub waited: bool,
}

/// A request's cache status, for its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The same request was answered before.
    HitExact,
    /// One of the same meaning was.
    HitSemantic,
    /// None was.
    Miss,
    /// The cache had no part in it.
    Bypass,
}

impl Status {
    /// `hit_exact`, `hit_semantic`, `miss` or `bypass`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HitExact => "hit_exact",
            Self::HitSemantic => "hit_semantic",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Whose answers are no longer valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// One tenant's.
    Tenant(TenantId),
    /// One tenant's on one route.
    Route(TenantId, String),
}

/// How far an invalidation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All gateways: this one, Redis, and the others when they next look there (a second).
    All,
    /// This one. Redis cannot be reached; the others follow when it can.
    Local,
}

/// How a cache does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheUse {
    /// Requests answered by the same one before.
    pub hits_exact: u64,
    /// By one of the same meaning.
    pub hits_semantic: u64,
    /// By none.
    pub misses: u64,
    /// Requests that waited for the answer to the same one, of the hits.
    pub waited: u64,
    /// Similar questions that the guard held apart.
    pub vetoed: u64,
    /// Questions that were not compared, because the embedder was busy or failed.
    pub not_embedded: u64,
    /// Answers that had to go for others.
    pub evicted: u64,
    /// Answers that were not shared, because Redis was away or too slow.
    pub not_shared: u64,
    /// Answers held, those known from other gateways included.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// What hits saved.
    pub saved: Usd,
}

/// A tenant's answers on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfUse {
    /// Whose.
    pub tenant: TenantId,
    /// The route.
    pub route: String,
    /// Answers held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
}

pub(crate) struct Inner {
    options: CacheOptions,
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    bytes: Arc<AtomicUsize>,
    embed: Option<Arc<dyn Embed>>,
    embed_turns: Arc<Semaphore>,
    pub(crate) shared: Option<Shared>,
    pub(crate) counters: Counters,
    relieving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Tenant {
    shelves: RwLock<HashMap<Box<str>, Arc<Shelf>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits_exact: AtomicU64,
    hits_semantic: AtomicU64,
    misses: AtomicU64,
    waited: AtomicU64,
    vetoed: AtomicU64,
    not_embedded: AtomicU64,
    /// Of shelves that are closed.
    evicted: AtomicU64,
    pub(crate) not_shared: AtomicU64,
    saved: Mutex<Usd>,
}

impl AnswerCache {
    /// A cache, and the work that goes on beside it, to be run in a task of its own. `embed` is needed for semantic hits, `shared`
    /// for gateways that share answers. Within a runtime of tokio.
    pub fn new(
        options: CacheOptions,
        embed: Option<Arc<dyn Embed>>,
        shared: Option<&SharedOptions>,
    ) -> Result<(Self, Worker), redis::RedisError> {
        let (shared, jobs) = shared.map(Shared::new).transpose()?.unzip();
        let inner = Arc::new(Inner {
            embed_turns: Arc::new(Semaphore::new(options.embed_parallel.clamp(1, 1024))),
            options,
            tenants: RwLock::default(),
            bytes: Arc::default(),
            embed,
            shared,
            counters: Counters::default(),
            relieving: Mutex::default(),
        });
        let worker = Worker::new(inner.clone(), jobs);
        Ok((Self { inner }, worker))
    }

    /// Looks for a request's answer. Waits for the same request's answer under way (`wait_ms`), for Redis and for the embedder, each
    /// for a bounded time; nothing that fails on the way fails the request. A hit counts once somebody is answered with it
    /// ([`AnswerCache::note_answered`]).
    pub async fn ask(&self, question: Question, policy: &Cache, control: &Control, now: Timestamp) -> Asked {
        let shelf = self.inner.shelf(&question);
        let mut lead = Lead::new(self.inner.clone(), question, shelf, policy, control);
        if control.is_off() {
            return if control.only_if_cached {
                Asked::Absent
            } else {
                Asked::Call(Box::new(lead.keeping_nothing()))
            };
        }
        if control.no_read {
            lead.prepare(policy, control, now).await;
            count(&self.inner.counters.misses);
            return Asked::Call(Box::new(lead));
        }
        if policy.exact
            && let Some(hit) = lead.exact_here(control, now)
        {
            return Asked::Hit(hit);
        }
        if policy.exact && policy.wait_ms > 0 && control.takes_any() && !control.only_if_cached {
            match lead.join(Duration::from_millis(policy.wait_ms)).await {
                Some(Turn::Answer(hit)) => return Asked::Hit(hit.waited_for()),
                Some(Turn::Lead(seat)) => lead.seat = Some(seat),
                Some(Turn::Alone) | None => {}
            }
        }
        if let Some(hit) = lead.look(policy, control, now).await {
            if let Some(seat) = lead.seat.take() {
                seat.land(&hit);
            }
            return Asked::Hit(hit);
        }
        count(&self.inner.counters.misses);
        if control.only_if_cached { Asked::Absent } else { Asked::Call(Box::new(lead)) }
    }

    /// Calls answers invalid; those under way are not kept either.
    pub async fn invalidate(&self, scope: Scope) -> Reach {
        self.inner.close(&scope);
        let Some(shared) = &self.inner.shared else { return Reach::All };
        if shared.invalidate(&scope).await.is_ok() {
            return Reach::All;
        }
        shared.later(Job::Invalidate(scope));
        Reach::Local
    }

    /// Takes away what is too old. The worker does so now and then.
    pub fn sweep(&self, now: Timestamp) {
        self.inner.sweep(now);
    }

    /// How the cache does.
    pub fn usage(&self) -> CacheUse {
        let inner = &self.inner;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &inner.counters;
        let shelves = inner.shelves();
        let counts: Vec<(usize, u64)> = shelves.iter().map(|shelf| shelf.counts()).collect();
        CacheUse {
            hits_exact: of(&counters.hits_exact),
            hits_semantic: of(&counters.hits_semantic),
            misses: of(&counters.misses),
            waited: of(&counters.waited),
            vetoed: of(&counters.vetoed),
            not_embedded: of(&counters.not_embedded),
            evicted: of(&counters.evicted) + counts.iter().map(|(_, evicted)| evicted).sum::<u64>(),
            not_shared: of(&counters.not_shared),
            entries: counts.iter().map(|(entries, _)| *entries as u64).sum(),
            bytes: shelves.iter().map(|shelf| shelf.bytes() as u64).sum(),
            saved: *counters.saved.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Most bytes that it holds.
    pub fn max_bytes(&self) -> usize {
        self.inner.options.max_bytes
    }

    /// What is held for whom.
    pub fn shelves(&self) -> Vec<ShelfUse> {
        let tenants: Vec<(TenantId, Arc<Tenant>)> =
            read(&self.inner.tenants).iter().map(|(id, tenant)| (id.clone(), tenant.clone())).collect();
        let mut shelves = Vec::new();
        for (id, tenant) in tenants {
            shelves.extend(read(&tenant.shelves).iter().map(|(route, shelf)| ShelfUse {
                tenant: id.clone(),
                route: route.to_string(),
                entries: shelf.counts().0 as u64,
                bytes: shelf.bytes() as u64,
            }));
        }
        shelves
    }

    /// Notes that a caller was answered with a hit.
    pub fn note_answered(&self, hit: &Hit) {
        let counters = &self.inner.counters;
        count(match hit.status {
            Status::HitSemantic => &counters.hits_semantic,
            _ => &counters.hits_exact,
        });
        if hit.waited {
            count(&counters.waited);
        }
        *counters.saved.lock().unwrap_or_else(PoisonError::into_inner) += hit.saved;
    }
}

impl Hit {
    pub(crate) fn new(entry: Arc<Entry>, status: Status, similarity: Option<f32>, now: Timestamp) -> Self {
        let age = Duration::from_nanos(now.nanos_since(entry.created_at));
        Self { saved: entry.answer.cost, entry, status, similarity, age, waited: false }
    }

    fn waited_for(self) -> Self {
        Self { waited: true, ..self }
    }
}

impl Inner {
    /// The shelf of a question's tenant and route.
    fn shelf(&self, question: &Question) -> Arc<Shelf> {
        self.shelf_of(&question.tenant, &question.route)
    }

    pub(crate) fn shelf_of(&self, tenant: &TenantId, route: &str) -> Arc<Shelf> {
        let known = read(&self.tenants).get(tenant).cloned();
        let tenant = known.unwrap_or_else(|| write(&self.tenants).entry(tenant.clone()).or_default().clone());
        let known = read(&tenant.shelves).get(route).cloned();
        known.unwrap_or_else(|| {
            let make = || Arc::new(Shelf::counted_in(self.bytes.clone()));
            write(&tenant.shelves).entry(route.into()).or_insert_with(make).clone()
        })
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        read(&self.tenants).keys().cloned().collect()
    }

    fn shelves(&self) -> Vec<Arc<Shelf>> {
        let tenants: Vec<Arc<Tenant>> = read(&self.tenants).values().cloned().collect();
        tenants
            .iter()
            .flat_map(|tenant| read(&tenant.shelves).values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Empties the shelves of a scope, and forgets them: calls under way hold the closed ones.
    pub(crate) fn close(&self, scope: &Scope) {
        let gone: Vec<Arc<Shelf>> = match scope {
            Scope::All => {
                let tenants = std::mem::take(&mut *write(&self.tenants));
                tenants.values().flat_map(|tenant| tenant.take()).collect()
            }
            Scope::Tenant(tenant) => {
                write(&self.tenants).remove(tenant).map_or_else(Vec::new, |tenant| tenant.take())
            }
            Scope::Route(tenant, route) => {
                let tenant = read(&self.tenants).get(tenant).cloned();
                tenant.and_then(|tenant| write(&tenant.shelves).remove(route.as_str())).into_iter().collect()
            }
        };
        for shelf in gone {
            shelf.close();
            self.counters.evicted.fetch_add(shelf.counts().1, Ordering::Relaxed);
        }
    }

    /// Takes away what is too old, and forgets tenants that have nothing and ask nothing.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.shelves().iter().for_each(|shelf| shelf.sweep(now));
        write(&self.tenants).retain(|_, tenant| {
            let mut shelves = write(&tenant.shelves);
            shelves.retain(|_, shelf| Arc::strong_count(shelf) > 1 || shelf.counts().0 > 0);
            !shelves.is_empty() || Arc::strong_count(tenant) > 1
        });
    }

    /// Where there is too much, those shelves that hold most are cut to one height, so that an eighth is free again.
    pub(crate) fn relieve(&self) {
        let most = self.options.max_bytes;
        if self.bytes.load(Ordering::Relaxed) <= most {
            return;
        }
        let Ok(_one_at_a_time) = self.relieving.try_lock() else { return };
        let shelves = self.shelves();
        let mut heights: Vec<usize> = shelves.iter().map(|shelf| shelf.bytes()).collect();
        let height = common_height(&mut heights, most - most / 8);
        shelves.iter().filter(|shelf| shelf.bytes() > height).for_each(|shelf| shelf.shrink(height));
    }
}

impl Tenant {
    fn take(&self) -> Vec<Arc<Shelf>> {
        std::mem::take(&mut *write(&self.shelves)).into_values().collect()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The greatest height to which all may be cut so that together they have at most `most`.
fn common_height(heights: &mut [usize], most: usize) -> usize {
    heights.sort_unstable();
    let mut rest = most;
    for (place, height) in heights.iter().enumerate() {
        let share = rest / (heights.len() - place);
        if *height > share {
            return share;
        }
        rest -= height;
    }
    usize::MAX
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
