//! What the simulator serves: section `[sim]` of the configuration.

use crate::deployment::{self, Conduct};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of the simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens. Default `127.0.0.1:8070`.
    pub listen: SocketAddr,
    /// Recorded answers: JSON Lines, plain or gzip, one `{prompt, context?, model, answer}` a line.
    pub answers: Vec<PathBuf>,
    /// Where each served call is appended, as JSON Lines; nowhere when absent.
    pub log: Option<PathBuf>,
    /// When set, requests must carry it, where their protocol has it: `Authorization: Bearer`, `x-api-key`,
    /// `x-goog-api-key` or `api-key`.
    pub api_key: Option<String>,
    /// When set, Bedrock requests must be signed with it.
    pub aws: Option<AwsKey>,
    /// Behaviour of deployments at the start, beside `default` and those that appear when they are first called.
    pub deployments: Vec<DeploymentConfig>,
    /// The models, beside those that only fail (see [`crate::advertised`]).
    pub models: Vec<ModelConfig>,
    /// Seconds that open streams get to finish at shutdown.
    pub drain_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8070)),
            answers: Vec::new(),
            log: None,
            api_key: None,
            aws: None,
            deployments: Vec::new(),
            models: ModelConfig::defaults(),
            drain_seconds: 10,
        }
    }
}

/// A key pair for AWS's Signature Version 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKey {
    /// Names the pair in requests.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: String,
    /// Region of the signature. Default `us-east-1`.
    #[serde(default = "us_east_1")]
    pub region: String,
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}

/// A deployment: the whole pool once more, under a path or port of its own, with behaviour and counters of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentConfig {
    /// Its name: it is served under `/d/{name}`.
    pub name: String,
    /// Where it listens beside; its paths are then those of the root.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// How it behaves.
    #[serde(default)]
    pub conduct: Conduct,
}

/// What a model produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text, tool calls, structured output.
    #[default]
    Chat,
    /// Vectors.
    Embedding,
}

/// One simulated model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Its name in requests.
    pub name: String,
    /// What it produces.
    pub kind: Kind,
    /// Its place in the pool: `local`, `mid` or `premium`.
    pub tier: String,
    /// Milliseconds from the request to the first token.
    pub first_token_ms: u64,
    /// Tokens a second after the first; 0 is as fast as the connection takes them.
    pub tokens_per_second: u32,
    /// Fewest tokens of an answer.
    pub min_tokens: u32,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Most reasoning tokens before an answer; 0 for a model that does not reason.
    pub reasoning_tokens: u32,
    /// Whether answers carry usage.
    pub reports_usage: bool,
    /// Length of an embedding.
    pub dimensions: u32,
    /// Share of requests that end in `error_status`, 0 to 1.
    pub error_rate: f64,
    /// Status of those errors.
    pub error_status: u16,
    /// Share of requests that are never answered, 0 to 1.
    pub hang_rate: f64,
    /// Share of answers that break off half-way, 0 to 1.
    pub cut_rate: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: Kind::Chat,
            tier: "local".to_owned(),
            first_token_ms: 0,
            tokens_per_second: 0,
            min_tokens: 16,
            max_tokens: 48,
            reasoning_tokens: 0,
            reports_usage: true,
            dimensions: 1536,
            error_rate: 0.0,
            error_status: 500,
            hang_rate: 0.0,
            cut_rate: 0.0,
        }
    }
}

impl ModelConfig {
    /// The pool that is served when none is configured.
    fn defaults() -> Vec<Self> {
        let model = |name: &str, tier: &str, first_token_ms, tokens_per_second, max_tokens| Self {
            name: name.to_owned(),
            tier: tier.to_owned(),
            first_token_ms,
            tokens_per_second,
            max_tokens,
            ..Self::default()
        };
        vec![
            model("sim-fast", "local", 0, 0, 32),
            model("sim-small", "local", 15, 400, 60),
            model("sim-large", "premium", 60, 150, 120),
            model("sim-slow", "mid", 500, 20, 48),
            Self { reasoning_tokens: 256, ..model("sim-reasoning", "premium", 40, 800, 60) },
            Self { kind: Kind::Embedding, ..model("sim-embedding", "local", 2, 0, 16) },
        ]
    }
}

/// Why a configuration is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} is not valid: expected {expected}")]
pub struct ConfigError {
    /// The key at fault, such as `sim.models[0].error_rate`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What would be valid.
    pub expected: &'static str,
}

impl Config {
    /// Checks what types cannot.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |index: usize, key: &str, value: String, expected| {
            Err(ConfigError { key: format!("sim.models[{index}].{key}"), value, expected })
        };
        for (index, model) in self.models.iter().enumerate() {
            if model.name.is_empty() || self.models.iter().take(index).any(|m| m.name == model.name) {
                return wrong(index, "name", format!("{:?}", model.name), "a name that no other model has");
            }
            for (key, rate) in [
                ("error_rate", model.error_rate),
                ("hang_rate", model.hang_rate),
                ("cut_rate", model.cut_rate),
            ] {
                if !(0.0..=1.0).contains(&rate) {
                    return wrong(index, key, rate.to_string(), "a share from 0 to 1");
                }
            }
            if model.min_tokens == 0 || model.min_tokens > model.max_tokens {
                return wrong(index, "min_tokens", model.min_tokens.to_string(), "1 to max_tokens");
            }
            if model.dimensions == 0 || model.dimensions > 8192 {
                return wrong(index, "dimensions", model.dimensions.to_string(), "1 to 8192");
            }
            if !(400..=599).contains(&model.error_status) {
                return wrong(
                    index,
                    "error_status",
                    model.error_status.to_string(),
                    "a status from 400 to 599",
                );
            }
        }
        for (index, deployment) in self.deployments.iter().enumerate() {
            let name = &deployment.name;
            let again = self.deployments.iter().take(index).any(|d| d.name == *name);
            if again || !deployment::is_name(name) {
                return Err(ConfigError {
                    key: format!("sim.deployments[{index}].name"),
                    value: format!("{name:?}"),
                    expected: "1 to 64 letters, digits, '.', '_' or '-', that no other deployment has",
                });
            }
            deployment.conduct.validate().map_err(|error| ConfigError {
                key: format!("sim.deployments[{index}].conduct.{}", error.key),
                ..error
            })?;
        }
        Ok(())
    }
}
