//! What the JSON read API answers and the pages show. Times are milliseconds since the epoch; amounts are decimal strings
//! in USD; tenants, keys and models go by their ids.

use contracts::Usd;
use contracts::outcomes::OutcomeReport;
use contracts::reads::{CallPage, Facets, Overview, Signals, TimeRange};
use serde::{Deserialize, Serialize};

/// Who is signed in and what they may see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct Me {
    /// Sign-in name.
    pub name: String,
    /// Whether they may change things.
    pub admin: bool,
    /// The tenants they see, by name.
    pub tenants: Vec<TenantName>,
    /// Base URL that SDKs are pointed at, such as `http://127.0.0.1:8080/v1`.
    pub gateway_url: String,
}

/// A tenant and its name for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct TenantName {
    /// Id.
    pub id: String,
    /// Name for people.
    pub name: String,
}

/// Answer of `/api/v1/outcomes`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct OutcomesAnswer {
    /// What was read, with relative ranges made absolute.
    pub range: Range,
    /// The figures.
    #[serde(flatten)]
    #[cfg_attr(feature = "ssr", schema(value_type = Object))]
    pub report: OutcomeReport,
}

/// Answer of `/api/v1/signals`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct SignalsAnswer {
    /// What was read, with relative ranges made absolute.
    pub range: Range,
    /// The figures.
    #[serde(flatten)]
    #[cfg_attr(feature = "ssr", schema(value_type = Object))]
    pub signals: Signals,
}

/// Answer of `/api/v1/overview`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct OverviewAnswer {
    /// What was read, with relative ranges made absolute.
    pub range: Range,
    /// The figures.
    #[serde(flatten)]
    #[cfg_attr(feature = "ssr", schema(value_type = Object))]
    pub overview: Overview,
}

/// A half-open range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct Range {
    /// First millisecond inside.
    pub from_ms: i64,
    /// First millisecond after.
    pub to_ms: i64,
}

impl From<TimeRange> for Range {
    fn from(range: TimeRange) -> Self {
        Self { from_ms: range.from_ms, to_ms: range.to_ms }
    }
}

/// Answer of `/api/v1/calls`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct CallsAnswer {
    /// What was read, with relative ranges made absolute.
    pub range: Range,
    /// The rows, newest first.
    #[serde(flatten)]
    #[cfg_attr(feature = "ssr", schema(value_type = Object))]
    pub page: CallPage,
    /// `cursor` of the next page; absent on the last.
    pub next_cursor: Option<String>,
}

/// Answer of `/api/v1/facets`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct FacetsAnswer {
    /// Values seen within the range, most frequent first.
    #[serde(flatten)]
    #[cfg_attr(feature = "ssr", schema(value_type = Object))]
    pub facets: Facets,
    /// Names of the keys that have one, by id.
    pub key_names: Vec<TenantName>,
}

/// Answer of `/api/v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct ModelsAnswer {
    /// Models, by name.
    pub models: Vec<ModelInfo>,
    /// Routes that the viewer's tenants may use, by name.
    pub routes: Vec<RouteInfo>,
}

/// A model that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct ModelInfo {
    /// The name that clients ask for.
    pub name: String,
    /// Where it is served.
    pub provider: String,
    /// The name that the provider knows it by.
    pub upstream_model: String,
    /// Its place in the pool.
    pub tier: String,
    /// USD for a million input tokens at standard rates; absent without a price.
    #[cfg_attr(feature = "ssr", schema(value_type = Option<String>))]
    pub input_per_million: Option<Usd>,
    /// USD for a million output tokens at standard rates; absent without a price.
    #[cfg_attr(feature = "ssr", schema(value_type = Option<String>))]
    pub output_per_million: Option<Usd>,
    /// USD for a million input tokens read from the provider's cache; absent without a price.
    #[cfg_attr(feature = "ssr", schema(value_type = Option<String>))]
    pub cache_read_per_million: Option<Usd>,
}

/// A name that leads to a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct RouteInfo {
    /// Whose route it is; absent for a route that every tenant sees.
    pub tenant: Option<String>,
    /// The name in the request's `model` field.
    pub name: String,
    /// The model that answers.
    pub model: String,
}

/// Answer of `/api/v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct KeysAnswer {
    /// Keys, newest first.
    pub keys: Vec<KeyInfo>,
    /// When this was answered; what is expired is judged by it.
    pub now_ms: i64,
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct KeyInfo {
    /// Public id.
    pub id: String,
    /// Whose key it is.
    pub tenant: String,
    /// Name for people.
    pub name: String,
    /// First characters of the secret.
    pub prefix: String,
    /// Names the key may ask for; absent allows all.
    pub allowed_models: Option<Vec<String>>,
    /// Its plan, beside that of its tenant.
    pub plan: Option<String>,
    /// What may go in and come out of its calls, beside the guardrails of their routes.
    pub guardrails: Vec<String>,
    /// When it was created.
    pub created_ms: i64,
    /// When it stops working.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

/// A key to create.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Whose key it is.
    pub tenant: String,
    /// Name for people.
    pub name: String,
    /// Days until it stops working; never when absent.
    #[serde(default)]
    pub expires_in_days: Option<u32>,
    /// Names the key may ask for; absent allows all.
    #[serde(default)]
    pub allowed_models: Option<Vec<String>>,
}

/// A key just created.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "ssr", derive(utoipa::ToSchema))]
pub struct KeyCreated {
    /// The key.
    pub key: KeyInfo,
    /// Its secret, shown this once.
    pub secret: String,
}
