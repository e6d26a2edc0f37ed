//! What the gateway may do, for whom, with which upstream: one immutable snapshot of the control database.
//!
//! `control` builds a [`Snapshot`]; the gateway and the collector hold it behind an atomic pointer and never ask the
//! database while serving.

pub mod budget;
pub mod cache;
pub mod cascade;
mod document;
mod documents;
pub mod experiment;
pub mod guardrail;
mod invalid;
mod library;
pub mod plan;
pub mod pool;
pub mod prompt;
mod provider;
pub mod queue;
mod reach;
mod route;

pub use document::{Document, Kind, Reference, read, shape};
pub use invalid::InvalidPolicy;
pub use library::{Held, Library, Named, Prompt, Prompts, Unreadable};
pub use provider::{Protocol, ProviderSettings, StreamUsage};
pub use reach::{ByReach, Reach, Reaching};
pub use route::{DEFAULT_LABEL, PromptRef, RouteSpec, Selector, label_is_valid, tag_is_valid};

/// The documents of each kind, by the name of the kind.
pub mod spec {
    pub use super::budget::Budget;
    pub use super::cache::Cache;
    pub use super::cascade::Cascade;
    pub use super::experiment::Experiment;
    pub use super::guardrail::Guardrail;
    pub use super::plan::Plan;
    pub use super::pool::Pool;
    pub use super::prompt::Prompt;
}

use crate::price::PriceBook;
use crate::{KeyId, ModelName, OrganisationId, PolicyName, ProviderId, TenantId, Timestamp};
use std::collections::{HashMap, HashSet};
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
    /// The hashes of the admin keys' secrets.
    pub admin_keys: HashSet<KeyHash>,
    /// Providers; the deployments of a pool name them.
    pub providers: HashMap<ProviderId, Arc<Provider>>,
    /// Models by the name that clients ask for.
    pub models: HashMap<ModelName, Arc<Model>>,
    /// Routes that every tenant sees, by the name that clients put in `model`.
    pub shared_routes: HashMap<ModelName, Arc<Route>>,
    /// Routes of one tenant; they win over shared routes and models of the same name.
    pub tenant_routes: HashMap<TenantId, HashMap<ModelName, Arc<Route>>>,
    /// Prices.
    pub prices: Arc<PriceBook>,
    /// Plans. Those of a tenant and of a key are in [`TenantPolicy::plan`] and [`KeyPolicy::plan`].
    pub plans: Library<spec::Plan>,
    /// Budgets, by what they apply to.
    pub budgets: ByReach<spec::Budget>,
    /// What stands behind a model; a model without has one deployment, its provider.
    pub pools: HashMap<ModelName, Held<spec::Pool>>,
    /// Cascades. That of a route is in its [`RoutePolicy`], as are the following.
    pub cascades: Library<spec::Cascade>,
    /// Caches.
    pub caches: Library<spec::Cache>,
    /// Guardrails.
    pub guardrails: Library<spec::Guardrail>,
    /// Experiments.
    pub experiments: Library<spec::Experiment>,
    /// What was measured of those that adapt, by owner and name. It changes without a new version.
    pub measured: HashMap<(Option<TenantId>, PolicyName), Arc<Named<experiment::Measured>>>,
    /// Prompts.
    pub prompts: Prompts<spec::Prompt>,
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
    /// How often and how much it may call, beside what its tenant may. One that cannot be read closes the key.
    pub plan: Option<Held<spec::Plan>>,
    /// What may go in and come out of its calls, and which tools they may call, after what their route says. One that cannot be read
    /// closes the key.
    pub guardrails: Vec<Held<spec::Guardrail>>,
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
    /// The organisation that it belongs to.
    pub organisation: Option<OrganisationId>,
    /// How often and how much all its keys together may call. One that cannot be read closes the tenant.
    pub plan: Option<Held<spec::Plan>>,
}

/// A name that clients ask for, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose route it is; absent when every tenant sees it.
    pub tenant: Option<TenantId>,
    /// The name in the request's `model` field.
    pub name: ModelName,
    /// The model that answers when there is no cascade.
    pub model: ModelName,
    /// What else it does. One that cannot be read closes the route.
    pub policy: Result<RoutePolicy, Arc<Unreadable>>,
}

/// What a route does beside leading to a model, its names resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutePolicy {
    /// The models to ask in turn.
    pub cascade: Option<Arc<Named<spec::Cascade>>>,
    /// Which answers may be given again.
    pub cache: Option<Arc<Named<spec::Cache>>>,
    /// What may go in and come out, in this order.
    pub guardrails: Vec<Arc<Named<spec::Guardrail>>>,
    /// What is compared.
    pub experiment: Option<Arc<Named<spec::Experiment>>>,
    /// The prompt that requests without one get; [`Named::revision`] is its version.
    pub prompt: Option<Arc<Named<spec::Prompt>>>,
    /// Tags that each request through the route carries.
    pub tags: Vec<String>,
    /// Within which time the first token is promised.
    pub ttft_slo: Option<Duration>,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that clients ask for.
    pub name: ModelName,
    /// The name that the provider knows it by.
    pub upstream_model: String,
    /// Its name in the price book, where that is another.
    pub price_as: Option<String>,
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
    /// How it is spoken to. Settings that cannot be read close it.
    pub speaks: Result<Speaks, Arc<Unreadable>>,
}

/// A protocol and what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Speaks {
    /// The protocol.
    pub protocol: Protocol,
    /// What it needs to know.
    pub settings: ProviderSettings,
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

impl Resolved {
    /// Which answers may be given again, where any may.
    pub fn cache(&self) -> Option<&Arc<Named<spec::Cache>>> {
        self.route.as_ref()?.policy.as_ref().ok()?.cache.as_ref()
    }

    /// The models that the route asks in turn, where it asks several.
    pub fn cascade(&self) -> Option<&Arc<Named<spec::Cascade>>> {
        self.route.as_ref()?.policy.as_ref().ok()?.cascade.as_ref()
    }

    /// Within which time the first token is promised, where any promise is made.
    pub fn ttft_slo(&self) -> Option<Duration> {
        self.route.as_ref()?.policy.as_ref().ok()?.ttft_slo
    }
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

impl TenantPolicy {
    /// A tenant with the defaults.
    pub const fn new(id: TenantId) -> Self {
        Self { id, retention_days: 30, capture_content: true, organisation: None, plan: None }
    }
}

impl Model {
    /// The name that prices it, both what is reserved for a call and what a call cost.
    pub fn price_name(&self) -> &str {
        self.price_as.as_deref().unwrap_or(&self.upstream_model)
    }
}

impl Route {
    /// A shared route that leads to a model and does nothing else.
    pub fn new(name: ModelName, model: ModelName) -> Self {
        Self { tenant: None, name, model, policy: Ok(RoutePolicy::default()) }
    }

    /// The tags that each request through it carries.
    pub fn tags(&self) -> &[String] {
        self.policy.as_ref().map_or(&[], |policy| &policy.tags)
    }
}

impl Provider {
    /// A provider without credential that speaks `OpenAI`'s protocol.
    pub fn new(id: ProviderId, base_url: String) -> Self {
        let price_as = id.to_string();
        Self { id, base_url, secret: None, price_as, speaks: Ok(Speaks::default()) }
    }
}

impl KeyPolicy {
    /// A key that allows every model and never expires.
    pub const fn new(id: KeyId, tenant: Arc<TenantPolicy>) -> Self {
        Self {
            id,
            tenant,
            allowed_models: None,
            expires_at: None,
            revoked_at: None,
            plan: None,
            guardrails: Vec::new(),
        }
    }

    /// Whether the key may ask for `name`.
    pub fn allows(&self, name: &ModelName) -> bool {
        self.allowed_models.as_ref().is_none_or(|allowed| allowed.contains(name))
    }
}
