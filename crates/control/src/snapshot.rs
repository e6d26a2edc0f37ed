//! From rows to the policy snapshot that the gateway and the collector hold.

mod kept;
mod policies;
mod routes;

pub(crate) use kept::Kept;

use crate::ControlError;
use crate::database::{Db, version};
use crate::records::{ApiKey, Model, Provider, Route, Tenant};
use crate::repositories::{
    DocumentRow, MeasuredRow, Noted, PromptRow, all_admin_keys, all_documents, all_given, all_keys,
    all_measured, all_models, all_prices, all_prompts, all_providers, all_references, all_routes,
    all_tenants, price_book,
};
use crate::secrets::SecretRef;
use contracts::policy::{self, KeyHash, KeyPolicy, Kind, Snapshot, Speaks, TenantPolicy, Unreadable, shape};
use contracts::{ModelName, PolicyName, ProviderId, TenantId, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// A snapshot and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What in it is not as it should be.
    pub problems: Vec<Problem>,
    /// Whether a credential comes from outside the database, so that it can change without a new version.
    pub has_outside_secrets: bool,
}

/// Something that is not as it should be, and does not keep the rest from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is: `provider`, `plan`, `route` …
    pub kind: String,
    /// Whose it is; absent when shared by all tenants.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: String,
    /// What is wrong, without any secret.
    pub reason: String,
    /// What that means for calls.
    pub effect: Effect,
}

/// What a problem means for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A provider's credential cannot be resolved: calls to it go out without one.
    NoCredential,
    /// A policy cannot be read (a newer version wrote it, or it is damaged): what it governs is refused.
    Closed,
}

impl Effect {
    /// As a sentence's end.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "calls to it go out without a credential",
            Self::Closed => "calls that it governs are refused",
        }
    }
}

/// Rows as read in one transaction.
struct Rows {
    version: u64,
    tenants: Vec<Tenant>,
    keys: Vec<(KeyHash, ApiKey)>,
    admin_keys: Vec<KeyHash>,
    providers: Vec<Provider>,
    models: Vec<Model>,
    routes: Vec<Route>,
    documents: Vec<DocumentRow>,
    prompts: Vec<PromptRow>,
    given: Vec<(TenantId, PolicyName, u64)>,
    references: Vec<Noted>,
    measured: Vec<MeasuredRow>,
    prices: Vec<contracts::price::ModelPrice>,
}

/// Reads and builds a snapshot. Files that hold credentials are read off the async threads.
pub(crate) async fn load(db: &Db) -> Result<Loaded, ControlError> {
    let rows = read(db).await?;
    let kept = db.kept();
    tokio::task::spawn_blocking(move || build(rows, &kept)).await.map_err(|error| ControlError::Database {
        action: "build a snapshot",
        source: sqlx::Error::Io(std::io::Error::other(error)),
    })?
}

async fn read(db: &Db) -> Result<Rows, ControlError> {
    let mut tx = db.read().await?;
    Ok(Rows {
        version: version(&mut tx).await?,
        tenants: all_tenants(&mut tx).await?,
        keys: all_keys(&mut tx).await?,
        admin_keys: all_admin_keys(&mut tx).await?,
        providers: all_providers(&mut tx).await?,
        models: all_models(&mut tx).await?,
        routes: all_routes(&mut tx).await?,
        documents: all_documents(&mut tx).await?,
        prompts: all_prompts(&mut tx).await?,
        given: all_given(&mut tx).await?,
        references: all_references(&mut tx).await?,
        measured: all_measured(&mut tx).await?,
        prices: all_prices(&mut tx).await?,
    })
}

fn build(rows: Rows, kept: &Kept) -> Result<Loaded, ControlError> {
    let has_outside_secrets =
        rows.providers.iter().any(|p| matches!(p.secret, Some(SecretRef::Env(_) | SecretRef::File(_))));
    let mut problems = Vec::new();
    let providers = build_providers(rows.providers, &mut problems);
    let mut policies = policies::build(&rows.documents, &rows.prompts, &rows.references, kept, &mut problems);
    for (tenant, name, version) in &rows.given {
        policies.prompts.give(tenant, name, *version);
    }
    let (shared_routes, tenant_routes) = routes::build(rows.routes, &policies, &mut problems);
    let snapshot = Snapshot {
        version: rows.version,
        keys: build_keys(rows.tenants, rows.keys, &policies)?,
        admin_keys: rows.admin_keys.into_iter().collect(),
        models: build_models(rows.models, &providers)?,
        providers,
        shared_routes,
        tenant_routes,
        prices: Arc::new(price_book(rows.prices)?),
        plans: policies.plans,
        budgets: policies.budgets,
        pools: policies.pools,
        cascades: policies.cascades,
        caches: policies.caches,
        guardrails: policies.guardrails,
        experiments: policies.experiments,
        measured: policies::measured(rows.measured),
        prompts: policies.prompts,
    };
    Ok(Loaded { snapshot, problems, has_outside_secrets })
}

fn build_providers(
    providers: Vec<Provider>,
    problems: &mut Vec<Problem>,
) -> HashMap<ProviderId, Arc<policy::Provider>> {
    let mut built = HashMap::with_capacity(providers.len());
    for provider in providers {
        let secret = match provider.secret.as_ref().map(SecretRef::resolve) {
            None => None,
            Some(Ok(secret)) => Some(secret),
            Some(Err(reason)) => {
                problems.push(Problem {
                    kind: String::from("provider"),
                    tenant: None,
                    name: provider.id.to_string(),
                    reason: reason.to_string(),
                    effect: Effect::NoCredential,
                });
                None
            }
        };
        let speaks = speaks(&provider).map_err(Arc::new);
        problems.extend(speaks.as_ref().err().map(|unreadable| Problem::closed(unreadable)));
        let entry = policy::Provider {
            speaks,
            id: provider.id.clone(),
            base_url: provider.base_url,
            secret,
            price_as: provider.price_as.unwrap_or_else(|| provider.id.to_string()),
        };
        built.insert(provider.id, Arc::new(entry));
    }
    built
}

/// How a provider is spoken to.
fn speaks(provider: &Provider) -> Result<Speaks, Unreadable> {
    let unreadable =
        |reason: String| Unreadable { kind: "provider", tenant: None, name: provider.id.to_string(), reason };
    let protocol = provider.protocol.parse().map_err(unreadable)?;
    let settings = provider.settings.as_ref().map(shape).transpose();
    let settings = settings.map_err(|invalid| unreadable(invalid.within("settings").to_string()))?;
    Ok(Speaks { protocol, settings: settings.unwrap_or_default() })
}

fn build_models(
    models: Vec<Model>,
    providers: &HashMap<ProviderId, Arc<policy::Provider>>,
) -> Result<HashMap<ModelName, Arc<policy::Model>>, ControlError> {
    let built = models.into_iter().map(|model| {
        let provider = providers
            .get(&model.provider)
            .ok_or_else(|| ControlError::corrupt("model", &model.name, "its provider is missing"))?;
        let entry = policy::Model {
            name: model.name.clone(),
            upstream_model: model.upstream_model,
            price_as: model.price_as,
            provider: provider.clone(),
            tier: model.tier,
            created_at: model.created_at,
        };
        Ok((model.name, Arc::new(entry)))
    });
    built.collect()
}

fn build_keys(
    tenants: Vec<Tenant>,
    keys: Vec<(KeyHash, ApiKey)>,
    policies: &policies::Policies,
) -> Result<HashMap<KeyHash, Arc<KeyPolicy>>, ControlError> {
    let plan = |tenant: &TenantId, name: Option<PolicyName>| {
        name.map(|name| policies.plans.need(Kind::Plan, Some(tenant), &name))
    };
    let tenants: HashMap<TenantId, (Arc<TenantPolicy>, Option<Timestamp>)> = tenants
        .into_iter()
        .map(|tenant| {
            let policy = TenantPolicy {
                id: tenant.id.clone(),
                retention_days: tenant.retention_days,
                capture_content: tenant.capture_content,
                organisation: tenant.organisation,
                plan: plan(&tenant.id, tenant.plan),
            };
            (tenant.id, (Arc::new(policy), tenant.disabled_at))
        })
        .collect();
    let built = keys.into_iter().map(|(hash, key)| {
        let (tenant, disabled_at) = tenants
            .get(&key.tenant)
            .ok_or_else(|| ControlError::corrupt("key", &key.id, "its tenant is missing"))?;
        let policy = KeyPolicy {
            plan: plan(&key.tenant, key.plan),
            guardrails: (key.guardrails.iter().flatten())
                .map(|name| policies.guardrails.need(Kind::Guardrail, Some(&key.tenant), name))
                .collect(),
            id: key.id,
            tenant: tenant.clone(),
            allowed_models: key.allowed_models,
            expires_at: key.expires_at,
            // To the gateway a key of a disabled tenant is a revoked key; enabling the tenant brings it back.
            revoked_at: key.revoked_at.or(*disabled_at),
        };
        Ok((hash, Arc::new(policy)))
    });
    built.collect()
}
