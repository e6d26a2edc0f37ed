//! Models at providers.

use super::audit::Change;
use super::references::{self, Thing};
use super::row::{self, count, insert_failed, refuse_if_used};
use super::{providers, repository};
use crate::database::{Tx, failed};
use crate::records::{Model, ModelChange, NewModel};
use crate::{ControlError, validate};
use contracts::{ModelName, Timestamp};
use sqlx::any::AnyRow;

/// The tier of a model that names none.
const DEFAULT_TIER: &str = "premium";

repository! {
    /// Models.
    Models
}

impl Models {
    /// Creates a model.
    pub async fn create(&self, new: NewModel, now: Timestamp) -> Result<Model, ControlError> {
        let model = Model {
            upstream_model: new.upstream_model.unwrap_or_else(|| new.name.to_string()),
            price_as: new.price_as,
            tier: new.tier.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
            name: new.name,
            provider: new.provider,
            created_at: now,
        };
        check(&model)?;
        let mut tx = self.db.write().await?;
        providers::find(&mut tx, &model.provider).await?;
        sqlx::query(
            "INSERT INTO models (name, provider_id, upstream_model, tier, created_at, price_as)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(model.name.as_str())
        .bind(model.provider.as_str())
        .bind(model.upstream_model.as_str())
        .bind(model.tier.as_str())
        .bind(now.unix_nanos())
        .bind(model.price_as.as_deref())
        .execute(&mut *tx)
        .await
        .map_err(insert_failed("model", model.name.as_str()))?;
        self.db.commit(tx, Change::created("model", &model.name, &model)?).await?;
        Ok(model)
    }

    /// One model.
    pub async fn get(&self, name: &ModelName) -> Result<Option<Model>, ControlError> {
        let row = sqlx::query("SELECT * FROM models WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("read a model"))?;
        row.as_ref().map(from_row).transpose()
    }

    /// All models, by name.
    pub async fn list(&self) -> Result<Vec<Model>, ControlError> {
        let mut tx = self.db.read().await?;
        all(&mut tx).await
    }

    /// Changes a model.
    pub async fn update(&self, name: &ModelName, change: ModelChange) -> Result<Model, ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, name).await?;
        let mut model = before.clone();
        if let Some(provider) = change.provider {
            providers::find(&mut tx, &provider).await?;
            model.provider = provider;
        }
        if let Some(upstream_model) = change.upstream_model {
            model.upstream_model = upstream_model;
        }
        if let Some(tier) = change.tier {
            model.tier = tier;
        }
        change.price_as.apply(&mut model.price_as);
        check(&model)?;
        sqlx::query(
            "UPDATE models SET provider_id = $1, upstream_model = $2, tier = $3, price_as = $5 WHERE name = $4",
        )
        .bind(model.provider.as_str())
        .bind(model.upstream_model.as_str())
        .bind(model.tier.as_str())
        .bind(name.as_str())
        .bind(model.price_as.as_deref())
        .execute(&mut *tx)
        .await
        .map_err(failed("update a model"))?;
        self.db.commit(tx, Change::updated("model", name, &before, &model)?).await?;
        Ok(model)
    }

    /// Deletes a model that no route leads to and no policy names any more.
    pub async fn delete(&self, name: &ModelName) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, name).await?;
        let routes = count(&mut tx, "SELECT count(*) FROM routes WHERE model = $1", name.as_str()).await?;
        refuse_if_used("model", name.as_str(), &[(routes, "route")])?;
        let thing = Thing { kind: "model", tenant: None, name: name.as_str() };
        references::refuse_if_referred(&mut tx, thing, None).await?;
        sqlx::query("DELETE FROM models WHERE name = $1")
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed("delete a model"))?;
        self.db.commit(tx, Change::deleted("model", name, &before)?).await
    }
}

/// All models, by name, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Model>, ControlError> {
    let rows = sqlx::query("SELECT * FROM models ORDER BY name")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list models"))?;
    rows.iter().map(from_row).collect()
}

/// The model, which must exist.
pub(super) async fn find(tx: &mut Tx, name: &ModelName) -> Result<Model, ControlError> {
    let row = sqlx::query("SELECT * FROM models WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a model"))?;
    row.as_ref().map(from_row).transpose()?.ok_or_else(|| ControlError::not_found("model", name))
}

fn check(model: &Model) -> Result<(), ControlError> {
    validate::token("upstream_model", &model.upstream_model)?;
    if let Some(price_as) = &model.price_as {
        validate::token("price_as", price_as)?;
    }
    validate::token("tier", &model.tier)
}

fn from_row(row: &AnyRow) -> Result<Model, ControlError> {
    Ok(Model {
        name: row::parsed(row, "model", "name")?,
        provider: row::parsed(row, "model", "provider_id")?,
        upstream_model: row::text(row, "upstream_model")?,
        price_as: row::optional_text(row, "price_as")?,
        tier: row::text(row, "tier")?,
        created_at: row::time(row, "created_at")?,
    })
}
