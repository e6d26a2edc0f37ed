//! Section `[gateway.budgets]`.

use serde::Deserialize;
use std::path::PathBuf;

/// Section `[gateway.budgets]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetsConfig {
    /// Directory of the journal, used by one process at a time.
    pub dir: PathBuf,
    /// What becomes of the reservation of a call whose gateway died after the prompt was sent.
    pub when_gateway_dies: WhenGatewayDies,
    /// Opens books that are damaged with what can be read of them. For one start, when there is no copy of them: limits may be passed
    /// by what cannot be read.
    pub open_damaged: bool,
    /// Most tokens of an answer to a request that does not say: budgets must know, so the model is told.
    pub default_max_tokens: u64,
    /// Most tokens that any model takes as a prompt: reserved for requests that refer to what they do not carry, such as files and
    /// earlier responses. Without it such requests are refused under a budget.
    pub context_tokens: Option<std::num::NonZeroU64>,
    /// `redis://HOST:PORT` or `rediss://HOST:PORT` (TLS), where several gateways share budgets. Empty: this gateway is the only one.
    pub redis: String,
    /// After so long a gateway that says nothing is taken for dead. The same for all gateways.
    pub lease_ms: u64,
    /// Longest wait for an answer of Redis.
    pub redis_timeout_ms: u64,
    /// Decimal US dollars that a gateway may be granted of each budget ahead of time, to spend while Redis is away. Without it,
    /// nothing is spent then.
    pub grant: Option<contracts::Usd>,
}

/// See [`BudgetsConfig::when_gateway_dies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenGatewayDies {
    /// It is charged in full: the provider may have billed it.
    #[default]
    Charge,
    /// It is given back.
    Release,
}

impl Default for BudgetsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/gateway/budgets"),
            when_gateway_dies: WhenGatewayDies::default(),
            open_damaged: false,
            default_max_tokens: 4_096,
            context_tokens: None,
            redis: String::new(),
            lease_ms: 10_000,
            redis_timeout_ms: 500,
            grant: None,
        }
    }
}
