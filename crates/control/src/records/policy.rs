//! What operators write beside the pool: policy documents and prompts; and who wrote what.

use super::time_text;
use contracts::policy::Kind;
use contracts::{PolicyName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A policy document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyDocument)]
pub struct Document {
    /// What it is: `plan`, `budget`, `pool`, `cascade`, `cache`, `guardrail` or `experiment`.
    #[schema(value_type = String, example = "plan")]
    pub kind: Kind,
    /// Whose it is; absent when shared by all tenants.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Its name; of a pool the model's.
    #[schema(value_type = String, example = "gold")]
    pub name: PolicyName,
    /// What it says.
    #[schema(value_type = Object)]
    pub spec: Value,
    /// Grows with each change; to be sent in `If-Match`.
    pub revision: u64,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A prompt, without its versions' contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prompt {
    /// Whose it is; absent when shared by all tenants.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Its name.
    #[schema(value_type = String, example = "greeting")]
    pub name: PolicyName,
    /// The versions there are, oldest first.
    pub versions: Vec<u64>,
    /// Labels and the versions they stand on.
    pub labels: BTreeMap<String, u64>,
}

/// A version of a prompt; it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PromptVersion {
    /// Whose it is; absent when shared by all tenants.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The prompt's name.
    #[schema(value_type = String, example = "greeting")]
    pub name: PolicyName,
    /// Its number, from 1.
    pub version: u64,
    /// What it says.
    #[schema(value_type = Object)]
    pub spec: Value,
    /// When it was created.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
}

/// One change, as it was noted in the same transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Grows with each change.
    pub id: u64,
    /// When it was made, by the database's clock.
    #[serde(with = "time_text")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who made it: `cli`, `up`, `system`, or the id of an admin key or a user.
    pub actor: String,
    /// What was done: `create`, `update`, `delete`, `revoke` …
    pub action: String,
    /// To what kind of thing: `tenant`, `key`, `plan` …
    pub kind: String,
    /// Whose it is; absent when it is nobody's.
    pub tenant: Option<String>,
    /// Its name or id.
    pub name: String,
    /// What it was before, without secrets; absent when it was not there.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it is since; absent when it is no longer there.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// Which changes to list. What is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Only those that this actor made.
    pub actor: Option<String>,
    /// Only those of this action.
    pub action: Option<String>,
    /// Only those of this kind of thing.
    pub kind: Option<String>,
    /// Only those of things of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those of the thing of this name.
    pub name: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// Only those with a lesser id: [`AuditPage::next`] of the page before.
    pub cursor: Option<u64>,
    /// At most so many, 1 to 1000; 100 when absent.
    pub limit: Option<u16>,
}

/// Some changes, the latest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The changes.
    pub data: Vec<AuditEntry>,
    /// The cursor of the next page; absent when there is none.
    pub next: Option<u64>,
}
