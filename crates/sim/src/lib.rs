//! A simulated pool of models that speaks the wire protocols of OpenAI, Azure OpenAI, Anthropic, Gemini and Bedrock.
//!
//! It stands in for real providers in demonstrations, tests and benchmarks: several models with their own pace and
//! reliability, exact usage that follows from the prompt alone, tool calls, structured output, logprobs, embeddings, and
//! every way an upstream can fail, on request. It can also replay recorded answers of real models. Each call that it
//! serves is appended to its own log, from which the cost of all calls can be recomputed without trusting the gateway.
//!
//! A request takes this way: [`server`] finds its deployment → `api/*` parses one endpoint's body → [`ask`] states the
//! question apart from the protocol → [`plan`] decides the answer → `api/*` renders it → [`sim`] waits for a slot of the
//! deployment → [`playback`] sends it at the model's pace, or fails as asked.
//!
//! It is strict where the providers are: a lost signature of a thought, a result without its call, a field that a protocol
//! does not have. It shares no code with what translates between protocols, so that each can be tested against the other.

mod answers;
mod api;
mod ask;
mod auth;
mod behaviour;
mod config;
mod control;
mod deployment;
mod dialect;
mod engine;
mod error;
mod eventstream;
mod hash;
mod log;
mod plan;
mod playback;
mod prefixes;
mod schema;
mod seal;
mod server;
mod sigv4;
mod sim;
mod tokens;
mod vllm;

pub use answers::{Row, rows};
pub use behaviour::{Advertised, advertised};
pub use config::{AwsKey, Config, ConfigError, DeploymentConfig, Kind, ModelConfig};
pub use deployment::{Conduct, Counts};
pub use engine::Engine;
pub use log::{Outcome, Record, Usage};
pub use server::run;

#[cfg(test)]
mod tests;
