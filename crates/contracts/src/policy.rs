//! What the gateway may do, for whom, with which upstream: one immutable snapshot of the control database.
//!
//! `control` builds a [`Snapshot`]; the gateway and the collector hold it behind an atomic pointer and never ask the
//! database while serving.

pub mod budget;
pub mod cache;
pub mod cascade;
pub mod experiment;
pub mod guardrail;
mod invalid;
pub mod plan;
pub mod pool;
pub mod prompt;
pub mod queue;

pub use invalid::InvalidPolicy;

use crate::price::PriceBook;
use crate::{KeyId, ModelName, ProviderId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// SHA-256 of an API key's secret.
pub type KeyHash = [u8; 32];

/// Everything admission and routing need, at one version of the control database.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with each change of the control database.
    pub version: u64,
    /// Keys by the hash of their secret. Revoked keys stay, so that the answer can say so.
    pub keys: HashMap<KeyHash, Arc<KeyPolicy>>,
    /// Models by the name that clients ask for.
    pub models: HashMap<ModelName, Arc<Model>>,
    /// Routes that every tenant sees, by the name that clients put in `model`.
    pub shared_routes: HashMap<ModelName, Arc<Route>>,
    /// Routes of one tenant; they win over shared routes and models of the same name.
    pub tenant_routes: HashMap<TenantId, HashMap<ModelName, Arc<Route>>>,
    /// Prices.
    pub prices: Arc<PriceBook>,
}

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Public id.
    pub id: KeyId,
    /// Whose key it is.
    pub tenant: Arc<TenantPolicy>,
    /// Names the key may ask for (models and routes); `None` allows all.
    pub allowed_models: Option<Vec<ModelName>>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

const DAY: Duration = Duration::from_hours(24);

/// How far back telemetry keeps its own time when it comes in: a day less than it is kept, or half of it where that is more, ten
/// years at most. What is older would be deleted at once, so it is stored under the time at which it came.
pub fn keeps_its_time(retention_days: u16) -> Duration {
    let kept = DAY * u32::from(retention_days);
    kept.saturating_sub(DAY).max(kept / 2).min(DAY * 3_653)
}

/// How far ahead it does, for clocks that are fast.
pub const KEEPS_ITS_TIME_AHEAD: Duration = DAY;

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPolicy {
    /// Id.
    pub id: TenantId,
    /// Days that its telemetry is kept.
    pub retention_days: u16,
    /// Whether prompts and answers are recorded, or only their metadata.
    pub capture_content: bool,
}

/// A name that clients ask for, and the model it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The name in the request's `model` field.
    pub name: ModelName,
    /// The model that answers.
    pub model: ModelName,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that clients ask for.
    pub name: ModelName,
    /// The name that the provider knows it by.
    pub upstream_model: String,
    /// Where it is served.
    pub provider: Arc<Provider>,
    /// Its place in the pool: `local`, `mid` or `premium` by convention.
    pub tier: String,
    /// When it was added; `created` in `GET /v1/models`.
    pub created_at: Timestamp,
}

/// Where models are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Id, also the provider's name in the price book (`openai`) unless `price_as` says otherwise.
    pub id: ProviderId,
    /// Base URL up to and including the version, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// What goes into `Authorization: Bearer`; resolved from its reference when the snapshot is built.
    pub secret: Option<Secret>,
    /// The provider's name in the price book and in `gen_ai.provider.name`.
    pub price_as: String,
}

/// A text that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A model that a request was led to.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The route's name when a route led here.
    pub route: Option<Arc<Route>>,
    /// The model.
    pub model: Arc<Model>,
}

impl Snapshot {
    /// What `name` means to `tenant`: its own route, a shared route, or a model of that name, in this order.
    pub fn resolve(&self, tenant: &TenantId, name: &str) -> Option<Resolved> {
        let name: ModelName = name.parse().ok()?;
        let own = self.tenant_routes.get(tenant).and_then(|routes| routes.get(&name));
        match own.or_else(|| self.shared_routes.get(&name)) {
            Some(route) => {
                let model = self.models.get(&route.model)?;
                Some(Resolved { route: Some(route.clone()), model: model.clone() })
            }
            None => Some(Resolved { route: None, model: self.models.get(&name)?.clone() }),
        }
    }

    /// The names that `key` may ask for, sorted: what `GET /v1/models` lists.
    pub fn visible_names(&self, key: &KeyPolicy) -> Vec<ModelName> {
        let own = self.tenant_routes.get(&key.tenant.id).into_iter().flat_map(HashMap::keys);
        let mut names: Vec<ModelName> = self
            .models
            .keys()
            .chain(self.shared_routes.keys())
            .chain(own)
            .filter(|n| key.allows(n))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl KeyPolicy {
    /// Whether the key may ask for `name`.
    pub fn allows(&self, name: &ModelName) -> bool {
        self.allowed_models.as_ref().is_none_or(|allowed| allowed.contains(name))
    }
}
