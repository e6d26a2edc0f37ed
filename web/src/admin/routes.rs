//! `/admin/v1/routes`. A route is named by its name and, in the query string, its tenant; without tenant it is the shared
//! one.

use super::auth::Admin;
use super::body::{Body, Id, Parameters};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::{ModelName, TenantId};
use control::ControlError;
use control::records::{NewRoute, Route, RouteChange};
use serde::Deserialize;

/// Whose thing is meant.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Owner {
    /// The tenant; absent for what is shared by all.
    #[param(value_type = Option<String>)]
    pub(super) tenant: Option<TenantId>,
}

/// All routes, shared ones first.
#[utoipa::path(get, path = "/admin/v1/routes", tag = "routes", responses((status = 200, body = List<Route>)))]
pub(super) async fn list(Admin(state): Admin) -> Result<Json<List<Route>>, Failure> {
    let data = state.control.routes().list().await?;
    Ok(Json(List { data }))
}

/// Creates a route.
#[utoipa::path(post, path = "/admin/v1/routes", tag = "routes", request_body = NewRoute, responses(
    (status = 201, body = Route), (status = 409, description = "There is one of that name and tenant.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewRoute>,
) -> Result<(StatusCode, Json<Route>), Failure> {
    let route = state.control.routes().create(new, state.clock.now()).await.map_err(Failure::of_body)?;
    Ok((StatusCode::CREATED, Json(route)))
}

/// One route.
#[utoipa::path(get, path = "/admin/v1/routes/{name}", tag = "routes", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Route), (status = 404, description = "There is none.")))]
pub(super) async fn read(
    Admin(state): Admin,
    Id(name): Id<ModelName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<Route>, Failure> {
    let route = state.control.routes().get(owner.tenant.as_ref(), &name).await?;
    route.map(Json).ok_or_else(|| Failure::not_found("route", name.as_str()))
}

/// Leads a route to another model, or changes what else it does.
#[utoipa::path(patch, path = "/admin/v1/routes/{name}", tag = "routes", params(("name" = String, Path), Owner),
    request_body = RouteChange, responses((status = 200, body = Route), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(name): Id<ModelName>,
    Parameters(owner): Parameters<Owner>,
    Body(change): Body<RouteChange>,
) -> Result<Json<Route>, Failure> {
    let changed = state.control.routes().update(owner.tenant.as_ref(), &name, change).await;
    Ok(Json(changed.map_err(|error| match error {
        ControlError::NotFound { kind: "model", .. } => Failure::of_body(error),
        other => other.into(),
    })?))
}

/// Deletes a route.
#[utoipa::path(delete, path = "/admin/v1/routes/{name}", tag = "routes", params(("name" = String, Path), Owner), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete(
    Admin(state): Admin,
    Id(name): Id<ModelName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<StatusCode, Failure> {
    state.control.routes().delete(owner.tenant.as_ref(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
