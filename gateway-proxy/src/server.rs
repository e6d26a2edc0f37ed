//! Putting the gateway together, running it, and ending it in order.

use crate::address::TrustedProxies;
use crate::app::App;
use crate::caching::Answers;
use crate::cascading::Checks;
use crate::config::{Config, WhenFull, WhenGatewayDies};
use crate::emit::{Recorder, Shipper, ShipperOptions};
use crate::govern::Governor;
use crate::guarding::Guards;
use crate::identity::Ids;
use crate::live::{self, Live};
use crate::meaning::Meaning;
use crate::meter::Estimator;
use crate::metrics::GatewayMetrics;
use crate::policy::{Policy, Source};
use crate::pools::Pools;
use crate::relay::Watchman;
use crate::resume::Streams;
use crate::stack::Gateway;
use crate::upstream::Upstreams;
use admission::flood::Flood;
use budget::{JournalOptions, Ledger, RedisOptions, WhenRedisIsAway};
use control::SnapshotHandle;
use runtime::{Clock, Health, HealthHandle, InFlight, Metrics, ServeOptions, Shutdown};
use spool::{FullPolicy, Spool};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(15);
/// How long the calls that were cut at the end may take to be counted. A long prompt takes most of a second.
const LAST_COUNTS: Duration = Duration::from_secs(10);
/// How long the rest may take to be estimated by their length and recorded, for which milliseconds are enough.
const LAST_ESTIMATES: Duration = Duration::from_secs(10);
/// How long the last records may take to reach the collector at the end; what does not is shipped after the next start.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// A gateway with its port open, before it serves.
#[derive(Debug)]
pub struct Server {
    config: Config,
    source: Source,
    clock: Clock,
    listener: TcpListener,
}

/// Serves until `shutdown`, then drains streams and flushes the spool. While the control database is down from the start, it
/// listens, is not ready, and refuses calls.
pub async fn run(config: Config, control_url: &str, shutdown: Shutdown) -> anyhow::Result<()> {
    config.validate()?;
    let poll = Duration::from_millis(config.control_poll_ms);
    let source = Source::open(control_url, poll, shutdown.token()).await?;
    Server::open(config, source, Clock::system())?.serve(shutdown).await
}

impl Server {
    /// Opens the port. `policy` is read at every request.
    pub fn bind(config: Config, policy: SnapshotHandle, clock: Clock) -> anyhow::Result<Self> {
        Self::open(config, Source::Open(policy), clock)
    }

    fn open(config: Config, source: Source, clock: Clock) -> anyhow::Result<Self> {
        config.validate()?;
        let listener = runtime::listen("gateway.listen", config.listen)?;
        Ok(Self { config, source, clock, listener })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, source, clock, listener } = self;
        let (health, registry) = (Health::new(), Metrics::new());
        let (writer, reader) = Spool::open(spool_options(&config))?;
        let metrics = registry.with_registry(|r| {
            r.register_collector(Box::new(spool::Metrics::new("gateway", writer.clone())));
            GatewayMetrics::register(r)
        });
        let options =
            ShipperOptions { collector_url: config.collector_url.clone(), key: config.collector_key.clone() };
        let tls = runtime::tls::client_config("gateway.ca_file", config.ca_file.as_deref())?;
        let shipper =
            Shipper::new(&options, tls.clone(), reader, metrics.clone(), health.component("shipper"))?;
        let redis_ca = runtime::tls::authorities("gateway.redis_ca_file", config.redis_ca_file.as_deref())?;
        let governor = governor(&config, redis_ca.as_deref(), &clock).await?;
        let meaning = Arc::new(Meaning::new(config.embedder.clone()));
        let checks = Arc::new(Checks::new(&config.cascade, meaning.clone(), tls.clone()));
        let (answers, keeper) = Answers::new(&config.cache, redis_ca.as_deref(), meaning)?;
        registry.with_registry(|r| r.register_collector(Box::new(answers.metrics())));
        let deciders = Deciders { governor, checks, answers };
        let app = app(&config, tls.clone(), Policy::default(), writer.clone(), metrics, clock, deciders);
        let app = Arc::new(app);

        // The shipper outlives the server, so that it also takes what the last calls leave behind.
        let stop_shipping = CancellationToken::new();
        let shipping = tokio::spawn(shipper.run(stop_shipping.clone(), LAST_RECORDS));
        let sweeping = tokio::spawn(shutdown.token().run_until_cancelled_owned(sweep(app.clone())));
        let watching = tokio::spawn(shutdown.token().run_until_cancelled_owned(watch(app.clone())));
        let noting = tokio::spawn(shutdown.token().run_until_cancelled_owned(live::tick(app.clone())));
        let (keeping, keepers_clock) = (shutdown.token(), app.clock.clone());
        let keeping = tokio::spawn(keeper.run(move || keepers_clock.now(), keeping.cancelled_owned()));
        let asking =
            tokio::spawn(shutdown.token().run_until_cancelled_owned(crate::pools::watch(app.clone(), tls)));
        let loading = load(source, &app, &registry, health.component("policy"), shutdown.token()).await;

        let serve = ServeOptions {
            header_read_timeout: Duration::from_millis(config.timeouts.client_header_ms),
            drain_deadline: Duration::from_millis(config.drain_ms),
            write_stall_timeout: Some(config.timeouts.client_stall()),
            ..ServeOptions::default()
        };
        let last = app.clone();
        let operations = runtime::health::router(health, registry);
        let gateway =
            |peer: SocketAddr| Gateway { app: app.clone(), operations: operations.clone(), peer: peer.ip() };
        let addr = listener.local_addr()?;
        tracing::info!(%addr, "the gateway serves");
        // What is kept is drained while connections are.
        let (kept, stopping) = (last.clone(), shutdown.token());
        let drain = Duration::from_millis(config.drain_ms);
        let draining = tokio::spawn(async move {
            stopping.cancelled().await;
            kept.streams.end(drain).await;
        });
        let drained = runtime::serve::serve_hyper(listener, gateway, shutdown, serve).await;
        tracing::info!(connections.cut = drained.cut, "the gateway has stopped serving");

        draining.await?;
        last.streams.end_all().await;
        loading.abort();
        sweeping.abort();
        watching.abort();
        noting.abort();
        asking.abort();
        keeping.abort();
        record_last(&last, LAST_COUNTS).await;
        last.governor.ledger().close().await;
        writer.sync().await?;
        stop_shipping.cancel();
        shipping.await?;
        Ok(())
    }
}

/// What decides about calls.
struct Deciders {
    governor: Governor,
    checks: Arc<Checks>,
    answers: Answers,
}

/// What all requests share, at the start.
fn app(
    config: &Config,
    tls: rustls::ClientConfig,
    policy: Policy,
    spool: spool::Writer,
    metrics: GatewayMetrics,
    clock: Clock,
    deciders: Deciders,
) -> App {
    let Deciders { governor, checks, answers } = deciders;
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    App {
        policy,
        governor,
        checks,
        answers,
        prompter: Arc::default(),
        guards: Guards::default(),
        experiments: Arc::default(),
        pools: Pools::new(fastrand::u64(..)),
        upstreams: Upstreams::new(&config.upstream, &config.timeouts, tls),
        recorder: Arc::new(Recorder::new(
            spool,
            &config.instance,
            config.spool.when_full == WhenFull::Refuse,
        )),
        estimator: Estimator::default(),
        watchman: Watchman::default(),
        streams: Streams::new(&config.resume, metrics.slow_readers.clone()),
        live: Live::new(&config.instance, tokio::time::Instant::now(), clock.now()),
        metrics,
        limits: config.limits.clone(),
        timeouts: config.timeouts.clone(),
        unknown_outcomes: config.outcomes.unknown,
        clock,
        ids: Ids::default(),
        trusted_proxies: TrustedProxies::new(&config.trusted_proxies),
        background: TaskTracker::new(),
        counters: Arc::new(Semaphore::new(processors)),
        hurry: AtomicBool::new(false),
        bodies: InFlight::new(config.limits.bodies_in_work_bytes as u64),
    }
}

/// Opens the books of budgets.
async fn governor(config: &Config, redis_ca: Option<&[u8]>, clock: &Clock) -> anyhow::Result<Governor> {
    let budgets = &config.budgets;
    let journal = JournalOptions { opens_damaged: budgets.open_damaged, ..JournalOptions::new(&budgets.dir) };
    let when_gateway_dies = match budgets.when_gateway_dies {
        WhenGatewayDies::Charge => budget::WhenGatewayDies::Charge,
        WhenGatewayDies::Release => budget::WhenGatewayDies::Release,
    };
    let ledger = if budgets.redis.is_empty() {
        Ledger::local(journal, when_gateway_dies)?
    } else {
        let when_redis_is_away = match budgets.grant {
            Some(per_account) => WhenRedisIsAway::SpendGrant { per_account },
            None => WhenRedisIsAway::Refuse,
        };
        let redis = RedisOptions {
            lease: Duration::from_millis(budgets.lease_ms),
            timeout: Duration::from_millis(budgets.redis_timeout_ms),
            when_redis_is_away,
            ca: redis_ca.map(Into::into),
            ..RedisOptions::new(&budgets.redis)
        };
        Ledger::shared(journal, when_gateway_dies, redis, clock.now()).await?
    };
    let flood = Flood::new(config.flood.failures_per_minute);
    Ok(Governor::new(ledger, budgets, flood, tokio::time::Instant::now()))
}

/// Waits for the records of calls that were cut: for `counts` as long as they are counted, and then estimated.
async fn record_last(app: &App, counts: Duration) {
    let background = &app.background;
    background.close();
    if timeout(counts, background.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(calls = background.len(), "calls that were cut take long to count: they are estimated");
    app.hurry.store(true, Ordering::Release);
    if timeout(LAST_ESTIMATES, background.wait()).await.is_err() {
        let calls = background.len();
        app.metrics.records_lost.inc_by(calls as u64);
        tracing::error!(calls, "calls that were cut could not be recorded in time");
    }
}

/// Puts the policy of `source` in force: before this returns if it is at hand, and in the returned task if it must be awaited. Its
/// experiments are reckoned before the gateway is ready.
async fn load(
    source: Source,
    app: &App,
    registry: &Metrics,
    health: HealthHandle,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    let (registry, policy, experiments) = (registry.clone(), app.policy.clone(), app.experiments.clone());
    let put = move |snapshots: &SnapshotHandle| {
        registry.with_registry(|r| snapshots.register(r));
        policy.set(snapshots.clone());
    };
    if let Source::Open(snapshots) = &source {
        experiments.prepare(snapshots.load_full()).await;
    }
    let ready = move |snapshots: SnapshotHandle| async move {
        snapshots.loaded().await;
        experiments.prepare(snapshots.load_full()).await;
        health.set_ready();
    };
    if let Source::Open(snapshots) = source {
        put(&snapshots);
        return tokio::spawn(ready(snapshots));
    }
    tokio::spawn(async move {
        let snapshots = source.handle(shutdown).await;
        put(&snapshots);
        ready(snapshots).await;
    })
}

fn spool_options(config: &Config) -> spool::Options {
    let spool = &config.spool;
    spool::Options {
        dir: spool.dir.clone(),
        max_bytes: spool.max_bytes,
        segment_bytes: spool.segment_bytes,
        fsync_interval: Duration::from_millis(spool.fsync_interval_ms),
        full: match spool.when_full {
            WhenFull::Refuse => FullPolicy::Refuse,
            WhenFull::Drop => FullPolicy::DropAndCount,
        },
    }
}

/// Looks for stalled clients four times as often as they may stall, but not more often than there is need.
async fn watch(app: Arc<App>) {
    let limit = app.timeouts.client_stall();
    let pause = (limit / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
    loop {
        tokio::time::sleep(pause).await;
        app.watchman.look(limit);
    }
}

async fn sweep(app: Arc<App>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        app.upstreams.sweep();
        app.streams.sweep(app.timeouts.client_stall());
        app.governor.sweep();
    }
}

#[cfg(test)]
mod tests;
