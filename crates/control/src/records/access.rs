//! Who may come in: API keys of tenants, admin keys, users of the console and their sessions.

use super::{Patch, time_text};
use contracts::{KeyId, ModelName, PolicyName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    /// Public id, `key_…`.
    #[schema(value_type = String, example = "key_5f1c0e8a9b7d4c32")]
    pub id: KeyId,
    /// Whose key it is.
    #[schema(value_type = String, example = "acme")]
    pub tenant: TenantId,
    /// Name for people.
    pub name: String,
    /// First characters of the secret, to recognise it.
    pub prefix: String,
    /// Names the key may ask for (models and routes); absent allows all.
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Option<Vec<ModelName>>,
    /// When it stops working.
    #[serde(with = "time_text::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(with = "time_text::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Its plan, beside that of its tenant; absent when there is no limit.
    #[schema(value_type = Option<String>)]
    pub plan: Option<PolicyName>,
    /// What may go in and come out of its calls, after the guardrails of their route; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub guardrails: Option<Vec<PolicyName>>,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl ApiKey {
    /// Whether it works at `now`, as far as the key itself is concerned (its tenant may be disabled).
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// An API key to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// Whose key it is; must exist.
    #[schema(value_type = String, example = "acme")]
    pub tenant: TenantId,
    /// Name for people; empty when absent.
    #[serde(default)]
    pub name: String,
    /// Names the key may ask for; absent allows all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Option<Vec<ModelName>>,
    /// When it stops working; never when absent.
    #[serde(default, with = "time_text::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Its plan, which must exist, of the tenant or shared; no limit when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub plan: Option<PolicyName>,
    /// Guardrails, which must exist, of the tenant or shared; none when absent.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub guardrails: Option<Vec<PolicyName>>,
}

impl NewApiKey {
    /// A key that allows every model and never expires.
    pub fn new(tenant: TenantId, name: impl Into<String>) -> Self {
        Self {
            tenant,
            name: name.into(),
            allowed_models: None,
            expires_at: None,
            plan: None,
            guardrails: None,
        }
    }
}

/// A key just created: the only moment at which its secret is known.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// Its secret, shown this once.
    pub secret: String,
}

impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What to change about a key; absent fields stay, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeyChange {
    /// Name for people.
    pub name: Option<String>,
    /// Names the key may ask for; `null` allows all.
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Patch<Vec<ModelName>>,
    /// When it stops working; `null` for never.
    #[serde(deserialize_with = "time_text::option::patch")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Patch<Timestamp>,
    /// Its plan; must exist.
    #[schema(value_type = Option<String>)]
    pub plan: Patch<PolicyName>,
    /// Guardrails; must exist. `null` for none.
    #[schema(value_type = Option<Vec<String>>)]
    pub guardrails: Patch<Vec<PolicyName>>,
}

/// An admin key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminKey {
    /// Public id, `adm_…`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// First characters of the secret.
    pub prefix: String,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// An admin key just created.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedAdminKey {
    /// The key.
    pub key: AdminKey,
    /// Its secret, shown this once.
    pub secret: String,
}

impl fmt::Debug for CreatedAdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedAdminKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and changes everything that its tenants allow.
    Admin,
    /// Sees.
    Viewer,
}

impl Role {
    /// `admin` or `viewer`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "admin" => Ok(Self::Admin),
            "viewer" => Ok(Self::Viewer),
            other => Err(format!("role {other:?} is not valid: expected admin or viewer")),
        }
    }
}

/// A user of the console, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Public id, `usr_…`.
    pub id: String,
    /// Sign-in name: a short name or an e-mail address, lower case.
    pub username: String,
    /// What it may do.
    pub role: Role,
    /// The tenants it sees, sorted; absent for all.
    #[schema(value_type = Option<Vec<String>>)]
    pub tenants: Option<Vec<TenantId>>,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A user to create.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Sign-in name: 1 to 128 characters of `A-Z a-z 0-9 . _ @ + -`; compared in lower case.
    pub username: String,
    /// Password, 8 to 1024 bytes.
    pub password: String,
    /// What it may do.
    pub role: Role,
    /// The tenants it sees; absent for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub tenants: Option<Vec<TenantId>>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What to change about a user; absent fields stay. A new password ends all of the user's sessions.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserChange {
    /// New password.
    pub password: Option<String>,
    /// What it may do.
    pub role: Option<Role>,
    /// The tenants it sees; `null` for all.
    #[schema(value_type = Option<Vec<String>>)]
    pub tenants: Patch<Vec<TenantId>>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange")
            .field("role", &self.role)
            .field("tenants", &self.tenants)
            .finish_non_exhaustive()
    }
}

/// A session of a user, without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose session it is.
    pub user: User,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A session just opened: its token goes into the cookie and is stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedSession {
    /// 256 random bits in hex, with a mark in front.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl fmt::Debug for CreatedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedSession").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
