//! Routes: names that clients ask for, of one tenant or shared by all.

use super::row::{self, insert_failed};
use super::{models, repository, tenants};
use crate::ControlError;
use crate::database::{Tx, commit, failed};
use crate::records::{NewRoute, Route};
use contracts::{ModelName, TenantId, Timestamp};
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
        let route = Route { tenant: new.tenant, name: new.name, model: new.model, created_at: now };
        let mut tx = self.db.write().await?;
        if let Some(tenant) = &route.tenant {
            tenants::find(&mut tx, tenant).await?;
        }
        models::find(&mut tx, &route.model).await?;
        sqlx::query("INSERT INTO routes (tenant_id, name, model, created_at) VALUES ($1, $2, $3, $4)")
            .bind(route.tenant.as_ref().map(TenantId::as_str))
            .bind(route.name.as_str())
            .bind(route.model.as_str())
            .bind(now.unix_nanos())
            .execute(&mut *tx)
            .await
            .map_err(insert_failed("route", route.name.as_str()))?;
        commit(tx).await?;
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

    /// Leads a route to another model.
    pub async fn update(
        &self,
        tenant: Option<&TenantId>,
        name: &ModelName,
        model: ModelName,
    ) -> Result<Route, ControlError> {
        let mut tx = self.db.write().await?;
        let mut route = find(&mut tx, tenant, name).await?;
        models::find(&mut tx, &model).await?;
        route.model = model;
        sqlx::query(
            "UPDATE routes SET model = $3 WHERE name = $1
             AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .bind(route.model.as_str())
        .execute(&mut *tx)
        .await
        .map_err(failed("update a route"))?;
        commit(tx).await?;
        Ok(route)
    }

    /// Deletes a route.
    pub async fn delete(&self, tenant: Option<&TenantId>, name: &ModelName) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        find(&mut tx, tenant, name).await?;
        sqlx::query(
            "DELETE FROM routes WHERE name = $1
             AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .execute(&mut *tx)
        .await
        .map_err(failed("delete a route"))?;
        commit(tx).await
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
        created_at: row::time(row, "created_at")?,
    })
}
