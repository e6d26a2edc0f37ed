//! Measurements, side by side with peers in one run.

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// Latency, throughput, streams and memory of the gateway beside nginx.
    Gateway {
        /// Rounds; the median is reported.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
}

/// Runs a measurement.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Gateway { rounds } => anyhow::bail!("rounds {rounds}"),
    }
}
