//! A simulated pool of models that speaks the OpenAI wire protocol.
//!
//! It stands in for real providers in demonstrations, tests and benchmarks: several models with their own pace and
//! reliability, exact usage that follows from the prompt alone, tool calls, structured output, logprobs, embeddings, and
//! every way an upstream can fail, on request. It can also replay recorded answers of real models. Each call that it
//! serves is appended to its own log, from which the cost of all calls can be recomputed without trusting the gateway.
//!
//! A request takes this way: `api/*` parses one endpoint's body → [`ask`] states the question apart from the protocol →
//! [`plan`] decides the answer → `api/*` renders it → [`playback`] sends it at the model's pace, or fails as asked.

mod answers;
mod api;
mod ask;
mod behaviour;
mod config;
mod error;
mod hash;
mod log;
mod plan;
mod playback;
mod schema;
mod server;
mod tokens;

pub use behaviour::{Advertised, advertised};
pub use config::{Config, ConfigError, Kind, ModelConfig};
pub use log::{Outcome, Record, Usage};
pub use server::run;

#[cfg(test)]
mod tests;
