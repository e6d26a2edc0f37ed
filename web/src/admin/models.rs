//! `/admin/v1/models`.

use super::auth::Admin;
use super::body::{Body, Id};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::ModelName;
use control::ControlError;
use control::records::{Model, ModelChange, NewModel};

/// All models, by name.
#[utoipa::path(get, path = "/admin/v1/models", tag = "models", responses((status = 200, body = List<Model>)))]
pub(super) async fn list(Admin(state): Admin) -> Result<Json<List<Model>>, Failure> {
    let data = state.control.models().list().await?;
    Ok(Json(List { data }))
}

/// Creates a model.
#[utoipa::path(post, path = "/admin/v1/models", tag = "models", request_body = NewModel, responses(
    (status = 201, body = Model), (status = 409, description = "There is one of that name.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewModel>,
) -> Result<(StatusCode, Json<Model>), Failure> {
    let model = state.control.models().create(new, state.clock.now()).await.map_err(Failure::of_body)?;
    Ok((StatusCode::CREATED, Json(model)))
}

/// One model.
#[utoipa::path(get, path = "/admin/v1/models/{name}", tag = "models", params(("name" = String, Path)), responses(
    (status = 200, body = Model), (status = 404, description = "There is none.")))]
pub(super) async fn read(Admin(state): Admin, Id(name): Id<ModelName>) -> Result<Json<Model>, Failure> {
    let model = state.control.models().get(&name).await?;
    model.map(Json).ok_or_else(|| Failure::not_found("model", name.as_str()))
}

/// Changes a model.
#[utoipa::path(patch, path = "/admin/v1/models/{name}", tag = "models", params(("name" = String, Path)),
    request_body = ModelChange, responses((status = 200, body = Model), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(name): Id<ModelName>,
    Body(change): Body<ModelChange>,
) -> Result<Json<Model>, Failure> {
    let changed = state.control.models().update(&name, change).await;
    Ok(Json(changed.map_err(|error| match error {
        ControlError::NotFound { kind: "provider", .. } => Failure::of_body(error),
        other => other.into(),
    })?))
}

/// Deletes a model that no route leads to.
#[utoipa::path(delete, path = "/admin/v1/models/{name}", tag = "models", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete(Admin(state): Admin, Id(name): Id<ModelName>) -> Result<StatusCode, Failure> {
    state.control.models().delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
