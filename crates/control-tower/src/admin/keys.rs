//! `control-tower key …`.

use super::output::{deleted, list, one, show};
use super::when::When;
use super::{Work, when};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::{KeyId, ModelName, PolicyName, TenantId, Timestamp};
use control::records::{ApiKey, ApiKeyChange, CreatedKey, NewApiKey, Patch};

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List keys, revoked and expired ones too.
    List {
        /// Only those of this tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Show one key.
    Show {
        /// Its id, key_….
        id: KeyId,
    },
    /// Create a key. Its secret is shown this once.
    Create(Create),
    /// Change a key; what is not named stays.
    Update(Update),
    /// Revoke a key for good.
    Revoke {
        /// Its id, key_….
        id: KeyId,
    },
    /// Delete a key. Prefer to revoke it: whoever still uses it is then told so.
    Delete {
        /// Its id, key_….
        id: KeyId,
    },
}

/// `control-tower key create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whose key it is.
    #[arg(long)]
    tenant: TenantId,
    /// Name for people.
    #[arg(long, default_value = "")]
    name: String,
    /// A model or route that the key may ask for; may be repeated. All when absent.
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<ModelName>,
    /// When it stops working: 90d, 2026-01-31 or 2026-01-31T12:00:00Z. Never when absent.
    #[arg(long, value_name = "WHEN")]
    expires: Option<When>,
    /// Its plan, beside that of its tenant.
    #[arg(long)]
    plan: Option<PolicyName>,
    /// A guardrail of its calls, after those of their route; may be repeated.
    #[arg(long = "guardrail", value_name = "NAME")]
    guardrails: Vec<PolicyName>,
}

/// `control-tower key update`.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its id, key_….
    id: KeyId,
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// A model or route that the key may ask for; may be repeated, replaces the list.
    #[arg(long = "model", value_name = "NAME", conflicts_with = "all_models")]
    models: Vec<ModelName>,
    /// Let it ask for everything.
    #[arg(long)]
    all_models: bool,
    /// When it stops working.
    #[arg(long, value_name = "WHEN", conflicts_with = "never_expires")]
    expires: Option<When>,
    /// Let it work for ever.
    #[arg(long)]
    never_expires: bool,
    /// Its plan, beside that of its tenant.
    #[arg(long, conflicts_with = "no_plan")]
    plan: Option<PolicyName>,
    /// Set it no limit of its own.
    #[arg(long)]
    no_plan: bool,
    /// A guardrail of its calls, after those of their route; may be repeated, replaces the list.
    #[arg(long = "guardrail", value_name = "NAME", conflicts_with = "no_guardrails")]
    guardrails: Vec<PolicyName>,
    /// Leave it to the guardrails of routes alone.
    #[arg(long)]
    no_guardrails: bool,
}

pub(super) async fn run(command: KeyCommand, work: Work) -> anyhow::Result<()> {
    let keys = work.control.keys();
    match command {
        KeyCommand::List { tenant } => {
            let heading = ["id", "tenant", "name", "prefix", "state", "expires", "models"];
            let found = keys.list(tenant.as_ref()).await?;
            list(work.json, &found, heading, |key| cells(key, work.now))
        }
        KeyCommand::Show { id } => {
            let key = keys.get(&id).await?.with_context(|| format!("key {id:?} does not exist"))?;
            show(work.json, &key)
        }
        KeyCommand::Create(args) => {
            let new = NewApiKey {
                tenant: args.tenant,
                name: args.name,
                allowed_models: (!args.models.is_empty()).then_some(args.models),
                expires_at: args.expires.map(|when| when.resolve(work.now)),
                plan: args.plan,
                guardrails: (!args.guardrails.is_empty()).then_some(args.guardrails),
            };
            one(work.json, &keys.create(new, work.now).await?, created)
        }
        KeyCommand::Update(args) => {
            let change = ApiKeyChange {
                name: args.name,
                allowed_models: patch(args.all_models, (!args.models.is_empty()).then_some(args.models)),
                expires_at: patch(args.never_expires, args.expires.map(|when| when.resolve(work.now))),
                plan: patch(args.no_plan, args.plan),
                guardrails: patch(
                    args.no_guardrails,
                    (!args.guardrails.is_empty()).then_some(args.guardrails),
                ),
            };
            let key = keys.update(&args.id, change, work.now).await?;
            one(work.json, &key, |key| format!("changed key {}", key.id))
        }
        KeyCommand::Revoke { id } => {
            let key = keys.revoke(&id, work.now).await?;
            one(work.json, &key, |key| format!("revoked key {} of {}", key.id, key.tenant))
        }
        KeyCommand::Delete { id } => {
            keys.delete(&id).await?;
            deleted(work.json, "key", id.as_str())
        }
    }
}

/// What a "clear it" flag and a value make of a field.
pub(super) fn patch<T>(clear: bool, value: Option<T>) -> Patch<T> {
    match value {
        Some(value) => Patch::Set(value),
        None if clear => Patch::Clear,
        None => Patch::Keep,
    }
}

fn created(created: &CreatedKey) -> String {
    let key = &created.key;
    let expires =
        key.expires_at.map(|end| format!(", expires {}", when::shown(Some(end)))).unwrap_or_default();
    format!(
        "created key {} of {}{expires}\n\n    {}\n\nThis is its secret. It is shown this once: keep it now.",
        key.id, key.tenant, created.secret
    )
}

fn cells(key: &ApiKey, now: Timestamp) -> [String; 7] {
    let state = match (key.revoked_at, key.is_active(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "active",
        (None, false) => "expired",
    };
    let names: Vec<&str> = key.allowed_models.iter().flatten().map(ModelName::as_str).collect();
    [
        key.id.to_string(),
        key.tenant.to_string(),
        key.name.clone(),
        format!("{}…", key.prefix),
        state.to_owned(),
        when::shown(key.expires_at),
        if key.allowed_models.is_none() { String::from("all") } else { names.join(",") },
    ]
}
