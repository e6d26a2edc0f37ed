//! Tenants and what they may be served by: providers, models and routes.

use super::{Patch, time_text};
use crate::secrets::SecretRef;
use contracts::policy::{Protocol, ProviderSettings, RouteSpec};
use contracts::{ModelName, OrganisationId, PolicyName, ProviderId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A tenant: the unit of isolation and of billing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Id, such as `acme`.
    #[schema(value_type = String, example = "acme")]
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// Days that its telemetry is kept, 1 to 3650.
    pub retention_days: u16,
    /// Whether prompts and answers are recorded, or only their metadata.
    pub capture_content: bool,
    /// Since when none of its keys works; absent while it is enabled.
    #[serde(with = "time_text::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
    /// The organisation that it belongs to; absent when none.
    #[schema(value_type = Option<String>)]
    pub organisation: Option<OrganisationId>,
    /// The plan of all its keys together; absent when there is no limit.
    #[schema(value_type = Option<String>)]
    pub plan: Option<PolicyName>,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A tenant to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Id: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`.
    #[schema(value_type = String, example = "acme")]
    pub id: TenantId,
    /// Name for people; the id when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Days that its telemetry is kept, 1 to 3650; 30 when absent.
    #[serde(default = "default_retention")]
    pub retention_days: u16,
    /// Whether prompts and answers are recorded; true when absent.
    #[serde(default = "yes")]
    pub capture_content: bool,
    /// The organisation that it belongs to; none when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub organisation: Option<OrganisationId>,
    /// The plan of all its keys together, which must exist and be shared; no limit when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub plan: Option<PolicyName>,
}

impl NewTenant {
    /// A tenant with the defaults.
    pub fn new(id: TenantId) -> Self {
        Self {
            id,
            name: None,
            retention_days: default_retention(),
            capture_content: true,
            organisation: None,
            plan: None,
        }
    }
}

const fn default_retention() -> u16 {
    30
}

const fn yes() -> bool {
    true
}

/// What to change about a tenant; absent fields stay, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TenantChange {
    /// Name for people.
    pub name: Option<String>,
    /// Days, 1 to 3650.
    pub retention_days: Option<u16>,
    /// Whether prompts and answers are recorded.
    pub capture_content: Option<bool>,
    /// True stops all its keys, false lets them work again.
    pub disabled: Option<bool>,
    /// The organisation that it belongs to.
    #[schema(value_type = Option<String>)]
    pub organisation: Patch<OrganisationId>,
    /// The plan of all its keys together; must exist.
    #[schema(value_type = Option<String>)]
    pub plan: Patch<PolicyName>,
}

/// Whether a provider's credential can be had in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum SecretState {
    /// It needs none.
    None,
    /// It resolves.
    Resolved,
    /// It does not; calls to this provider go without credential.
    Unresolved(String),
}

/// Where models are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Id, such as `openai` or `vllm-eu-1`.
    #[schema(value_type = String, example = "openai")]
    pub id: ProviderId,
    /// Base URL up to and including the version, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// Where its credential comes from; a literal is hidden.
    #[schema(value_type = Option<String>, example = "env:OPENAI_API_KEY")]
    pub secret: Option<SecretRef>,
    /// The provider's name in the price book; its id when absent.
    pub price_as: Option<String>,
    /// The protocol that it speaks: `openai`, `azure`, `anthropic`, `gemini` or `bedrock`.
    #[schema(example = "openai")]
    pub protocol: String,
    /// What the protocol needs to know beside URL and credential; absent when nothing.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl Provider {
    /// Whether the credential resolves here and now. Another process may see another environment or other files.
    pub fn secret_state(&self) -> SecretState {
        match self.secret.as_ref().map(SecretRef::resolve) {
            None => SecretState::None,
            Some(Ok(_)) => SecretState::Resolved,
            Some(Err(reason)) => SecretState::Unresolved(reason.to_string()),
        }
    }
}

/// A provider as it is shown: with whether its credential can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderView {
    /// The provider.
    #[serde(flatten)]
    pub provider: Provider,
    /// Whether its credential resolves in the process that answers; the gateway's may see another environment.
    pub secret_state: SecretState,
}

impl From<Provider> for ProviderView {
    fn from(provider: Provider) -> Self {
        Self { secret_state: provider.secret_state(), provider }
    }
}

/// A provider to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// Id: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`.
    #[schema(value_type = String, example = "openai")]
    pub id: ProviderId,
    /// http or https URL without credentials, query or fragment.
    pub base_url: String,
    /// `env:NAME`, `file:/path` or `literal:…`; none when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "env:OPENAI_API_KEY")]
    pub secret: Option<SecretRef>,
    /// The provider's name in the price book; its id when absent.
    #[serde(default)]
    pub price_as: Option<String>,
    /// The protocol that it speaks; `openai` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "openai")]
    pub protocol: Protocol,
    /// What the protocol needs to know: `api_version` (azure, anthropic), `region` and `access_key_id` (bedrock), `organization`,
    /// `project` and `stream_usage` (openai), `betas` (anthropic).
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub settings: ProviderSettings,
}

impl NewProvider {
    /// A provider without credential that speaks `OpenAI`'s protocol.
    pub fn new(id: ProviderId, base_url: impl Into<String>) -> Self {
        Self {
            id,
            base_url: base_url.into(),
            secret: None,
            price_as: None,
            protocol: Protocol::default(),
            settings: ProviderSettings::default(),
        }
    }
}

/// What to change about a provider; absent fields stay, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderChange {
    /// Base URL.
    pub base_url: Option<String>,
    /// Where its credential comes from.
    #[schema(value_type = Option<String>)]
    pub secret: Patch<SecretRef>,
    /// The provider's name in the price book.
    #[schema(value_type = Option<String>)]
    pub price_as: Patch<String>,
    /// The protocol that it speaks.
    #[schema(value_type = Option<String>)]
    pub protocol: Option<Protocol>,
    /// What the protocol needs to know, in place of all that was there.
    #[schema(value_type = Option<Object>)]
    pub settings: Patch<ProviderSettings>,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// The name that clients ask for.
    #[schema(value_type = String, example = "gpt-4o-mini")]
    pub name: ModelName,
    /// Where it is served.
    #[schema(value_type = String, example = "openai")]
    pub provider: ProviderId,
    /// The name that the provider knows it by.
    pub upstream_model: String,
    /// Its name in the price book; `upstream_model` when absent.
    #[schema(example = "gpt-5.4")]
    pub price_as: Option<String>,
    /// Its place in the pool: `local`, `mid` or `premium` by convention.
    pub tier: String,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A model to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModel {
    /// The name that clients ask for.
    #[schema(value_type = String, example = "gpt-4o-mini")]
    pub name: ModelName,
    /// Where it is served; must exist.
    #[schema(value_type = String, example = "openai")]
    pub provider: ProviderId,
    /// The name that the provider knows it by; `name` when absent.
    #[serde(default)]
    pub upstream_model: Option<String>,
    /// Its name in the price book, where the provider's name for it is not there, as of a deployment at Azure.
    #[serde(default)]
    pub price_as: Option<String>,
    /// Its place in the pool; `premium` when absent.
    #[serde(default)]
    pub tier: Option<String>,
}

/// What to change about a model; absent fields stay, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelChange {
    /// Where it is served; must exist.
    #[schema(value_type = Option<String>)]
    pub provider: Option<ProviderId>,
    /// The name that the provider knows it by.
    pub upstream_model: Option<String>,
    /// Its name in the price book.
    #[schema(value_type = Option<String>)]
    pub price_as: Patch<String>,
    /// Its place in the pool.
    pub tier: Option<String>,
}

/// A name that clients ask for and the model it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Whose route it is; absent for a route that every tenant sees.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The name in the request's `model` field.
    #[schema(value_type = String, example = "support-bot")]
    pub name: ModelName,
    /// The model that answers when there is no cascade.
    #[schema(value_type = String, example = "gpt-4o-mini")]
    pub model: ModelName,
    /// What else it does: `cascade`, `cache`, `guardrails`, `experiment`, `prompt`, `tags`; absent when nothing.
    #[schema(value_type = Option<Object>)]
    pub spec: Option<Value>,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A route to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Whose route it is; shared by all when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The name in the request's `model` field.
    #[schema(value_type = String, example = "support-bot")]
    pub name: ModelName,
    /// The model that answers; must exist.
    #[schema(value_type = String, example = "gpt-4o-mini")]
    pub model: ModelName,
    /// What else it does. All that it names must exist.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub spec: Option<RouteSpec>,
}

impl NewRoute {
    /// A shared route that leads to a model and does nothing else.
    pub const fn new(name: ModelName, model: ModelName) -> Self {
        Self { tenant: None, name, model, spec: None }
    }
}

/// What to change about a route; absent fields stay, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteChange {
    /// The model that answers from now on; must exist.
    #[schema(value_type = Option<String>)]
    pub model: Option<ModelName>,
    /// What else it does, in place of all that it did.
    #[schema(value_type = Option<Object>)]
    pub spec: Patch<RouteSpec>,
}

impl From<ModelName> for RouteChange {
    fn from(model: ModelName) -> Self {
        Self { model: Some(model), ..Self::default() }
    }
}
