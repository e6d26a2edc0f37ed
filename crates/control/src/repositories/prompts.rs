//! Prompts: versions that never change, and labels that move between them.

use super::audit::Change;
use super::references::{self, Thing};
use super::row;
use super::{documents, repository, tenants};
use crate::ControlError;
use crate::database::{Tx, failed};
use crate::records::{Prompt, PromptVersion};
use contracts::policy::{Kind, Selector, label_is_valid};
use contracts::{PolicyName, TenantId, Timestamp};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

const KIND: &str = Kind::Prompt.as_str();

/// The rows of one prompt. The casts tell PostgreSQL the parameter's type where it is NULL.
const SELECT_VERSION: &str = "SELECT * FROM prompts WHERE name = $1 AND version = $3 AND deleted_at IS NULL
    AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)";

/// A version's row, whatever it holds, and the labels that stand on it.
#[derive(Debug)]
pub(crate) struct PromptRow {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: PolicyName,
    pub(crate) version: u64,
    pub(crate) spec: String,
    pub(crate) labels: Vec<String>,
}

repository! {
    /// Prompts.
    Prompts
}

impl Prompts {
    /// Adds a version to a prompt, which is made by its first one.
    pub async fn create(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        spec: Value,
        now: Timestamp,
    ) -> Result<PromptVersion, ControlError> {
        self.create_labelled(tenant, name, spec, None, now).await
    }

    /// The same, with a label put on the version at once: nobody sees the one without the other.
    pub async fn create_labelled(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        spec: Value,
        label: Option<&str>,
        now: Timestamp,
    ) -> Result<PromptVersion, ControlError> {
        if let Some(label) = label {
            label_is_valid(label).map_err(|invalid| ControlError::policy(KIND, name, invalid))?;
        }
        let references = documents::read(&self.db, Kind::Prompt, name, &spec)?;
        let mut tx = self.db.write().await?;
        if let Some(tenant) = tenant {
            tenants::find(&mut tx, tenant).await?;
        }
        // Deleted versions count, and to a tenant the shared ones, which it may call by their numbers: a number never means two things.
        let row = sqlx::query(
            "SELECT COALESCE(MAX(version), 0) + 1 AS next FROM prompts WHERE name = $1
             AND (tenant_id IS NULL OR tenant_id = CAST($2 AS TEXT))",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .fetch_one(&mut *tx)
        .await
        .map_err(failed("number a version"))?;
        let created = PromptVersion {
            tenant: tenant.cloned(),
            name: name.clone(),
            version: row::integer(&row, "next")?.unsigned_abs(),
            spec,
            created_at: now,
            created_by: self.db.actor().to_string(),
        };
        let id = numbered(name, created.version);
        references::replace(&mut tx, Thing { kind: KIND, tenant, name: &id }, &references).await?;
        sqlx::query(
            "INSERT INTO prompts (tenant_id, name, version, spec, created_at, created_by, deleted_at)
             VALUES ($1, $2, $3, $4, $5, $6, NULL)",
        )
        .bind(tenant.map(TenantId::as_str))
        .bind(name.as_str())
        .bind(stored(created.version))
        .bind(row::json_text(KIND, &created.spec)?)
        .bind(now.unix_nanos())
        .bind(created.created_by.as_str())
        .execute(&mut *tx)
        .await
        .map_err(row::insert_failed(KIND, name.as_str()))?;
        let change = Change::created(KIND, id, &created)?.of(tenant);
        match label {
            None => self.db.commit(tx, change).await?,
            Some(label) => {
                self.db.note(&mut tx, change).await?;
                let before = version_of(&mut tx, tenant, name, Selector::Label(label)).await?;
                let change = move_label(&mut tx, tenant, name, label, before, created.version).await?;
                self.db.commit(tx, change).await?;
            }
        }
        Ok(created)
    }

    /// All prompts, or those that `tenant` has of its own. Shared ones first, then by tenant and name.
    pub async fn list(&self, tenant: Option<&TenantId>) -> Result<Vec<Prompt>, ControlError> {
        let mut tx = self.db.read().await?;
        let mut prompts: BTreeMap<(Option<TenantId>, PolicyName), Prompt> = BTreeMap::new();
        for row in all(&mut tx).await? {
            if tenant.is_some() && row.tenant.as_ref() != tenant {
                continue;
            }
            let prompt = prompts.entry((row.tenant.clone(), row.name.clone())).or_insert_with(|| Prompt {
                tenant: row.tenant,
                name: row.name,
                versions: Vec::new(),
                labels: BTreeMap::new(),
            });
            prompt.versions.push(row.version);
            prompt.labels.extend(row.labels.into_iter().map(|label| (label, row.version)));
        }
        Ok(prompts.into_values().collect())
    }

    /// One prompt: of `tenant`, or the shared one when there is no tenant.
    pub async fn get(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
    ) -> Result<Option<Prompt>, ControlError> {
        let prompts = self.list(tenant).await?;
        Ok(prompts.into_iter().find(|prompt| prompt.tenant.as_ref() == tenant && prompt.name == *name))
    }

    /// One version, by its number or a label.
    pub async fn version(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        selector: Selector<'_>,
    ) -> Result<Option<PromptVersion>, ControlError> {
        let mut tx = self.db.read().await?;
        version_of(&mut tx, tenant, name, selector).await
    }

    /// Puts a label on a version, wherever it stood before.
    pub async fn set_label(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        label: &str,
        version: u64,
    ) -> Result<Prompt, ControlError> {
        label_is_valid(label).map_err(|invalid| ControlError::policy(KIND, name, invalid))?;
        let mut tx = self.db.write().await?;
        if version_of(&mut tx, tenant, name, Selector::Version(version)).await?.is_none() {
            return Err(ControlError::not_found(KIND, numbered(name, version)));
        }
        let before = version_of(&mut tx, tenant, name, Selector::Label(label)).await?;
        if before.as_ref().is_none_or(|before| before.version != version) {
            let change = move_label(&mut tx, tenant, name, label, before, version).await?;
            self.db.commit(tx, change).await?;
        }
        self.get(tenant, name).await?.ok_or_else(|| ControlError::not_found(KIND, name))
    }

    /// Takes a label away that nothing refers to.
    pub async fn delete_label(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        label: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let Some(before) = version_of(&mut tx, tenant, name, Selector::Label(label)).await? else {
            return Err(ControlError::not_found("label", label));
        };
        let thing = Thing { kind: KIND, tenant, name: name.as_str() };
        references::refuse_if_referred(&mut tx, thing, Some(&references::stored(Selector::Label(label))))
            .await?;
        delete_label(&mut tx, tenant, name, label).await?;
        let change = Change::deleted(KIND, name, &json!({ label: before.version }))?;
        self.db.commit(tx, change.of(tenant).under("unlabel")).await
    }

    /// Deletes a version that no label stands on and nothing refers to. Its number stays taken.
    pub async fn delete_version(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        version: u64,
        now: Timestamp,
    ) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let id = numbered(name, version);
        let Some(before) = version_of(&mut tx, tenant, name, Selector::Version(version)).await? else {
            return Err(ControlError::not_found(KIND, id));
        };
        let labels = labels(&mut tx).await?;
        let on_it: Vec<String> = labels
            .into_iter()
            .filter(|at| at.tenant.as_ref() == tenant && at.name == *name && at.version == version)
            .map(|at| format!("label {:?}", at.label))
            .collect();
        let thing = Thing { kind: KIND, tenant, name: name.as_str() };
        let part = references::stored(Selector::Version(version));
        let users = references::users(&mut tx, thing, Some(&part)).await?;
        let users: Vec<String> = on_it.into_iter().chain((!users.is_empty()).then_some(users)).collect();
        if !users.is_empty() {
            return Err(ControlError::InUse { kind: KIND, id, users: users.join(", ") });
        }
        references::forget(&mut tx, Thing { kind: KIND, tenant, name: &id }).await?;
        sqlx::query(
            "UPDATE prompts SET deleted_at = $4 WHERE name = $1 AND version = $3
             AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
        )
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .bind(stored(version))
        .bind(now.unix_nanos())
        .execute(&mut *tx)
        .await
        .map_err(failed("delete a version"))?;
        self.db.commit(tx, Change::deleted(KIND, id, &before)?.of(tenant)).await
    }
}

/// Every version, oldest first, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<PromptRow>, ControlError> {
    let rows = sqlx::query(
        "SELECT tenant_id, name, version, spec FROM prompts WHERE deleted_at IS NULL
         ORDER BY COALESCE(tenant_id, ''), name, version",
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(failed("list prompts"))?;
    let mut labels_of: BTreeMap<(Option<TenantId>, PolicyName, u64), Vec<String>> = BTreeMap::new();
    for at in labels(tx).await? {
        labels_of.entry((at.tenant, at.name, at.version)).or_default().push(at.label);
    }
    rows.iter()
        .map(|row| {
            let tenant: Option<TenantId> = row::optional_parsed(row, KIND, "tenant_id")?;
            let name: PolicyName = row::parsed(row, KIND, "name")?;
            let version = row::integer(row, "version")?.unsigned_abs();
            let labels = labels_of.remove(&(tenant.clone(), name.clone(), version)).unwrap_or_default();
            Ok(PromptRow { tenant, name, version, spec: row::text(row, "spec")?, labels })
        })
        .collect()
}

/// Every number that a version of a tenant's own prompt was given, those of deleted versions included.
pub(crate) async fn given(tx: &mut Tx) -> Result<Vec<(TenantId, PolicyName, u64)>, ControlError> {
    let rows = sqlx::query("SELECT tenant_id, name, version FROM prompts WHERE tenant_id IS NOT NULL")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list the numbers of prompts"))?;
    let given = |row: &AnyRow| {
        let version = row::integer(row, "version")?.unsigned_abs();
        Ok((row::parsed(row, KIND, "tenant_id")?, row::parsed(row, KIND, "name")?, version))
    };
    rows.iter().map(given).collect()
}

/// One version of `tenant`'s prompt, or of the shared one when there is no tenant.
pub(super) async fn version_of(
    tx: &mut Tx,
    tenant: Option<&TenantId>,
    name: &PolicyName,
    selector: Selector<'_>,
) -> Result<Option<PromptVersion>, ControlError> {
    let version = match selector {
        Selector::Version(version) => stored(version),
        Selector::Label(label) => {
            let row = sqlx::query(
                "SELECT version FROM prompt_labels WHERE name = $1 AND label = $3
                 AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
            )
            .bind(name.as_str())
            .bind(tenant.map(TenantId::as_str))
            .bind(label)
            .fetch_optional(&mut **tx)
            .await
            .map_err(failed("read a label"))?;
            let Some(row) = row else { return Ok(None) };
            row::integer(&row, "version")?
        }
    };
    let row = sqlx::query(SELECT_VERSION)
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .bind(version)
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a version"))?;
    row.as_ref().map(from_row).transpose()
}

/// Where a label stands.
struct At {
    tenant: Option<TenantId>,
    name: PolicyName,
    label: String,
    version: u64,
}

async fn labels(tx: &mut Tx) -> Result<Vec<At>, ControlError> {
    let rows = sqlx::query("SELECT * FROM prompt_labels ORDER BY name, label")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list labels"))?;
    rows.iter()
        .map(|row| {
            Ok(At {
                tenant: row::optional_parsed(row, KIND, "tenant_id")?,
                name: row::parsed(row, KIND, "name")?,
                label: row::text(row, "label")?,
                version: row::integer(row, "version")?.unsigned_abs(),
            })
        })
        .collect()
}

/// Puts a label, which stood on `before`, on `version`.
async fn move_label(
    tx: &mut Tx,
    tenant: Option<&TenantId>,
    name: &PolicyName,
    label: &str,
    before: Option<PromptVersion>,
    version: u64,
) -> Result<Change, ControlError> {
    delete_label(tx, tenant, name, label).await?;
    sqlx::query("INSERT INTO prompt_labels (tenant_id, name, label, version) VALUES ($1, $2, $3, $4)")
        .bind(tenant.map(TenantId::as_str))
        .bind(name.as_str())
        .bind(label)
        .bind(stored(version))
        .execute(&mut **tx)
        .await
        .map_err(failed("set a label"))?;
    let stood = before.map(|before| before.version);
    let change = Change::updated(KIND, name, &json!({ label: stood }), &json!({ label: version }))?;
    Ok(change.of(tenant).under("label"))
}

async fn delete_label(
    tx: &mut Tx,
    tenant: Option<&TenantId>,
    name: &PolicyName,
    label: &str,
) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM prompt_labels WHERE name = $1 AND label = $3
         AND ((CAST($2 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $2)",
    )
    .bind(name.as_str())
    .bind(tenant.map(TenantId::as_str))
    .bind(label)
    .execute(&mut **tx)
    .await
    .map_err(failed("take a label away"))?;
    Ok(())
}

/// A version as the audit log and errors name it.
fn numbered(name: &PolicyName, version: u64) -> String {
    format!("{name}@{version}")
}

fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

fn from_row(row: &AnyRow) -> Result<PromptVersion, ControlError> {
    Ok(PromptVersion {
        tenant: row::optional_parsed(row, KIND, "tenant_id")?,
        name: row::parsed(row, KIND, "name")?,
        version: row::integer(row, "version")?.unsigned_abs(),
        spec: row::lenient_json(&row::text(row, "spec")?),
        created_at: row::time(row, "created_at")?,
        created_by: row::text(row, "created_by")?,
    })
}
