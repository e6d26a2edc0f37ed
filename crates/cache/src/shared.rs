//! Answers that several gateways share through Redis.
//!
//! Keys, all of a tenant in one cluster slot:
//! - `ct:cache:{TENANT}:e:KEY`: an answer, with its time to live;
//! - `ct:cache:{TENANT}:news`: a stream of vectors, bounded; each gateway reads it on and lets its own index know where answers lie;
//! - `ct:cache:{TENANT}:gen`: a hash of how often the tenant's answers (field "") and those of a route were called invalid. An answer
//!   carries the numbers that stood before its call, and is read only while they stand;
//! - `ct:cache:tenants`: who has any.
//!
//! Without Redis each gateway has what it has. After a failure it is left alone for a second, so that no call pays for it twice.

mod worker;

pub use worker::Worker;

use crate::entry::{Entry, Generations};
use crate::facts::Facts;
use crate::index::Vector;
use crate::question::{ExactKey, Partition, Question};
use crate::shelf::Bearing;
use crate::store::Scope;
use bytes::Bytes;
use contracts::TenantId;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, TlsCertificates,
};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long Redis is left alone after a failure.
const REST: Duration = Duration::from_secs(1);

/// Answers that wait to be written.
const QUEUE: usize = 1024;

/// Where gateways share answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedOptions {
    /// `redis://…`, or `rediss://…` for TLS.
    pub url: String,
    /// PEM of the authorities that its certificate must come from; a public one without it.
    pub ca: Option<Box<[u8]>>,
    /// How long a call waits for Redis.
    pub timeout: Duration,
    /// News of vectors that a tenant's stream holds; a gateway that starts learns as many.
    pub news: usize,
    /// How often a gateway reads them, and what was called invalid.
    pub every: Duration,
}

impl SharedOptions {
    /// Bounds that suit a Redis in the same network.
    pub fn new(url: impl Into<String>) -> Self {
        let timeout = Duration::from_millis(100);
        Self { url: url.into(), ca: None, timeout, news: 4096, every: Duration::from_secs(1) }
    }
}

/// The way to Redis.
#[derive(Debug)]
pub(crate) struct Shared {
    connection: ConnectionManager,
    options: SharedOptions,
    jobs: mpsc::Sender<Job>,
    /// Until when Redis is left alone.
    rest: Mutex<Option<Instant>>,
}

/// How often the tenant's and the route's answers were called invalid, and an answer.
type Lookup = ((Option<u64>, Option<u64>), Option<Vec<u8>>);

/// Redis did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Away {
    #[error("Redis is left alone after a failure")]
    Resting,
    #[error("Redis did not answer in time")]
    Slow,
    #[error("Redis failed")]
    Failed(#[source] RedisError),
}

/// Work beside the calls.
#[derive(Debug)]
pub(crate) enum Job {
    Write(Box<Write>),
    Invalidate(Scope),
}

#[derive(Debug)]
pub(crate) struct Write {
    tenant: TenantId,
    key: ExactKey,
    entry: Vec<u8>,
    news: Option<Vec<u8>>,
    ttl: Duration,
}

/// What one gateway tells the others of a question's vector.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) version: u8,
    pub(crate) route: String,
    pub(crate) partition: Partition,
    pub(crate) key: ExactKey,
    pub(crate) generations: Generations,
    pub(crate) expires_at: i64,
    pub(crate) most: u32,
    pub(crate) most_bytes: u64,
    pub(crate) vector: Vector,
    pub(crate) facts: Facts,
}

/// Grows when the form of news changes: others are not read.
pub(crate) const NEWS_VERSION: u8 = 1;

impl Shared {
    pub(crate) fn new(options: &SharedOptions) -> Result<(Self, mpsc::Receiver<Job>), RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(Duration::from_millis(100))
            .set_connection_timeout(Some(options.timeout.max(Duration::from_millis(500))))
            .set_response_timeout(Some(options.timeout.max(Duration::from_secs(1))));
        // Small commands that wait for no more: Nagle's algorithm would hold them back for tens of milliseconds.
        let info = options.url.as_str().into_connection_info()?;
        let settings = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(settings);
        let client = match &options.ca {
            Some(ca) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
                Client::build_with_tls(info, certificates)?
            }
            Some(_) | None => Client::open(info)?,
        };
        let connection = ConnectionManager::new_lazy_with_config(client, config)?;
        let (jobs, receiver) = mpsc::channel(QUEUE);
        Ok((Self { connection, options: options.clone(), jobs, rest: Mutex::default() }, receiver))
    }

    /// What lies under a key, and the generations that a new answer will carry.
    pub(crate) async fn get(
        &self,
        question: &Question,
        key: ExactKey,
    ) -> Result<(Generations, Option<Entry>), Away> {
        let mut pipe = Pipeline::with_capacity(2);
        let tenant = &question.tenant;
        pipe.cmd("HMGET").arg(generations_key(tenant)).arg("").arg(&*question.route);
        pipe.cmd("GET").arg(entry_key(tenant, &key));
        let ((of_tenant, of_route), entry) = self.run::<Lookup>(&pipe).await?;
        let generations =
            Generations { tenant: of_tenant.unwrap_or_default(), route: of_route.unwrap_or_default() };
        let entry = entry.and_then(|entry| Entry::decode(&Bytes::from(entry), question, key, generations));
        Ok((generations, entry))
    }

    /// Has an answer written beside the calls; whether there was room in the queue.
    pub(crate) fn share(
        &self,
        question: &Question,
        entry: &Entry,
        bearing: Option<&Bearing>,
        generations: Generations,
        ttl: Duration,
        most_bytes: usize,
    ) -> bool {
        let Ok(bytes) = entry.encode(question, generations) else { return false };
        let news = bearing.and_then(|bearing| {
            let news = News {
                version: NEWS_VERSION,
                route: question.route.to_string(),
                partition: bearing.partition,
                key: entry.key,
                generations,
                expires_at: entry.expires_at.unix_nanos(),
                most: u32::try_from(bearing.most).unwrap_or(u32::MAX),
                most_bytes: most_bytes as u64,
                vector: bearing.vector.clone(),
                facts: (*bearing.facts).clone(),
            };
            postcard::to_allocvec(&news).ok()
        });
        let write = Write { tenant: entry.tenant.clone(), key: entry.key, entry: bytes, news, ttl };
        self.jobs.try_send(Job::Write(Box::new(write))).is_ok()
    }

    /// Has something done when Redis can be reached.
    pub(crate) fn later(&self, job: Job) {
        // A full queue is full of answers that Redis did not take: it is away, and the others are, too.
        if self.jobs.try_send(job).is_err() {
            tracing::warn!("other gateways were not told which answers are no longer valid");
        }
    }

    /// Has all gateways call answers invalid.
    pub(crate) async fn invalidate(&self, scope: &Scope) -> Result<(), Away> {
        let (tenants, field): (Vec<TenantId>, &str) = match scope {
            Scope::Tenant(tenant) => (vec![tenant.clone()], ""),
            Scope::Route(tenant, route) => (vec![tenant.clone()], route),
            Scope::All => {
                let mut pipe = Pipeline::new();
                pipe.cmd("SMEMBERS").arg(TENANTS);
                let (names,): (Vec<String>,) = self.run(&pipe).await?;
                (names.iter().filter_map(|name| name.parse().ok()).collect(), "")
            }
        };
        for tenant in tenants {
            let mut pipe = Pipeline::new();
            pipe.cmd("HINCRBY").arg(generations_key(&tenant)).arg(field).arg(1);
            self.run::<(u64,)>(&pipe).await?;
        }
        Ok(())
    }

    async fn write(&self, write: &Write) -> Result<(), Away> {
        let ttl = write.ttl.as_millis().max(1);
        let mut pipe = Pipeline::with_capacity(4);
        pipe.cmd("SET").arg(entry_key(&write.tenant, &write.key)).arg(&write.entry);
        pipe.arg("PX").arg(u64::try_from(ttl).unwrap_or(u64::MAX)).ignore();
        if let Some(news) = &write.news {
            let key = news_key(&write.tenant);
            pipe.cmd("XADD").arg(&key).arg("MAXLEN").arg("~").arg(self.options.news);
            pipe.arg("*").arg("v").arg(news).ignore();
            // The stream outlives the answers that it leads to, and then goes as well.
            pipe.cmd("PEXPIRE").arg(&key).arg(LONGEST_MS).ignore();
        }
        pipe.cmd("SADD").arg(TENANTS).arg(write.tenant.as_str()).ignore();
        self.run::<()>(&pipe).await
    }

    /// Sends commands, each a round trip's part of one answer, bounded in time.
    async fn run<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, Away> {
        if self.rest().is_some_and(|until| Instant::now() < until) {
            return Err(Away::Resting);
        }
        let mut connection = self.connection.clone();
        let answer = tokio::time::timeout(self.options.timeout, pipe.query_async::<T>(&mut connection)).await;
        let failed = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Away::Failed(error),
            Err(_) => Away::Slow,
        };
        *self.rest() = Some(Instant::now() + REST);
        tracing::warn!(
            error = &failed as &dyn std::error::Error,
            "the shared cache is left alone for a second"
        );
        Err(failed)
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TENANTS: &str = "ct:cache:tenants";

/// As long as an answer may live.
const LONGEST_MS: u64 = contracts::policy::cache::LONGEST_TTL_SECONDS * 1000;

// A tenant's id has no braces in it, so the slot's name ends where the id does.
fn entry_key(tenant: &TenantId, key: &ExactKey) -> String {
    format!("ct:cache:{{{tenant}}}:e:{}", hex::encode(key.0))
}

fn news_key(tenant: &TenantId) -> String {
    format!("ct:cache:{{{tenant}}}:news")
}

fn generations_key(tenant: &TenantId) -> String {
    format!("ct:cache:{{{tenant}}}:gen")
}
