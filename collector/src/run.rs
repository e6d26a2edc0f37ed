//! Puts the parts together and takes them down in order: first the listeners, then what their requests left in the spool.

use crate::auth::{Authenticator, ClientCertificate, Tenants};
use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::normalise::Limits;
use crate::receive::{Receiver, Sizes, grpc_router, http_router};
use crate::writer::{self, Store, Trust, Writer};
use anyhow::Context;
use control::{SnapshotHandle, Snapshots};
use runtime::tls::CertificateDer;
use runtime::{Clock, Health, HealthHandle, InFlight, ServeOptions, Shutdown, Tls};
use spool::{FullPolicy, Spool};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warehouse::{Warehouse, WarehouseConfig};

/// How often the control database is asked for changes.
const POLICY_POLL: Duration = Duration::from_millis(500);
/// How often the state of the spool is looked at.
const SPOOL_POLL: Duration = Duration::from_millis(500);
/// How long the end waits for a ClickHouse that does not answer.
const PATIENCE_AT_END: Duration = Duration::from_secs(1);
/// A request may become so many times its decompressed size as rows: flattened names are long, and what a resource says is
/// repeated in each of its spans.
const MOST_EXPANSION: usize = 4;

/// Runs the collector until `shutdown`.
pub async fn run(
    config: Config,
    warehouse: WarehouseConfig,
    control_url: &str,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    warehouse.validate()?;
    let snapshots = Snapshots::open(control_url, POLICY_POLL, shutdown.token());
    let snapshots = snapshots.await.context("open the control database")?;
    let tls = config.tls.is_some();
    let collector = Collector::start(
        &config,
        Warehouse::connect(warehouse),
        &snapshots,
        &Clock::system(),
        shutdown.clone(),
    )?;
    tracing::info!(
        collector.grpc = %collector.grpc_addr,
        collector.http = %collector.http_addr,
        collector.tls = tls,
        "the collector takes OTLP traces"
    );
    collector.finished().await;
    Ok(())
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    /// Where gRPC is served.
    pub grpc_addr: SocketAddr,
    /// Where HTTP is served.
    pub http_addr: SocketAddr,
    servers: [JoinHandle<()>; 2],
    writer: JoinHandle<()>,
    stop_writer: CancellationToken,
    watch: JoinHandle<()>,
    metrics: Metrics,
    drain_deadline: Duration,
}

impl Collector {
    /// Checks the configuration, opens spool and listeners, and starts to work. Must be called within a tokio runtime.
    pub fn start(
        config: &Config,
        store: impl Store,
        snapshots: &SnapshotHandle,
        clock: &Clock,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        config.validate()?;
        let tls = config.tls.as_ref().map(|tls| Tls::load("collector.tls", tls)).transpose()?;
        let own = runtime::Metrics::new();
        let metrics = own.with_registry(|registry| {
            snapshots.register(registry);
            if let Some(tls) = &tls {
                tls.register("collector", registry);
            }
            Metrics::new(registry)
        });
        let health = Health::new();
        let (spool, reader) = Spool::open(spool_options(config)).context("collector.spool_dir")?;
        own.with_registry(|r| {
            r.register_collector(Box::new(spool::Metrics::new("collector", spool.clone())));
        });
        let grpc = runtime::listen("collector.grpc_listen", config.grpc_listen)?;
        let http = runtime::listen("collector.http_listen", config.http_listen)?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);

        let writer = Writer::new(store, reader, writer_options(config), metrics.clone(), clock.clone())
            .with_context(|| format!("collector.spool_dir: prepare {}", config.spool_dir.display()))?;
        let stop_writer = CancellationToken::new();
        let writer = tokio::spawn(writer.run(stop_writer.clone()));
        let watch = tokio::spawn(watch(
            [health.component("policy"), health.component("spool"), health.component("rejected")],
            snapshots.clone(),
            spool.clone(),
            metrics.clone(),
        ));

        let tenants = Tenants::default();
        let receiver = receiver(config, snapshots, &tenants, &spool, &metrics, clock);
        let (over_http, over_grpc) = (bound_to(receiver.clone(), http_addr), bound_to(receiver, grpc_addr));
        let own_routes = runtime::health::router(health, own);
        let http_routes =
            move |client| http_router(over_http.clone().for_client(client)).merge(own_routes.clone());
        let grpc_routes = move |client| grpc_router(over_grpc.clone().for_client(client));
        let options = ServeOptions { drain_deadline: config.drain_deadline, ..ServeOptions::default() };
        let servers = [
            tokio::spawn(serve(grpc, tls.clone(), grpc_routes, shutdown.clone(), options.clone())),
            tokio::spawn(serve(http, tls, http_routes, shutdown, options)),
        ];
        Ok(Self {
            grpc_addr,
            http_addr,
            servers,
            writer,
            stop_writer,
            watch,
            metrics,
            drain_deadline: config.drain_deadline,
        })
    }

    /// Returns when shutdown was asked for, requests are answered, and the spool is empty or the deadline has passed: what is
    /// left in the spool is worked at the next start.
    pub async fn finished(self) {
        for server in self.servers {
            joined("server", server.await);
        }
        self.stop_writer.cancel();
        let writer = self.writer;
        let abort = writer.abort_handle();
        tokio::select! {
            ended = writer => joined("writer", ended),
            () = no_use_in_waiting(&self.metrics, self.drain_deadline) => {
                abort.abort();
                tracing::warn!("the spool is not empty at the end; the rest is written after the next start");
            }
        }
        self.watch.abort();
    }
}

/// Returns at the deadline, or sooner when ClickHouse is not there to take what is left: in an orderly stop of everything it
/// may be gone already.
async fn no_use_in_waiting(metrics: &Metrics, deadline: Duration) {
    let end = Instant::now() + deadline;
    let mut failing_since = None;
    while Instant::now() < end {
        if metrics.clickhouse_up.get() == 1 {
            failing_since = None;
        } else if failing_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE_AT_END {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Serves `routes`, which are made for each connection behind TLS, for whatever its client is by its certificate, and once
/// for all without.
async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    routes: impl Fn(Option<ClientCertificate>) -> axum::Router + Clone + Send + 'static,
    shutdown: Shutdown,
    options: ServeOptions,
) {
    let drained = match tls {
        None => runtime::serve(listener, routes(None), shutdown, options).await,
        Some(tls) => {
            let routes = move |certificate: Option<&CertificateDer<'static>>| {
                routes(certificate.map(ClientCertificate::read))
            };
            runtime::serve_tls(listener, tls, routes, shutdown, options).await
        }
    };
    if drained.cut > 0 {
        tracing::warn!(
            connections = drained.cut,
            "export requests were cut at the drain deadline; their senders will repeat them"
        );
    }
}

fn joined(what: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "the {what} task did not end well");
    }
}

/// `receiver` for the listener at `addr`. Whoever reaches a listener on loopback is on this machine. The address of the peer
/// says less: behind a mesh or a proxy on this machine everybody comes from loopback.
fn bound_to(mut receiver: Receiver, addr: SocketAddr) -> Receiver {
    let tenant = receiver.authenticator.loopback_tenant.take();
    receiver.authenticator.loopback_tenant = tenant.filter(|_| addr.ip().is_loopback());
    receiver
}

/// What both protocols share: clones of it count against one bound on bytes in work.
fn receiver(
    config: &Config,
    snapshots: &SnapshotHandle,
    tenants: &Tenants,
    spool: &spool::Writer,
    metrics: &Metrics,
    clock: &Clock,
) -> Receiver {
    let size = |bytes: runtime::config::ByteSize| usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX);
    Receiver {
        authenticator: Authenticator {
            snapshots: snapshots.clone(),
            tenants: tenants.clone(),
            certificate: None,
            service_key: config.service_key.as_deref().map(Authenticator::digest),
            loopback_tenant: config.loopback_tenant.clone(),
            default_retention_days: config.default_retention_days,
            clock: clock.clone(),
        },
        ingest: Ingest {
            spool: spool.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            limits: Limits { max_span: size(config.max_span) },
            max_expanded: size(config.max_decompressed).saturating_mul(MOST_EXPANSION),
            default_retention_days: config.default_retention_days,
            retry_after: config.retry_after,
            workers: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
        },
        // Half of the bound is for what came in, half for what compressed requests become.
        in_flight: InFlight::new(config.max_in_flight.as_u64() / 2),
        unfolded: InFlight::new(config.max_in_flight.as_u64() / 2),
        metrics: metrics.clone(),
        sizes: Sizes {
            max_request: size(config.max_request),
            max_decompressed: size(config.max_decompressed),
        },
    }
}

fn spool_options(config: &Config) -> spool::Options {
    spool::Options {
        dir: config.spool_dir.join("queue"),
        max_bytes: config.spool_max.as_u64(),
        segment_bytes: config.spool_segment.as_u64(),
        fsync_interval: config.fsync_interval,
        full: FullPolicy::Refuse,
    }
}

fn writer_options(config: &Config) -> writer::Options {
    writer::Options {
        rows: config.batch_rows,
        bytes: usize::try_from(config.batch_bytes.as_u64()).unwrap_or(usize::MAX),
        linger: config.batch_linger,
        dir: config.spool_dir.clone(),
        dedup_ids: config.dedup_ids,
        trust: Trust {
            clock_skew: config.dedup_clock_skew,
            service_clock_skew: config.dedup_service_clock_skew,
            several_collectors: config.several_collectors,
        },
        pause: Duration::from_millis(100),
        longest_pause: Duration::from_secs(10),
        // As long as the warehouse waits for the answer to an insert.
        in_doubt: Duration::from_mins(2),
        rounds: 30,
    }
}

/// Keeps health and gauges up to date. A ClickHouse that is down does not make the collector unready: it goes on taking
/// spans while the spool has room.
async fn watch(
    [policy, full, rejected]: [HealthHandle; 3],
    snapshots: SnapshotHandle,
    spool: spool::Writer,
    metrics: Metrics,
) {
    loop {
        if snapshots.status().loaded {
            policy.set_ready();
        } else {
            policy.set_unready("the control database has not been read yet");
        }
        if spool.is_full() {
            full.set_unready("the spool is full: ClickHouse takes nothing, or not fast enough");
        } else {
            full.set_ready();
        }
        let refused = metrics.refused("traces").get() + metrics.refused("logs").get();
        let set_aside = refused + metrics.undecodable.get() + metrics.half_inserted.get();
        if set_aside > 0 {
            rejected.set_degraded("spans were set aside under rejected/ since the start: look at them");
        } else {
            rejected.set_ready();
        }
        tokio::time::sleep(SPOOL_POLL).await;
    }
}
