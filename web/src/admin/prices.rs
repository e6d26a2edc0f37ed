//! `/admin/v1/prices`: the entries of the price book.

use super::Failure;
use super::auth::Admin;
use super::body::{Body, Parameters, Raw};
use axum::Json;
use axum::http::StatusCode;
use contracts::price::{ModelPrice, PriceKey};
use control::prices::{Format, ImportError, ImportReport};
use control::records::parse_time;
use control::repositories::PriceChanges;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which entries to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this provider.
    provider: Option<String>,
    /// Only those of this model.
    model: Option<String>,
}

/// Which entry is meant.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Key {
    /// Its provider.
    provider: String,
    /// Its model.
    model: String,
    /// Its date, RFC 3339; absent for the entry that holds since ever.
    valid_from: Option<String>,
}

/// Entries of the price book and its version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceList {
    /// Identifies the content of the whole book.
    version: String,
    /// The entries.
    #[schema(value_type = Vec<Object>)]
    data: Vec<ModelPrice>,
}

/// Entries to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPrices {
    /// Each replaces the entry of the same provider, model and date, if there is one.
    #[schema(value_type = Vec<Object>)]
    data: Vec<ModelPrice>,
}

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Import {
    /// The file's format; told by its first character when absent.
    #[param(value_type = Option<String>, example = "genai-prices")]
    format: Option<Format>,
    /// Write nothing, say what would be.
    #[serde(default)]
    dry_run: bool,
}

/// Prices, by provider, model and date.
#[utoipa::path(get, path = "/admin/v1/prices", tag = "prices", params(Filter), responses((status = 200, body = PriceList)))]
pub(super) async fn list(
    Admin(state): Admin,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<PriceList>, Failure> {
    let book = state.control.prices().book().await?;
    let wanted = |entry: &&ModelPrice| {
        filter.provider.as_ref().is_none_or(|provider| *provider == entry.provider)
            && filter.model.as_ref().is_none_or(|model| *model == entry.model)
    };
    let data = book.entries().iter().filter(wanted).cloned().collect();
    Ok(Json(PriceList { version: book.version, data }))
}

/// Writes prices. All or none: a book that would contradict itself is refused.
#[utoipa::path(put, path = "/admin/v1/prices", tag = "prices", request_body = NewPrices, responses((status = 200, body = PriceChanges)))]
pub(super) async fn put(
    Admin(state): Admin,
    Body(new): Body<NewPrices>,
) -> Result<Json<PriceChanges>, Failure> {
    Ok(Json(state.control.prices().put(new.data).await?))
}

/// Deletes one price.
#[utoipa::path(delete, path = "/admin/v1/prices", tag = "prices", params(Key), responses(
    (status = 204), (status = 404, description = "There is none.")))]
pub(super) async fn delete(
    Admin(state): Admin,
    Parameters(key): Parameters<Key>,
) -> Result<StatusCode, Failure> {
    let valid_from = key
        .valid_from
        .map(|text| parse_time(&text))
        .transpose()
        .map_err(|message| Failure::invalid("valid_from", format!("valid_from: {message}")))?;
    state.control.prices().delete(&PriceKey { provider: key.provider, model: key.model, valid_from }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Imports a public price list: the body is the file as published (genai-prices' `data.json` or LiteLLM's
/// `model_prices_and_context_window.json`). The answer tells what could not be mapped.
#[utoipa::path(post, path = "/admin/v1/prices/import", tag = "prices", params(Import),
    request_body(content = String, content_type = "application/json"), responses((status = 200, body = ImportReport)))]
pub(super) async fn import(
    Admin(state): Admin,
    Parameters(how): Parameters<Import>,
    Raw(file): Raw,
) -> Result<Json<ImportReport>, Failure> {
    let now = state.clock.now();
    let report = control::prices::import(&state.control, how.format, &file, how.dry_run, now).await;
    Ok(Json(report.map_err(|error| match error {
        ImportError::Control(error) => error.into(),
        ImportError::Invalid(invalid) => control::ControlError::Price(invalid).into(),
        other => Failure::invalid("body", format!("body: {other}")),
    })?))
}
