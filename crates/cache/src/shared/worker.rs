//! What goes on beside the calls: answers are written to Redis, news of others' are read, and what is too old goes.

use super::{Away, Bearing, Job, NEWS_VERSION, News, Shared, generations_key, news_key};
use crate::store::{Inner, Scope};
use contracts::{TenantId, Timestamp};
use redis::Pipeline;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

/// News that are read at once.
const PAGE: usize = 512;

/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Invalidations that wait for Redis; beyond, all of all tenants are.
const MOST_PENDING: usize = 1024;

/// The work beside the calls; a gateway runs it in a task of its own.
#[derive(Debug)]
pub struct Worker {
    inner: Arc<Inner>,
    jobs: Option<mpsc::Receiver<Job>>,
    tenants: HashMap<TenantId, Known>,
    pending: Vec<Scope>,
}

/// What is known of a tenant in Redis.
#[derive(Debug, Default)]
struct Known {
    /// The last news that were read.
    last: Option<String>,
    generations: HashMap<String, u64>,
}

/// A stream's entries: an id, and fields with values.
type Page = Vec<(String, Vec<Vec<u8>>)>;

impl Worker {
    pub(crate) fn new(inner: Arc<Inner>, jobs: Option<mpsc::Receiver<Job>>) -> Self {
        Self { inner, jobs, tenants: HashMap::new(), pending: Vec::new() }
    }

    /// Works until `stop`; then what waits to be written is written, if Redis is there.
    pub async fn run(mut self, now: impl Fn() -> Timestamp, stop: impl Future<Output = ()>) {
        let every = self.inner.shared.as_ref().map_or(SWEEP, |shared| shared.options.every);
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                job = next(&mut self.jobs) => self.work(job).await,
                _ = ticks.tick() => {
                    self.read_news().await;
                    if swept.elapsed() >= SWEEP {
                        swept = Instant::now();
                        self.inner.sweep(now());
                    }
                }
            }
        }
        while let Some(job) = self.jobs.as_mut().and_then(|jobs| jobs.try_recv().ok()) {
            self.work(job).await;
        }
    }

    /// Does what is to be done now.
    #[cfg(test)]
    pub(crate) async fn settle(&mut self) {
        while let Some(job) = self.jobs.as_mut().and_then(|jobs| jobs.try_recv().ok()) {
            self.work(job).await;
        }
        self.read_news().await;
    }

    async fn work(&mut self, job: Job) {
        let Some(shared) = &self.inner.shared else { return };
        match job {
            Job::Write(write) => {
                if shared.write(&write).await.is_err() {
                    self.inner.counters.not_shared.fetch_add(1, Ordering::Relaxed);
                }
            }
            Job::Invalidate(_) if self.pending.len() >= MOST_PENDING => self.pending = vec![Scope::All],
            Job::Invalidate(scope) if self.pending.contains(&scope) => {}
            Job::Invalidate(scope) => self.pending.push(scope),
        }
    }

    /// Reads on in each tenant's stream, after what was called invalid. One round: what Redis does not answer waits for the next.
    async fn read_news(&mut self) {
        let inner = self.inner.clone();
        let Some(shared) = &inner.shared else { return };
        while let Some(scope) = self.pending.pop() {
            if shared.invalidate(&scope).await.is_err() {
                self.pending.push(scope);
                return;
            }
        }
        let tenants = inner.tenants();
        if self.tenants.len() > 2 * tenants.len() + 16 {
            self.tenants.retain(|tenant, _| tenants.contains(tenant));
        }
        for tenant in tenants {
            let known = self.tenants.entry(tenant.clone()).or_default();
            if read_on(shared, &inner, &tenant, known).await.is_err() {
                return;
            }
        }
    }
}

async fn next(jobs: &mut Option<mpsc::Receiver<Job>>) -> Job {
    let job = match jobs {
        Some(jobs) => jobs.recv().await,
        None => None,
    };
    match job {
        Some(job) => job,
        None => std::future::pending().await,
    }
}

async fn read_on(shared: &Shared, inner: &Inner, tenant: &TenantId, known: &mut Known) -> Result<(), Away> {
    loop {
        let start = known.last.as_ref().map_or_else(|| "-".to_owned(), |last| format!("({last}"));
        let mut pipe = Pipeline::with_capacity(2);
        pipe.cmd("HGETALL").arg(generations_key(tenant));
        pipe.cmd("XRANGE").arg(news_key(tenant)).arg(start).arg("+").arg("COUNT").arg(PAGE);
        let (generations, page): (HashMap<String, u64>, Page) = shared.run(&pipe).await?;
        forget_invalid(inner, tenant, known, generations);
        let is_last = page.len() < PAGE;
        for (id, fields) in page {
            if let Some(news) = fields.get(1).and_then(|value| postcard::from_bytes::<News>(value).ok()) {
                learn(inner, tenant, known, news);
            }
            known.last = Some(id);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Empties here what another gateway called invalid.
fn forget_invalid(inner: &Inner, tenant: &TenantId, known: &mut Known, generations: HashMap<String, u64>) {
    let changed = |field: &String| generations.get(field) != known.generations.get(field);
    let changed: Vec<&String> =
        generations.keys().chain(known.generations.keys()).filter(|f| changed(f)).collect();
    if changed.iter().any(|field| field.is_empty()) {
        inner.close(&Scope::Tenant(tenant.clone()));
    } else {
        for route in changed {
            inner.close(&Scope::Route(tenant.clone(), route.clone()));
        }
    }
    known.generations = generations;
}

/// Notes where another gateway's answer lies.
fn learn(inner: &Inner, tenant: &TenantId, known: &Known, news: News) {
    let generation = |field: &str| known.generations.get(field).copied().unwrap_or_default();
    let is_valid =
        news.generations.tenant == generation("") && news.generations.route == generation(&news.route);
    if news.version != NEWS_VERSION || !is_valid || !news.vector.is_unit() {
        return;
    }
    let bytes = usize::try_from(news.most_bytes).unwrap_or(usize::MAX);
    let most = usize::try_from(news.most).unwrap_or(usize::MAX);
    let expires_at = Timestamp::from_unix_nanos(news.expires_at);
    let bearing =
        Bearing { partition: news.partition, vector: news.vector, facts: Arc::new(news.facts), most };
    inner.shelf_of(tenant, &news.route).insert(news.key, None, expires_at, Some(&bearing), bytes);
    inner.relieve();
}

#[cfg(test)]
mod tests;
