//! The embedded engine alone, for tests: reads one JSON object (`EngineConfig`) from its first argument and runs until
//! standard input ends.

use std::process::ExitCode;
use warehouse::engine::{EngineConfig, run};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Some(argument) = std::env::args().nth(1) else {
        tracing::error!("expected the configuration as one JSON argument");
        return ExitCode::from(2);
    };
    let outcome = serde_json::from_str::<EngineConfig>(&argument).map(|config| run(&config));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("the configuration is not valid: {error}");
            ExitCode::from(2)
        }
    }
}
