//! `/admin/v1/experiments/{name}/pause`, `/resume` and `/shares`: what an experiment has beside what every policy document has.

use super::auth::Admin;
use super::body::{Id, Parameters};
use super::documents::tagged;
use super::routes::Owner;
use super::{AdminState, Failure};
use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use contracts::PolicyName;
use contracts::policy::experiment::Status;
use control::records::{Document, ExperimentShares};

/// Pauses an experiment: everybody gets the control. Nothing changes when it is paused.
#[utoipa::path(post, path = "/admin/v1/experiments/{name}/pause", tag = "experiments", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Document, headers(("ETag" = String, description = "Its revision."))),
    (status = 404, description = "There is none.")))]
pub(super) async fn pause(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Response, Failure> {
    set(&state, &owner, &name, Status::Paused).await
}

/// Lets a paused experiment run again: everybody comes back to their arms. Nothing changes when it runs.
#[utoipa::path(post, path = "/admin/v1/experiments/{name}/resume", tag = "experiments", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Document, headers(("ETag" = String, description = "Its revision."))),
    (status = 404, description = "There is none.")))]
pub(super) async fn resume(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Response, Failure> {
    set(&state, &owner, &name, Status::Running).await
}

/// What each arm gets of new units at this moment, and what was measured of it where shares follow that.
#[utoipa::path(get, path = "/admin/v1/experiments/{name}/shares", tag = "experiments", params(("name" = String, Path), Owner), responses(
    (status = 200, body = ExperimentShares), (status = 404, description = "There is none.")))]
pub(super) async fn shares(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<ExperimentShares>, Failure> {
    Ok(Json(state.control.experiments().shares(owner.tenant.as_ref(), &name).await?))
}

async fn set(
    state: &AdminState,
    owner: &Owner,
    name: &PolicyName,
    status: Status,
) -> Result<Response, Failure> {
    let (experiments, now) = (state.control.experiments(), state.clock.now());
    let written = experiments.set_status(owner.tenant.as_ref(), name, status, now).await?;
    Ok(tagged(StatusCode::OK, written))
}
