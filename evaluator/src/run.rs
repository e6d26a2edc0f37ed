//! Puts the evaluator together and takes it down in order.

use crate::config::Config;
use anyhow::Context;
use control::Snapshots;
use runtime::{Health, Metrics, ServeOptions, Shutdown};
use std::time::Duration;
use warehouse::{Warehouse, WarehouseConfig};

/// How often the control database is asked for changes.
const POLICY_POLL: Duration = Duration::from_millis(500);

/// Runs the evaluator until `shutdown`.
pub async fn run(
    config: Config,
    warehouse: WarehouseConfig,
    control_url: &str,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    config.validate()?;
    warehouse.validate()?;
    let snapshots = Snapshots::open(control_url, POLICY_POLL, shutdown.token());
    let snapshots = snapshots.await.context("open the control database")?;
    let metrics = Metrics::new();
    metrics.with_registry(|registry| snapshots.register(registry));
    let health = Health::new();
    let listener = runtime::listen("evaluator.listen", config.listen)?;
    let warehouse = Warehouse::connect(warehouse);
    let store = health.component("store");
    match warehouse.ping().await {
        Ok(()) => store.set_ready(),
        Err(error) => store.set_unready(error.to_string()),
    }
    tracing::info!(address = %listener.local_addr()?, "the evaluator listens");
    let options = ServeOptions { drain_deadline: config.drain_deadline, ..ServeOptions::default() };
    // What had to be cut is in the log already.
    let _ = runtime::serve(listener, runtime::health::router(health, metrics), shutdown, options).await;
    Ok(())
}
