//! `/admin/v1/users`.

use super::auth::Admin;
use super::body::{Body, Id};
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use control::ControlError;
use control::records::{NewUser, User, UserChange};

/// All users of the console, by sign-in name.
#[utoipa::path(get, path = "/admin/v1/users", tag = "users", responses((status = 200, body = List<User>)))]
pub(super) async fn list(Admin(state): Admin) -> Result<Json<List<User>>, Failure> {
    let data = state.control.users().list().await?;
    Ok(Json(List { data }))
}

/// Creates a user.
#[utoipa::path(post, path = "/admin/v1/users", tag = "users", request_body = NewUser, responses(
    (status = 201, body = User), (status = 409, description = "There is one of that name.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), Failure> {
    let user = state.control.users().create(new, state.clock.now()).await.map_err(Failure::of_body)?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// One user.
#[utoipa::path(get, path = "/admin/v1/users/{id}", tag = "users", params(("id" = String, Path)), responses(
    (status = 200, body = User), (status = 404, description = "There is none.")))]
pub(super) async fn read(Admin(state): Admin, Id(id): Id<String>) -> Result<Json<User>, Failure> {
    let user = state.control.users().get(&id).await?;
    user.map(Json).ok_or_else(|| Failure::not_found("user", &id))
}

/// Changes a user. A new password ends all of the user's sessions.
#[utoipa::path(patch, path = "/admin/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    request_body = UserChange, responses((status = 200, body = User), (status = 404, description = "There is none.")))]
pub(super) async fn update(
    Admin(state): Admin,
    Id(id): Id<String>,
    Body(change): Body<UserChange>,
) -> Result<Json<User>, Failure> {
    let changed = state.control.users().update(&id, change).await;
    Ok(Json(changed.map_err(|error| match error {
        ControlError::NotFound { kind: "tenant", .. } => Failure::of_body(error),
        other => other.into(),
    })?))
}

/// Deletes a user and ends its sessions.
#[utoipa::path(delete, path = "/admin/v1/users/{id}", tag = "users", params(("id" = String, Path)), responses(
    (status = 204), (status = 404, description = "There is none.")))]
pub(super) async fn delete(Admin(state): Admin, Id(id): Id<String>) -> Result<StatusCode, Failure> {
    state.control.users().delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
