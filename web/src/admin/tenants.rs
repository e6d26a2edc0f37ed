//! `/admin/v1/tenants`.

use super::auth::Admin;
use super::body::{Body, Id};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::TenantId;
use control::records::{NewTenant, Tenant, TenantChange};

/// All tenants, by id.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "tenants", responses((status = 200, body = List<Tenant>)))]
pub(super) async fn list(Admin(state): Admin) -> Result<Json<List<Tenant>>, Failure> {
    let data = state.control.tenants().list().await?;
    Ok(Json(List { data }))
}

/// Creates a tenant.
#[utoipa::path(post, path = "/admin/v1/tenants", tag = "tenants", request_body = NewTenant, responses(
    (status = 201, body = Tenant), (status = 409, description = "There is one of that id.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Failure> {
    let tenant = state.control.tenants().create(new, state.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(tenant)))
}

/// One tenant.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 200, body = Tenant), (status = 404, description = "There is none.")))]
pub(super) async fn read(Admin(state): Admin, Id(id): Id<TenantId>) -> Result<Json<Tenant>, Failure> {
    let tenant = state.control.tenants().get(&id).await?;
    tenant.map(Json).ok_or_else(|| Failure::not_found("tenant", id.as_str()))
}

/// Changes a tenant.
#[utoipa::path(patch, path = "/admin/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    request_body = TenantChange, responses((status = 200, body = Tenant), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(id): Id<TenantId>,
    Body(change): Body<TenantChange>,
) -> Result<Json<Tenant>, Failure> {
    Ok(Json(state.control.tenants().update(&id, change, state.clock.now()).await?))
}

/// Deletes a tenant that has no keys, routes or users.
#[utoipa::path(delete, path = "/admin/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete(Admin(state): Admin, Id(id): Id<TenantId>) -> Result<StatusCode, Failure> {
    state.control.tenants().delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
