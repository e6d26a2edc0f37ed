//! From rows to the policy snapshot that the gateway and the collector hold.

use crate::ControlError;
use crate::database::{Db, failed};
use crate::records::{ApiKey, Model, Provider, Route, Tenant};
use crate::repositories::{
    all_keys, all_models, all_prices, all_providers, all_routes, all_tenants, price_book,
};
use crate::secrets::SecretRef;
use contracts::policy::{self, KeyHash, KeyPolicy, Snapshot, TenantPolicy};
use contracts::{ModelName, ProviderId, TenantId};
use sqlx::Row;
use std::collections::HashMap;
use std::sync::Arc;

/// A snapshot and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Providers that work without the credential they should have.
    pub problems: Vec<Problem>,
    /// Whether a credential comes from outside the database, so that it can change without a new version.
    pub has_outside_secrets: bool,
}

/// A provider whose credential cannot be resolved. Calls to it go out without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which provider.
    pub provider: ProviderId,
    /// Why, without any secret.
    pub reason: String,
}

/// Rows as read in one transaction.
struct Rows {
    version: u64,
    tenants: Vec<Tenant>,
    keys: Vec<(KeyHash, ApiKey)>,
    providers: Vec<Provider>,
    models: Vec<Model>,
    routes: Vec<Route>,
    prices: Vec<contracts::price::ModelPrice>,
}

/// Reads and builds a snapshot. Files that hold credentials are read off the async threads.
pub(crate) async fn load(db: &Db) -> Result<Loaded, ControlError> {
    let rows = read(db).await?;
    tokio::task::spawn_blocking(move || build(rows)).await.map_err(|error| ControlError::Database {
        action: "build a snapshot",
        source: sqlx::Error::Io(std::io::Error::other(error)),
    })?
}

async fn read(db: &Db) -> Result<Rows, ControlError> {
    let mut tx = db.read().await?;
    let version = sqlx::query("SELECT version FROM control_version WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failed("read the version"))?;
    let version: i64 = version.try_get(0).map_err(failed("read the version"))?;
    Ok(Rows {
        version: version.unsigned_abs(),
        tenants: all_tenants(&mut tx).await?,
        keys: all_keys(&mut tx).await?,
        providers: all_providers(&mut tx).await?,
        models: all_models(&mut tx).await?,
        routes: all_routes(&mut tx).await?,
        prices: all_prices(&mut tx).await?,
    })
}

fn build(rows: Rows) -> Result<Loaded, ControlError> {
    let has_outside_secrets =
        rows.providers.iter().any(|p| matches!(p.secret, Some(SecretRef::Env(_) | SecretRef::File(_))));
    let mut problems = Vec::new();
    let providers = build_providers(rows.providers, &mut problems);
    let (shared_routes, tenant_routes) = build_routes(rows.routes);
    let snapshot = Snapshot {
        version: rows.version,
        keys: build_keys(rows.tenants, rows.keys)?,
        models: build_models(rows.models, &providers)?,
        shared_routes,
        tenant_routes,
        prices: Arc::new(price_book(rows.prices)?),
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
                problems.push(Problem { provider: provider.id.clone(), reason: reason.to_string() });
                None
            }
        };
        let entry = policy::Provider {
            id: provider.id.clone(),
            base_url: provider.base_url,
            secret,
            price_as: provider.price_as.unwrap_or_else(|| provider.id.to_string()),
        };
        built.insert(provider.id, Arc::new(entry));
    }
    built
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
            provider: provider.clone(),
            tier: model.tier,
            created_at: model.created_at,
        };
        Ok((model.name, Arc::new(entry)))
    });
    built.collect()
}

type RoutesByName = HashMap<ModelName, Arc<policy::Route>>;

fn build_routes(routes: Vec<Route>) -> (RoutesByName, HashMap<TenantId, RoutesByName>) {
    let mut shared = RoutesByName::new();
    let mut own: HashMap<TenantId, RoutesByName> = HashMap::new();
    for route in routes {
        let entry = Arc::new(policy::Route { name: route.name.clone(), model: route.model });
        let place = match route.tenant {
            Some(tenant) => own.entry(tenant).or_default(),
            None => &mut shared,
        };
        place.insert(route.name, entry);
    }
    (shared, own)
}

fn build_keys(
    tenants: Vec<Tenant>,
    keys: Vec<(KeyHash, ApiKey)>,
) -> Result<HashMap<KeyHash, Arc<KeyPolicy>>, ControlError> {
    let tenants: HashMap<TenantId, (Arc<TenantPolicy>, Option<contracts::Timestamp>)> = tenants
        .into_iter()
        .map(|tenant| {
            let policy = TenantPolicy {
                id: tenant.id.clone(),
                retention_days: tenant.retention_days,
                capture_content: tenant.capture_content,
            };
            (tenant.id, (Arc::new(policy), tenant.disabled_at))
        })
        .collect();
    let built = keys.into_iter().map(|(hash, key)| {
        let (tenant, disabled_at) = tenants
            .get(&key.tenant)
            .ok_or_else(|| ControlError::corrupt("key", &key.id, "its tenant is missing"))?;
        let policy = KeyPolicy {
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
