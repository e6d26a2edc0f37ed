//! Puts the evaluator together and takes it down in order: first the listener, then the workers, each after its chunk.

use crate::api::{self, Api};
use crate::config::Config;
use crate::drift::{Drift, DriftMetrics};
use crate::hub;
use crate::judges::{Ledger, Registry};
use crate::measuring::Measuring;
use crate::online::{OnlineMetrics, Planner, Shared, Worker, generation};
use anyhow::Context;
use control::{Judging, Snapshots};
use inference::{Embedder, EmbedderOptions};
use runtime::{Clock, Health, HealthHandle, Metrics, ServeOptions, Shutdown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use warehouse::{Warehouse, WarehouseConfig};

/// How often the control database is asked for changes.
const POLICY_POLL: Duration = Duration::from_millis(500);
/// How often ClickHouse is asked whether it is there.
const STORE_POLL: Duration = Duration::from_secs(5);

/// Runs the evaluator until `shutdown`. `data_dir` is one of the places where weights are looked for.
pub async fn run(
    config: Config,
    warehouse: WarehouseConfig,
    control_url: &str,
    data_dir: Option<PathBuf>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    config.validate()?;
    warehouse.validate()?;
    let config = Arc::new(config);
    let snapshots = Snapshots::open(control_url, POLICY_POLL, shutdown.token());
    let snapshots = snapshots.await.context("open the control database")?;
    let judging = Judging::open(control_url).await.context("open the control database")?;
    // Before anybody can connect: who takes connections and answers nothing is taken for one that hangs.
    let model_dir = model_dir(&config, data_dir.as_deref()).await;
    let listener = runtime::listen("evaluator.listen", config.listen)?;
    let health = Health::new();
    let metrics = Metrics::new();
    let (online, drift) = metrics.with_registry(|registry| {
        snapshots.register(registry);
        (OnlineMetrics::new(registry), DriftMetrics::new(registry))
    });
    let embedder = embedder(model_dir, data_dir, &health.component("embedder")).await;
    let gateway = config.gateway_url.as_deref().zip(config.gateway_key.as_deref());
    let registry =
        Registry::configured(&config.judges, gateway, embedder.as_ref(), &Ledger::Shared(judging.clone()))?;
    let warehouse = Warehouse::connect(warehouse);
    let shared = Shared {
        generation: generation(&registry),
        process: control::secrets::random_hex::<8>()?,
        clock: Clock::system(),
        metrics: online,
        config: config.clone(),
        registry,
        warehouse: warehouse.clone(),
        judging,
        snapshots,
        spending: TaskTracker::new(),
    };
    tracing::info!(
        address = %listener.local_addr()?,
        judges = shared.registry.versions().join(" "),
        "the evaluator listens"
    );
    tokio::spawn(watch(warehouse, health.component("store"), shutdown.clone()));
    tokio::spawn(Drift::new(shared.clone(), drift).run(shutdown.clone()));
    tokio::spawn(Measuring::new(shared.clone()).run(shutdown.clone()));
    let workers = if config.online { start(&shared, &shutdown) } else { Vec::new() };
    let spending = shared.spending.clone();
    let options = ServeOptions { drain_deadline: config.drain_deadline, ..ServeOptions::default() };
    let service = api::router(Api::new(shared.clone())).merge(runtime::health::router(health, metrics));
    // What had to be cut is in the log already.
    let _ = runtime::serve(listener, service, shutdown, options).await;
    for worker in workers {
        let abort = worker.abort_handle();
        // A chunk that is not finished is taken over when its lease runs out.
        if tokio::time::timeout(config.drain_deadline, worker).await.is_err() {
            abort.abort();
        }
    }
    spending.close();
    // What is not written by then is known to the log and to budgets.
    let _ = tokio::time::timeout(config.drain_deadline, spending.wait()).await;
    Ok(())
}

fn start(shared: &Shared, shutdown: &Shutdown) -> Vec<JoinHandle<()>> {
    let workers = (0..shared.config.workers)
        .map(|number| tokio::spawn(Worker::new(shared.clone(), number).run(shutdown.clone())));
    let mut tasks: Vec<JoinHandle<()>> = workers.collect();
    tasks.push(tokio::spawn(Planner::new(shared.clone()).run(shutdown.clone())));
    tasks
}

/// The directory of weights that the configuration names, if any; a model of a hub is fetched first.
async fn model_dir(config: &Config, data_dir: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let Some(id) = &config.hub_model else { return Ok(config.model_dir.clone()) };
    let data_dir = data_dir.context("inference.hub_model needs a data directory to keep the model in")?;
    Ok(Some(hub::model(id, &config.hub_endpoint, data_dir).await?))
}

/// The embedder, where there are weights. Without them the evaluator works, with fewer judges, and says so.
async fn embedder(
    model_dir: anyhow::Result<Option<PathBuf>>,
    data_dir: Option<PathBuf>,
    health: &HealthHandle,
) -> Option<Arc<Embedder>> {
    let loaded = tokio::task::spawn_blocking(move || {
        let dir = inference::models::find(model_dir?.as_deref(), data_dir.as_deref())?;
        Ok::<_, anyhow::Error>(Embedder::load(&dir, &EmbedderOptions::default())?)
    });
    match loaded.await {
        Ok(Ok(embedder)) => {
            health.set_ready();
            Some(Arc::new(embedder))
        }
        Ok(Err(error)) => {
            health.set_degraded(format!("the judges of relevance are left out: {error:#}"));
            None
        }
        Err(error) => {
            health.set_degraded(format!("the judges of relevance are left out: {error}"));
            None
        }
    }
}

/// Keeps `/readyz` true to what ClickHouse says.
async fn watch(warehouse: Warehouse, store: HealthHandle, shutdown: Shutdown) {
    loop {
        match warehouse.ping().await {
            Ok(()) => store.set_ready(),
            Err(error) => store.set_unready(error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(STORE_POLL) => {}
            () = shutdown.triggered() => return,
        }
    }
}
