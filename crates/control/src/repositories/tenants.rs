//! Tenants.

use super::repository;
use super::row::{self, count, insert_failed, refuse_if_used};
use crate::database::{Tx, commit, failed};
use crate::records::{NewTenant, Tenant, TenantChange};
use crate::{ControlError, validate};
use contracts::{TenantId, Timestamp};
use sqlx::any::AnyRow;

repository! {
    /// Tenants.
    Tenants
}

impl Tenants {
    /// Creates a tenant.
    pub async fn create(&self, new: NewTenant, now: Timestamp) -> Result<Tenant, ControlError> {
        let name = new.name.unwrap_or_else(|| new.id.to_string());
        validate::display_name("name", &name)?;
        validate::retention_days(new.retention_days)?;
        let tenant = Tenant {
            id: new.id,
            name,
            retention_days: new.retention_days,
            capture_content: new.capture_content,
            disabled_at: None,
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO tenants (id, name, retention_days, capture_content, disabled_at, created_at)
             VALUES ($1, $2, $3, $4, NULL, $5)",
        )
        .bind(tenant.id.as_str())
        .bind(tenant.name.as_str())
        .bind(i64::from(tenant.retention_days))
        .bind(i64::from(tenant.capture_content))
        .bind(now.unix_nanos())
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("tenant", tenant.id.as_str()))?;
        commit(tx).await?;
        Ok(tenant)
    }

    /// One tenant.
    pub async fn get(&self, id: &TenantId) -> Result<Option<Tenant>, ControlError> {
        let row = sqlx::query("SELECT * FROM tenants WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a tenant"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// All tenants, by id.
    pub async fn list(&self) -> Result<Vec<Tenant>, ControlError> {
        let mut tx = self.db.read().await?;
        all(&mut tx).await
    }

    /// Changes a tenant.
    pub async fn update(
        &self,
        id: &TenantId,
        change: TenantChange,
        now: Timestamp,
    ) -> Result<Tenant, ControlError> {
        let mut tx = self.db.write().await?;
        let mut tenant = find(&mut tx, id).await?;
        if let Some(name) = change.name {
            validate::display_name("name", &name)?;
            tenant.name = name;
        }
        if let Some(days) = change.retention_days {
            validate::retention_days(days)?;
            tenant.retention_days = days;
        }
        if let Some(capture) = change.capture_content {
            tenant.capture_content = capture;
        }
        match change.disabled {
            Some(true) => tenant.disabled_at = tenant.disabled_at.or(Some(now)),
            Some(false) => tenant.disabled_at = None,
            None => {}
        }
        sqlx::query(
            "UPDATE tenants SET name = $1, retention_days = $2, capture_content = $3, disabled_at = $4 WHERE id = $5",
        )
        .bind(tenant.name.as_str())
        .bind(i64::from(tenant.retention_days))
        .bind(i64::from(tenant.capture_content))
        .bind(row::nanos(tenant.disabled_at))
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(failed("update a tenant"))?;
        commit(tx).await?;
        Ok(tenant)
    }

    /// Deletes a tenant that has no keys, routes or users any more. Its telemetry stays until its time is over.
    pub async fn delete(&self, id: &TenantId) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        find(&mut tx, id).await?;
        let name = id.as_str();
        let keys = count(&mut tx, "SELECT count(*) FROM api_keys WHERE tenant_id = $1", name).await?;
        let routes = count(&mut tx, "SELECT count(*) FROM routes WHERE tenant_id = $1", name).await?;
        let users = count(&mut tx, "SELECT count(*) FROM user_tenants WHERE tenant_id = $1", name).await?;
        refuse_if_used("tenant", name, &[(keys, "key"), (routes, "route"), (users, "user")])?;
        sqlx::query("DELETE FROM tenants WHERE id = $1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a tenant"))?;
        commit(tx).await
    }
}

/// All tenants, by id, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Tenant>, ControlError> {
    let rows = sqlx::query("SELECT * FROM tenants ORDER BY id")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list tenants"))?;
    rows.iter().map(from_row).collect()
}

/// The tenant, which must exist.
pub(super) async fn find(tx: &mut Tx, id: &TenantId) -> Result<Tenant, ControlError> {
    let row = sqlx::query("SELECT * FROM tenants WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a tenant"))?;
    row.as_ref().map(from_row).transpose()?.ok_or_else(|| ControlError::not_found("tenant", id))
}

fn from_row(row: &AnyRow) -> Result<Tenant, ControlError> {
    let id: TenantId = row::parsed(row, "tenant", "id")?;
    let days = row::integer(row, "retention_days")?;
    Ok(Tenant {
        name: row::text(row, "name")?,
        retention_days: u16::try_from(days).map_err(|error| ControlError::corrupt("tenant", &id, error))?,
        capture_content: row::integer(row, "capture_content")? != 0,
        disabled_at: row::optional_time(row, "disabled_at")?,
        created_at: row::time(row, "created_at")?,
        id,
    })
}
