//! Keys of the admin API.

use super::audit::Change;
use super::repository;
use super::row::{self, insert_failed};
use crate::database::{Tx, failed};
use crate::records::{AdminKey, CreatedAdminKey};
use crate::{ControlError, secrets, validate};
use contracts::Timestamp;
use contracts::policy::KeyHash;
use sqlx::any::AnyRow;

repository! {
    /// Keys of the admin API.
    AdminKeys
}

impl AdminKeys {
    /// Creates an admin key with a fresh secret, which the answer holds and nothing else ever will.
    pub async fn create(&self, name: &str, now: Timestamp) -> Result<CreatedAdminKey, ControlError> {
        validate::display_name("name", name)?;
        let fresh = secrets::generate_admin_key()?;
        let id = format!("adm_{}", secrets::random_hex::<8>()?);
        let key = AdminKey { id, name: name.to_owned(), prefix: fresh.prefix, created_at: now };
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO admin_keys (id, name, hash, prefix, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(key.id.as_str())
        .bind(key.name.as_str())
        .bind(hex::encode(fresh.hash))
        .bind(key.prefix.as_str())
        .bind(now.unix_nanos())
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("admin key", &key.id))?;
        self.db.commit(tx, Change::created("admin key", &key.id, &key)?).await?;
        Ok(CreatedAdminKey { key, secret: fresh.secret })
    }

    /// The admin key of a secret. The look-up is by hash, so its time tells nothing about the secret.
    pub async fn find_by_secret(&self, secret: &str) -> Result<Option<AdminKey>, ControlError> {
        let row = sqlx::query("SELECT * FROM admin_keys WHERE hash = $1")
            .bind(hex::encode(secrets::hash(secret)))
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("look up an admin key"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// All admin keys, oldest first.
    pub async fn list(&self) -> Result<Vec<AdminKey>, ControlError> {
        let rows = sqlx::query("SELECT * FROM admin_keys ORDER BY created_at, id")
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list admin keys"))?;
        rows.iter().map(from_row).collect()
    }

    /// Deletes an admin key.
    pub async fn delete(&self, id: &str) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let row = sqlx::query("SELECT * FROM admin_keys WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(failed("read an admin key"))?;
        let before = from_row(&row.ok_or_else(|| ControlError::not_found("admin key", id))?)?;
        sqlx::query("DELETE FROM admin_keys WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete an admin key"))?;
        self.db.commit(tx, Change::deleted("admin key", id, &before)?).await
    }
}

/// The hash of every admin key's secret, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<KeyHash>, ControlError> {
    let rows = sqlx::query("SELECT id, hash FROM admin_keys").fetch_all(&mut **tx).await;
    let rows = rows.map_err(failed("list admin keys"))?;
    rows.iter()
        .map(|row| {
            let mut hash = KeyHash::default();
            hex::decode_to_slice(row::text(row, "hash")?, &mut hash).map_err(|error| {
                let id = row::text(row, "id").unwrap_or_default();
                ControlError::corrupt("admin key", &id, format!("hash: {error}"))
            })?;
            Ok(hash)
        })
        .collect()
}

fn from_row(row: &AnyRow) -> Result<AdminKey, ControlError> {
    Ok(AdminKey {
        id: row::text(row, "id")?,
        name: row::text(row, "name")?,
        prefix: row::text(row, "prefix")?,
        created_at: row::time(row, "created_at")?,
    })
}
