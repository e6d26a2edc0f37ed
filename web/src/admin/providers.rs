//! `/admin/v1/providers`.

use super::auth::Admin;
use super::body::{Body, Id};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::ProviderId;
use control::records::{NewProvider, ProviderChange, ProviderView};

/// All providers, by id.
#[utoipa::path(get, path = "/admin/v1/providers", tag = "providers", responses((status = 200, body = List<ProviderView>)))]
pub(super) async fn list(Admin(state): Admin) -> Result<Json<List<ProviderView>>, Failure> {
    let providers = state.control.providers().list().await?;
    Ok(Json(List { data: providers.into_iter().map(Into::into).collect() }))
}

/// Creates a provider.
#[utoipa::path(post, path = "/admin/v1/providers", tag = "providers", request_body = NewProvider, responses(
    (status = 201, body = ProviderView), (status = 409, description = "There is one of that id.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewProvider>,
) -> Result<(StatusCode, Json<ProviderView>), Failure> {
    let provider = state.control.providers().create(new, state.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(provider.into())))
}

/// One provider.
#[utoipa::path(get, path = "/admin/v1/providers/{id}", tag = "providers", params(("id" = String, Path)), responses(
    (status = 200, body = ProviderView), (status = 404, description = "There is none.")))]
pub(super) async fn read(Admin(state): Admin, Id(id): Id<ProviderId>) -> Result<Json<ProviderView>, Failure> {
    let provider = state.control.providers().get(&id).await?;
    provider.map(|p| Json(p.into())).ok_or_else(|| Failure::not_found("provider", id.as_str()))
}

/// Changes a provider.
#[utoipa::path(patch, path = "/admin/v1/providers/{id}", tag = "providers", params(("id" = String, Path)),
    request_body = ProviderChange,
    responses((status = 200, body = ProviderView), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(id): Id<ProviderId>,
    Body(change): Body<ProviderChange>,
) -> Result<Json<ProviderView>, Failure> {
    Ok(Json(state.control.providers().update(&id, change).await?.into()))
}

/// Deletes a provider that serves no model.
#[utoipa::path(delete, path = "/admin/v1/providers/{id}", tag = "providers", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete(Admin(state): Admin, Id(id): Id<ProviderId>) -> Result<StatusCode, Failure> {
    state.control.providers().delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
