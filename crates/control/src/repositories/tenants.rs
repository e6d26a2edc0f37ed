//! Tenants.

use super::audit::Change;
use super::references::{self, Thing};
use super::repository;
use super::row::{self, count, insert_failed, refuse_if_used};
use crate::database::{Tx, failed};
use crate::records::{NewTenant, Tenant, TenantChange};
use crate::{ControlError, validate};
use contracts::policy::{Kind, Reference};
use contracts::{OrganisationId, PolicyName, TenantId, Timestamp};
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
            organisation: new.organisation,
            plan: new.plan,
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO tenants (id, name, retention_days, capture_content, disabled_at, created_at, organisation, plan)
             VALUES ($1, $2, $3, $4, NULL, $5, $6, $7)",
        )
        .bind(tenant.id.as_str())
        .bind(tenant.name.as_str())
        .bind(i64::from(tenant.retention_days))
        .bind(i64::from(tenant.capture_content))
        .bind(now.unix_nanos())
        .bind(tenant.organisation.as_ref().map(OrganisationId::as_str))
        .bind(tenant.plan.as_ref().map(PolicyName::as_str))
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("tenant", tenant.id.as_str()))?;
        note_plan(&mut tx, &tenant).await?;
        let change = Change::created("tenant", &tenant.id, &tenant)?.of(Some(&tenant.id));
        self.db.commit(tx, change).await?;
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
        let before = find(&mut tx, id).await?;
        let mut tenant = before.clone();
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
        change.organisation.apply(&mut tenant.organisation);
        change.plan.apply(&mut tenant.plan);
        note_plan(&mut tx, &tenant).await?;
        sqlx::query(
            "UPDATE tenants SET name = $1, retention_days = $2, capture_content = $3, disabled_at = $4,
                 organisation = $6, plan = $7 WHERE id = $5",
        )
        .bind(tenant.name.as_str())
        .bind(i64::from(tenant.retention_days))
        .bind(i64::from(tenant.capture_content))
        .bind(row::nanos(tenant.disabled_at))
        .bind(id.as_str())
        .bind(tenant.organisation.as_ref().map(OrganisationId::as_str))
        .bind(tenant.plan.as_ref().map(PolicyName::as_str))
        .execute(&mut *tx)
        .await
        .map_err(failed("update a tenant"))?;
        self.db.commit(tx, Change::updated("tenant", id, &before, &tenant)?.of(Some(id))).await?;
        Ok(tenant)
    }

    /// Deletes a tenant that has no keys, routes, users or policy of its own any more, and that no policy names. Its telemetry stays until its time is over.
    pub async fn delete(&self, id: &TenantId) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let name = id.as_str();
        let keys = count(&mut tx, "SELECT count(*) FROM api_keys WHERE tenant_id = $1", name).await?;
        let routes = count(&mut tx, "SELECT count(*) FROM routes WHERE tenant_id = $1", name).await?;
        let users = count(&mut tx, "SELECT count(*) FROM user_tenants WHERE tenant_id = $1", name).await?;
        let documents = count(&mut tx, "SELECT count(*) FROM documents WHERE tenant_id = $1", name).await?;
        let prompts = "SELECT count(DISTINCT name) FROM prompts WHERE tenant_id = $1 AND deleted_at IS NULL";
        let prompts = count(&mut tx, prompts, name).await?;
        let used = [
            (keys, "key"),
            (routes, "route"),
            (users, "user"),
            (documents, "policy document"),
            (prompts, "prompt"),
        ];
        refuse_if_used("tenant", name, &used)?;
        references::refuse_if_referred(&mut tx, thing(id), None).await?;
        references::forget(&mut tx, Thing { tenant: Some(id), ..thing(id) }).await?;
        // What is left of prompts that were deleted.
        sqlx::query("DELETE FROM prompts WHERE tenant_id = $1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a tenant's prompts"))?;
        sqlx::query("DELETE FROM tenants WHERE id = $1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a tenant"))?;
        self.db.commit(tx, Change::deleted("tenant", id, &before)?.of(Some(id))).await
    }
}

fn thing(id: &TenantId) -> Thing<'_> {
    Thing { kind: "tenant", tenant: None, name: id.as_str() }
}

/// Notes that a tenant needs its plan, which must exist.
async fn note_plan(tx: &mut Tx, tenant: &Tenant) -> Result<(), ControlError> {
    let plan = tenant.plan.clone().map(|name| Reference::Document(Kind::Plan, name));
    let from = Thing { tenant: Some(&tenant.id), ..thing(&tenant.id) };
    references::replace(tx, from, plan.as_slice()).await
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
        organisation: row::optional_parsed(row, "tenant", "organisation")?,
        plan: row::optional_parsed(row, "tenant", "plan")?,
        created_at: row::time(row, "created_at")?,
        id,
    })
}
