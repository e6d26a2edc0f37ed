//! Providers: where models are served.

use super::audit::Change;
use super::references::{self, Thing};
use super::repository;
use super::row::{self, count, insert_failed, refuse_if_used};
use crate::database::{Tx, failed};
use crate::records::{NewProvider, Patch, Provider, ProviderChange};
use crate::secrets::SecretRef;
use crate::{ControlError, validate};
use contracts::policy::{InvalidPolicy, Protocol, ProviderSettings, shape};
use contracts::{ProviderId, Timestamp};
use serde_json::Value;
use sqlx::any::AnyRow;

repository! {
    /// Providers.
    Providers
}

impl Providers {
    /// Creates a provider.
    pub async fn create(&self, new: NewProvider, now: Timestamp) -> Result<Provider, ControlError> {
        if let Some(price_as) = &new.price_as {
            validate::token("price_as", price_as)?;
        }
        let provider = Provider {
            base_url: validate::base_url(&new.base_url)?,
            id: new.id,
            secret: new.secret,
            price_as: new.price_as,
            protocol: new.protocol.to_string(),
            settings: settings_json(new.protocol, &new.settings)?,
            created_at: now,
        };
        let mut tx = self.db.write().await?;
        sqlx::query(
            "INSERT INTO providers (id, base_url, secret, price_as, created_at, protocol, settings)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(provider.id.as_str())
        .bind(provider.base_url.as_str())
        .bind(provider.secret.as_ref().map(SecretRef::stored))
        .bind(provider.price_as.as_deref())
        .bind(now.unix_nanos())
        .bind(provider.protocol.as_str())
        .bind(provider.settings.as_ref().map(ToString::to_string))
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("provider", provider.id.as_str()))?;
        self.db.commit(tx, Change::created("provider", &provider.id, &provider)?).await?;
        Ok(provider)
    }

    /// One provider.
    pub async fn get(&self, id: &ProviderId) -> Result<Option<Provider>, ControlError> {
        let row = sqlx::query("SELECT * FROM providers WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a provider"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// All providers, by id.
    pub async fn list(&self) -> Result<Vec<Provider>, ControlError> {
        let mut tx = self.db.read().await?;
        all(&mut tx).await
    }

    /// Changes a provider.
    pub async fn update(&self, id: &ProviderId, change: ProviderChange) -> Result<Provider, ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let mut provider = before.clone();
        if let Some(base_url) = change.base_url {
            provider.base_url = validate::base_url(&base_url)?;
        }
        change.secret.apply(&mut provider.secret);
        if let Some(price_as) = change.price_as.value() {
            validate::token("price_as", price_as)?;
        }
        change.price_as.apply(&mut provider.price_as);
        if change.protocol.is_some() || change.settings != Patch::Keep {
            let protocol = match change.protocol {
                Some(protocol) => protocol,
                None => provider.protocol.parse().map_err(|e| ControlError::corrupt("provider", id, e))?,
            };
            let settings = match change.settings {
                Patch::Set(settings) => settings,
                Patch::Clear => ProviderSettings::default(),
                Patch::Keep => shape(&provider.settings.clone().unwrap_or_else(|| serde_json::json!({})))
                    .map_err(invalid_settings)?,
            };
            provider.protocol = protocol.to_string();
            provider.settings = settings_json(protocol, &settings)?;
        }
        sqlx::query(
            "UPDATE providers SET base_url = $1, secret = $2, price_as = $3, protocol = $5, settings = $6 WHERE id = $4",
        )
            .bind(provider.base_url.as_str())
            .bind(provider.secret.as_ref().map(SecretRef::stored))
            .bind(provider.price_as.as_deref())
            .bind(id.as_str())
            .bind(provider.protocol.as_str())
            .bind(provider.settings.as_ref().map(ToString::to_string))
            .execute(&mut *tx)
            .await
            .map_err(failed("update a provider"))?;
        self.db.commit(tx, Change::updated("provider", id, &before, &provider)?).await?;
        Ok(provider)
    }

    /// Deletes a provider that serves no model and that no policy names any more.
    pub async fn delete(&self, id: &ProviderId) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, id).await?;
        let models =
            count(&mut tx, "SELECT count(*) FROM models WHERE provider_id = $1", id.as_str()).await?;
        refuse_if_used("provider", id.as_str(), &[(models, "model")])?;
        let thing = Thing { kind: "provider", tenant: None, name: id.as_str() };
        references::refuse_if_referred(&mut tx, thing, None).await?;
        sqlx::query("DELETE FROM providers WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a provider"))?;
        self.db.commit(tx, Change::deleted("provider", id, &before)?).await
    }
}

/// All providers, by id, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Provider>, ControlError> {
    let rows = sqlx::query("SELECT * FROM providers ORDER BY id")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list providers"))?;
    rows.iter().map(from_row).collect()
}

/// The provider, which must exist.
pub(super) async fn find(tx: &mut Tx, id: &ProviderId) -> Result<Provider, ControlError> {
    let row = sqlx::query("SELECT * FROM providers WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a provider"))?;
    row.as_ref().map(from_row).transpose()?.ok_or_else(|| ControlError::not_found("provider", id))
}

/// Settings that fit the protocol, as they are stored: nothing when they say nothing.
fn settings_json(protocol: Protocol, settings: &ProviderSettings) -> Result<Option<Value>, ControlError> {
    settings.validate(protocol).map_err(invalid_settings)?;
    if *settings == ProviderSettings::default() {
        return Ok(None);
    }
    serde_json::to_value(settings).map(Some).map_err(|error| ControlError::corrupt("provider", "", error))
}

fn invalid_settings(invalid: InvalidPolicy) -> ControlError {
    ControlError::policy("provider", "settings", invalid.within("settings"))
}

fn from_row(row: &AnyRow) -> Result<Provider, ControlError> {
    let id: ProviderId = row::parsed(row, "provider", "id")?;
    // Not `row::optional_parsed`: its error would repeat a literal secret.
    let secret = row::optional_text(row, "secret")?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| ControlError::corrupt("provider", &id, error))?;
    Ok(Provider {
        base_url: row::text(row, "base_url")?,
        secret,
        price_as: row::optional_text(row, "price_as")?,
        protocol: row::text(row, "protocol")?,
        settings: row::optional_json(row, "settings")?,
        created_at: row::time(row, "created_at")?,
        id,
    })
}
