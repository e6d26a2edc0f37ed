//! API keys of tenants.

use super::audit::Change;
use super::references::{self, Thing};
use super::row::{self, insert_failed};
use super::{repository, tenants};
use crate::database::{Tx, failed};
use crate::records::{ApiKey, ApiKeyChange, CreatedKey, NewApiKey};
use crate::{ControlError, secrets, validate};
use contracts::policy::{KeyHash, Kind, Reference};
use contracts::{KeyId, ModelName, PolicyName, TenantId, Timestamp};
use sqlx::any::AnyRow;

/// More names than this in an allow-list are a mistake.
const MAX_ALLOWED_MODELS: usize = 1000;
/// Guardrails of a key.
const MAX_GUARDRAILS: usize = 16;

repository! {
    /// API keys.
    ApiKeys
}

impl ApiKeys {
    /// Creates a key with a fresh secret, which the answer holds and nothing else ever will.
    pub async fn create(&self, new: NewApiKey, now: Timestamp) -> Result<CreatedKey, ControlError> {
        validate::display_name("name", &new.name)?;
        check_allowed(new.allowed_models.as_deref())?;
        check_guardrails(new.guardrails.as_deref())?;
        check_expiry(new.expires_at, now)?;
        let id = format!("key_{}", secrets::random_hex::<8>()?);
        let fresh = secrets::generate_key()?;
        let key = ApiKey {
            id: id.parse().map_err(|error| ControlError::corrupt("key", &id, error))?,
            tenant: new.tenant,
            name: new.name,
            prefix: fresh.prefix,
            allowed_models: new.allowed_models,
            expires_at: new.expires_at,
            revoked_at: None,
            plan: new.plan,
            guardrails: new.guardrails,
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        tenants::find(&mut tx, &key.tenant).await?;
        sqlx::query(
            "INSERT INTO api_keys (id, tenant_id, name, hash, prefix, allowed_models, expires_at, revoked_at, created_at, plan, guardrails)
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, $9, $10)",
        )
        .bind(key.id.as_str())
        .bind(key.tenant.as_str())
        .bind(key.name.as_str())
        .bind(hex::encode(fresh.hash))
        .bind(key.prefix.as_str())
        .bind(allowed_json(&key)?)
        .bind(row::nanos(key.expires_at))
        .bind(now.unix_nanos())
        .bind(key.plan.as_ref().map(PolicyName::as_str))
        .bind(guardrails_json(&key)?)
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("key", key.id.as_str()))?;
        note_policies(&mut tx, &key).await?;
        let change = Change::created("key", &key.id, &key)?.of(Some(&key.tenant));
        self.db.commit(tx, change).await?;
        Ok(CreatedKey { key, secret: fresh.secret })
    }

    /// One key.
    pub async fn get(&self, id: &KeyId) -> Result<Option<ApiKey>, ControlError> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a key"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// The key of a secret, revoked and expired ones too.
    pub async fn find_by_secret(&self, secret: &str) -> Result<Option<ApiKey>, ControlError> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE hash = $1")
            .bind(hex::encode(secrets::hash(secret)))
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("look up a key"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// The keys of one tenant or of all, oldest first.
    pub async fn list(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiKey>, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM api_keys WHERE CAST($1 AS TEXT) IS NULL OR tenant_id = $1 ORDER BY created_at, id",
        )
        .bind(tenant.map(TenantId::as_str))
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list keys"))?;
        rows.iter().map(from_row).collect()
    }

    /// Changes a key.
    pub async fn update(
        &self,
        id: &KeyId,
        change: ApiKeyChange,
        now: Timestamp,
    ) -> Result<ApiKey, ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let mut key = before.clone();
        if let Some(name) = change.name {
            validate::display_name("name", &name)?;
            key.name = name;
        }
        check_allowed(change.allowed_models.value().map(Vec::as_slice))?;
        change.allowed_models.apply(&mut key.allowed_models);
        check_expiry(change.expires_at.value().copied(), now)?;
        change.expires_at.apply(&mut key.expires_at);
        change.plan.apply(&mut key.plan);
        check_guardrails(change.guardrails.value().map(Vec::as_slice))?;
        change.guardrails.apply(&mut key.guardrails);
        note_policies(&mut tx, &key).await?;
        sqlx::query(
            "UPDATE api_keys SET name = $1, allowed_models = $2, expires_at = $3, plan = $5, guardrails = $6 WHERE id = $4",
        )
        .bind(key.name.as_str())
        .bind(allowed_json(&key)?)
        .bind(row::nanos(key.expires_at))
        .bind(id.as_str())
        .bind(key.plan.as_ref().map(PolicyName::as_str))
        .bind(guardrails_json(&key)?)
        .execute(&mut *tx)
        .await
        .map_err(failed("update a key"))?;
        self.db.commit(tx, Change::updated("key", id, &before, &key)?.of(Some(&key.tenant))).await?;
        Ok(key)
    }

    /// Revokes a key for good. Doing it again changes nothing.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<ApiKey, ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let mut key = before.clone();
        if key.revoked_at.is_some() {
            return Ok(key);
        }
        key.revoked_at = Some(now);
        sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = $2")
            .bind(now.unix_nanos())
            .bind(id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed("revoke a key"))?;
        let change = Change::updated("key", id, &before, &key)?.of(Some(&key.tenant));
        self.db.commit(tx, change.under("revoke")).await?;
        Ok(key)
    }

    /// Deletes a key that no policy names. Whoever still uses it is then told "unknown" instead of "revoked".
    pub async fn delete(&self, id: &KeyId) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let thing = Thing { kind: "key", tenant: None, name: id.as_str() };
        references::refuse_if_referred(&mut tx, thing, None).await?;
        references::forget(&mut tx, Thing { tenant: Some(&before.tenant), ..thing }).await?;
        sqlx::query("DELETE FROM api_keys WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a key"))?;
        self.db.commit(tx, Change::deleted("key", id, &before)?.of(Some(&before.tenant))).await
    }
}

/// Notes that a key needs its plan and its guardrails, which must exist.
async fn note_policies(tx: &mut Tx, key: &ApiKey) -> Result<(), ControlError> {
    let document = |kind| move |name: &PolicyName| Reference::Document(kind, name.clone());
    let mut needed: Vec<Reference> = key.plan.as_ref().map(document(Kind::Plan)).into_iter().collect();
    needed.extend(key.guardrails.iter().flatten().map(document(Kind::Guardrail)));
    let from = Thing { kind: "key", tenant: Some(&key.tenant), name: key.id.as_str() };
    references::replace(tx, from, &needed).await
}

/// Every key with the hash of its secret, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<(KeyHash, ApiKey)>, ControlError> {
    let rows =
        sqlx::query("SELECT * FROM api_keys").fetch_all(&mut **tx).await.map_err(failed("list keys"))?;
    rows.iter()
        .map(|row| {
            let key = from_row(row)?;
            let mut hash = KeyHash::default();
            hex::decode_to_slice(row::text(row, "hash")?, &mut hash)
                .map_err(|error| ControlError::corrupt("key", &key.id, format!("hash: {error}")))?;
            Ok((hash, key))
        })
        .collect()
}

async fn find(tx: &mut Tx, id: &KeyId) -> Result<ApiKey, ControlError> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a key"))?;
    row.as_ref().map(from_row).transpose()?.ok_or_else(|| ControlError::not_found("key", id))
}

fn check_allowed(allowed: Option<&[ModelName]>) -> Result<(), ControlError> {
    match allowed {
        Some([]) => {
            Err(ControlError::invalid("allowed_models", "[]", "at least one name, or nothing to allow all"))
        }
        Some(names) if names.len() > MAX_ALLOWED_MODELS => Err(ControlError::invalid(
            "allowed_models",
            &format!("{} names", names.len()),
            format!("at most {MAX_ALLOWED_MODELS} names"),
        )),
        _ => Ok(()),
    }
}

fn check_guardrails(names: Option<&[PolicyName]>) -> Result<(), ControlError> {
    let names = names.unwrap_or_default();
    if names.len() > MAX_GUARDRAILS {
        let expected = format!("at most {MAX_GUARDRAILS} names");
        return Err(ControlError::invalid("guardrails", &format!("{} names", names.len()), expected));
    }
    match names.iter().enumerate().find(|(n, name)| names[..*n].contains(name)) {
        Some((_, name)) => Err(ControlError::invalid("guardrails", name.as_str(), "each guardrail once")),
        None => Ok(()),
    }
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), ControlError> {
    match expires_at {
        Some(end) if end <= now => Err(ControlError::invalid(
            "expires_at",
            &crate::records::render_time(end),
            "a time in the future",
        )),
        _ => Ok(()),
    }
}

fn allowed_json(key: &ApiKey) -> Result<Option<String>, ControlError> {
    let json = key.allowed_models.as_ref().map(serde_json::to_string).transpose();
    json.map_err(|error| ControlError::corrupt("key", &key.id, error))
}

fn guardrails_json(key: &ApiKey) -> Result<Option<String>, ControlError> {
    let names = key.guardrails.as_ref().filter(|names| !names.is_empty());
    let json = names.map(serde_json::to_string).transpose();
    json.map_err(|error| ControlError::corrupt("key", &key.id, error))
}

fn from_row(row: &AnyRow) -> Result<ApiKey, ControlError> {
    let id: KeyId = row::parsed(row, "key", "id")?;
    let allowed = row::optional_text(row, "allowed_models")?;
    let guardrails = row::optional_text(row, "guardrails")?;
    Ok(ApiKey {
        tenant: row::parsed(row, "key", "tenant_id")?,
        name: row::text(row, "name")?,
        prefix: row::text(row, "prefix")?,
        allowed_models: allowed
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|error| ControlError::corrupt("key", &id, format!("allowed_models: {error}")))?,
        expires_at: row::optional_time(row, "expires_at")?,
        revoked_at: row::optional_time(row, "revoked_at")?,
        plan: row::optional_parsed(row, "key", "plan")?,
        guardrails: guardrails
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|error| ControlError::corrupt("key", &id, format!("guardrails: {error}")))?,
        created_at: row::time(row, "created_at")?,
        id,
    })
}
