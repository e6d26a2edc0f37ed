//! Named texts: what the tower must remember and no other table holds.

use super::audit::Change;
use super::{repository, row};
use crate::ControlError;
use crate::database::failed;
use crate::validate;
use serde_json::json;
use std::collections::BTreeMap;

repository! {
    /// Named texts.
    Settings
}

impl Settings {
    /// One setting.
    pub async fn get(&self, name: &str) -> Result<Option<String>, ControlError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a setting"))?;
        row.as_ref().map(|row| row::text(row, "value")).transpose()
    }

    /// All settings.
    pub async fn list(&self) -> Result<BTreeMap<String, String>, ControlError> {
        let rows = sqlx::query("SELECT name, value FROM settings")
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list settings"))?;
        rows.iter().map(|row| Ok((row::text(row, "name")?, row::text(row, "value")?))).collect()
    }

    /// Writes a setting over what there was.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), ControlError> {
        validate::token("name", name)?;
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *tx)
        .await
        .map_err(failed("write a setting"))?;
        // Services keep keys here.
        self.db.commit(tx, Change::created("setting", name, &json!("(hidden)"))?.under("set")).await
    }

    /// Writes a setting unless there is one; returns what holds then. Of several processes that start at once all get the
    /// same value.
    pub async fn get_or_set(&self, name: &str, value: &str) -> Result<String, ControlError> {
        if let Some(existing) = self.get(name).await? {
            return Ok(existing);
        }
        validate::token("name", name)?;
        let mut tx = self.db.write().await?;
        let written =
            sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(name)
                .bind(value)
                .execute(&mut *tx)
                .await
                .map_err(failed("write a setting"))?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *tx)
            .await
            .map_err(failed("read a setting"))?;
        let value = row::text(&row, "value")?;
        if written.rows_affected() > 0 {
            let change = Change::created("setting", name, &json!("(hidden)"))?;
            self.db.commit(tx, change.under("set")).await?;
        }
        Ok(value)
    }

    /// Deletes a setting. Nothing happens when there is none.
    pub async fn delete(&self, name: &str) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let deleted = sqlx::query("DELETE FROM settings WHERE name = $1")
            .bind(name)
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a setting"))?;
        if deleted.rows_affected() == 0 {
            return Ok(());
        }
        self.db.commit(tx, Change::deleted("setting", name, &json!("(hidden)"))?).await
    }
}
