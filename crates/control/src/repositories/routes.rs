//! Routes: names that clients ask for, of one tenant or shared by all.

use super::audit::Change;
use super::references::{self, Thing};
use super::row::{self, insert_failed};
use super::{models, repository, tenants};
use crate::ControlError;
use crate::database::{Tx, failed};
use crate::records::{NewRoute, Patch, Route, RouteChange};
use contracts::policy::RouteSpec;
use contracts::{ModelName, TenantId, Timestamp};
use serde_json::Value;
use sqlx::any::AnyRow;

/// A route by its owner and name. The casts tell PostgreSQL the parameter's type where it is NULL.
const SELECT_ONE: &str = "SELECT * FROM routes WHERE name = $1
    AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)";

repository! {
    /// Routes.
    Routes
}

impl Routes {
    /// Creates a route.
    pub async fn create(&self, new: NewRoute, now: Timestamp) -> Result<Route, ControlError> {
        let spec = new.spec.unwrap_or_default();
        let route = Route {
            spec: spec_json(&new.name, &spec)?,
            tenant: new.tenant,
            name: new.name,
            model: new.model,
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        if let Some(tenant) = &route.tenant {
            tenants::find(&mut tx, tenant).await?;
        }
        models::find(&mut tx, &route.model).await?;
        references::replace(&mut tx, thing(route.tenant.as_ref(), &route.name), &spec.references()).await?;
        sqlx::query(
            "INSERT INTO routes (tenant_id, name, model, created_at, spec) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(route.tenant.as_ref().map(TenantId::as_str))
        .bind(route.name.as_str())
        .bind(route.model.as_str())
        .bind(now.unix_nanos())
        .bind(route.spec.as_ref().map(ToString::to_string))
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("route", route.name.as_str()))?;
        let change = Change::created("route", &route.name, &route)?.of(route.tenant.as_ref());
        self.db.commit(tx, change).await?;
        Ok(route)
    }

    /// The route `name` of `tenant`, or the shared one.
    pub async fn get(
        &self,
        tenant: Option<&TenantId>,
        name: &ModelName,
    ) -> Result<Option<Route>, ControlError> {
        let row = sqlx::query(SELECT_ONE)
            .bind(name.as_str())
            .bind(tenant.map(TenantId::as_str))
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a route"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// All routes, shared ones first, then by tenant and name.
    pub async fn list(&self) -> Result<Vec<Route>, ControlError> {
        let mut tx = self.db.read().await?;
        all(&mut tx).await
    }

    /// Leads a route to another model, or changes what else it does.
    pub async fn update(
        &self,
        tenant: Option<&TenantId>,
        name: &ModelName,
        change: impl Into<RouteChange>,
    ) -> Result<Route, ControlError> {
        let change = change.into();
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, tenant, name).await?;
        let mut route = before.clone();
        if let Some(model) = change.model {
            models::find(&mut tx, &model).await?;
            route.model = model;
        }
        let spec = match change.spec {
            Patch::Keep => None,
            Patch::Clear => Some(RouteSpec::default()),
            Patch::Set(spec) => Some(spec),
        };
        if let Some(spec) = spec {
            route.spec = spec_json(name, &spec)?;
            references::replace(&mut tx, thing(tenant, name), &spec.references()).await?;
        }
        sqlx::query(
            "UPDATE routes SET model = $3, spec = $4 WHERE name = $1
             AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .bind(route.model.as_str())
        .bind(route.spec.as_ref().map(ToString::to_string))
        .execute(&mut *tx)
        .await
        .map_err(failed("update a route"))?;
        self.db.commit(tx, Change::updated("route", name, &before, &route)?.of(tenant)).await?;
        Ok(route)
    }

    /// Deletes a route that no policy names.
    pub async fn delete(&self, tenant: Option<&TenantId>, name: &ModelName) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, tenant, name).await?;
        references::refuse_if_referred(&mut tx, thing(tenant, name), None).await?;
        references::forget(&mut tx, thing(tenant, name)).await?;
        sqlx::query(
            "DELETE FROM routes WHERE name = $1
             AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .execute(&mut *tx)
        .await
        .map_err(failed("delete a route"))?;
        self.db.commit(tx, Change::deleted("route", name, &before)?.of(tenant)).await
    }
}

/// All routes, shared ones first, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Route>, ControlError> {
    let rows = sqlx::query("SELECT * FROM routes ORDER BY COALESCE(tenant_id, ''), name")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list routes"))?;
    rows.iter().map(from_row).collect()
}

fn thing<'a>(tenant: Option<&'a TenantId>, name: &'a ModelName) -> Thing<'a> {
    Thing { kind: "route", tenant, name: name.as_str() }
}

/// What else a route does, as it is stored: nothing when it says nothing.
fn spec_json(name: &ModelName, spec: &RouteSpec) -> Result<Option<Value>, ControlError> {
    spec.validate().map_err(|invalid| ControlError::policy("route", name, invalid.within("spec")))?;
    if *spec == RouteSpec::default() {
        return Ok(None);
    }
    serde_json::to_value(spec).map(Some).map_err(|error| ControlError::corrupt("route", name, error))
}

async fn find(tx: &mut Tx, tenant: Option<&TenantId>, name: &ModelName) -> Result<Route, ControlError> {
    let row = sqlx::query(SELECT_ONE)
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a route"))?;
    row.as_ref().map(from_row).transpose()?.ok_or_else(|| ControlError::not_found("route", name))
}

fn from_row(row: &AnyRow) -> Result<Route, ControlError> {
    Ok(Route {
        tenant: row::optional_parsed(row, "route", "tenant_id")?,
        name: row::parsed(row, "route", "name")?,
        model: row::parsed(row, "route", "model")?,
        spec: row::optional_json(row, "spec")?,
        created_at: row::time(row, "created_at")?,
    })
}
