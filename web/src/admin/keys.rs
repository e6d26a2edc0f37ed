//! `/admin/v1/keys`.

use super::auth::Admin;
use super::body::{Body, Id, Parameters};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::{KeyId, TenantId};
use control::records::{ApiKey, ApiKeyChange, CreatedKey, NewApiKey};
use serde::Deserialize;

/// Which keys to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those of this tenant.
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
}

/// API keys, oldest first, revoked and expired ones too.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", params(Filter), responses((status = 200, body = List<ApiKey>)))]
pub(super) async fn list(
    Admin(state): Admin,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<List<ApiKey>>, Failure> {
    let data = state.control.keys().list(filter.tenant.as_ref()).await?;
    Ok(Json(List { data }))
}

/// Creates an API key. The answer holds its secret, this once.
#[utoipa::path(post, path = "/admin/v1/keys", tag = "keys", request_body = NewApiKey, responses((status = 201, body = CreatedKey)))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewApiKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Failure> {
    let key = state.control.keys().create(new, state.clock.now()).await.map_err(Failure::of_body)?;
    Ok((StatusCode::CREATED, Json(key)))
}

/// One API key.
#[utoipa::path(get, path = "/admin/v1/keys/{id}", tag = "keys", params(("id" = String, Path)), responses(
    (status = 200, body = ApiKey), (status = 404, description = "There is none.")))]
pub(super) async fn read(Admin(state): Admin, Id(id): Id<KeyId>) -> Result<Json<ApiKey>, Failure> {
    let key = state.control.keys().get(&id).await?;
    key.map(Json).ok_or_else(|| Failure::not_found("key", id.as_str()))
}

/// Changes an API key.
#[utoipa::path(patch, path = "/admin/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    request_body = ApiKeyChange, responses((status = 200, body = ApiKey), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(id): Id<KeyId>,
    Body(change): Body<ApiKeyChange>,
) -> Result<Json<ApiKey>, Failure> {
    Ok(Json(state.control.keys().update(&id, change, state.clock.now()).await?))
}

/// Revokes an API key for good.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/revoke", tag = "keys", params(("id" = String, Path)), responses(
    (status = 200, body = ApiKey), (status = 404, description = "There is none.")))]
pub(super) async fn revoke(Admin(state): Admin, Id(id): Id<KeyId>) -> Result<Json<ApiKey>, Failure> {
    Ok(Json(state.control.keys().revoke(&id, state.clock.now()).await?))
}

/// Deletes an API key. Prefer to revoke it: whoever still uses it is then told so.
#[utoipa::path(delete, path = "/admin/v1/keys/{id}", tag = "keys", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, description = "There is none.")))]
pub(super) async fn delete(Admin(state): Admin, Id(id): Id<KeyId>) -> Result<StatusCode, Failure> {
    state.control.keys().delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
