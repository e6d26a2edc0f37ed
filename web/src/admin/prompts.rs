//! `/admin/v1/prompts`: prompts, their versions, which never change, and their labels, which move. A prompt is named by its name and, in the
//! query string, its tenant; without tenant it is the shared one.

use super::auth::Admin;
use super::body::{Body, Ids, Parameters};
use super::routes::Owner;
use super::{Failure, List};
use axum::Json;
use axum::http::StatusCode;
use contracts::policy::Selector;
use contracts::{PolicyName, TenantId};
use control::records::{Prompt, PromptVersion};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Where to put a label.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Label {
    /// The version.
    version: u64,
}

/// All prompts with their versions and labels, shared ones first; with a tenant those that it has of its own.
#[utoipa::path(get, path = "/admin/v1/prompts", tag = "prompts", params(Owner), responses((status = 200, body = List<Prompt>)))]
pub(super) async fn list(
    Admin(state): Admin,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<List<Prompt>>, Failure> {
    let data = state.control.prompts().list(owner.tenant.as_ref()).await?;
    Ok(Json(List { data }))
}

/// One prompt with its versions and labels.
#[utoipa::path(get, path = "/admin/v1/prompts/{name}", tag = "prompts", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Prompt), (status = 404, description = "There is none.")))]
pub(super) async fn read(
    Admin(state): Admin,
    Ids(name): Ids<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<Prompt>, Failure> {
    let prompt = state.control.prompts().get(owner.tenant.as_ref(), &name).await?;
    prompt.map(Json).ok_or_else(|| Failure::not_found("prompt", name.as_str()))
}

/// Whose a new version is, and what label it gets.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct New {
    /// The tenant; absent for what is shared by all.
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// A label to put on it at once, such as `production`.
    label: Option<String>,
}

/// Adds a version; the first one makes the prompt.
#[utoipa::path(post, path = "/admin/v1/prompts/{name}", tag = "prompts", params(("name" = String, Path), New),
    request_body(content = Object, description = "What it says."), responses(
    (status = 201, body = PromptVersion), (status = 400, description = "It is not valid.")))]
pub(super) async fn create(
    Admin(state): Admin,
    Ids(name): Ids<PolicyName>,
    Parameters(New { tenant, label }): Parameters<New>,
    Body(spec): Body<Value>,
) -> Result<(StatusCode, Json<PromptVersion>), Failure> {
    let (prompts, now) = (state.control.prompts(), state.clock.now());
    let version = prompts.create_labelled(tenant.as_ref(), &name, spec, label.as_deref(), now).await;
    let version = version.map_err(Failure::of_body)?;
    Ok((StatusCode::CREATED, Json(version)))
}

/// One version, by its number or by a label.
#[utoipa::path(get, path = "/admin/v1/prompts/{name}/versions/{version}", tag = "prompts",
    params(("name" = String, Path), ("version" = String, Path), Owner), responses(
    (status = 200, body = PromptVersion), (status = 404, description = "There is none.")))]
pub(super) async fn version(
    Admin(state): Admin,
    Ids((name, version)): Ids<(PolicyName, String)>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<PromptVersion>, Failure> {
    let selector = version.parse().map_or(Selector::Label(&version), Selector::Version);
    let found = state.control.prompts().version(owner.tenant.as_ref(), &name, selector).await?;
    found.map(Json).ok_or_else(|| Failure::not_found("prompt", &format!("{name}@{version}")))
}

/// Deletes a version that no label stands on and nothing refers to. Its number stays taken.
#[utoipa::path(delete, path = "/admin/v1/prompts/{name}/versions/{version}", tag = "prompts",
    params(("name" = String, Path), ("version" = u64, Path), Owner), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete_version(
    Admin(state): Admin,
    Ids((name, version)): Ids<(PolicyName, u64)>,
    Parameters(owner): Parameters<Owner>,
) -> Result<StatusCode, Failure> {
    let (prompts, now) = (state.control.prompts(), state.clock.now());
    prompts.delete_version(owner.tenant.as_ref(), &name, version, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a label on a version, wherever it stood before.
#[utoipa::path(put, path = "/admin/v1/prompts/{name}/labels/{label}", tag = "prompts",
    params(("name" = String, Path), ("label" = String, Path), Owner), request_body = Label, responses(
    (status = 200, body = Prompt), (status = 400, description = "There is no such version.")))]
pub(super) async fn set_label(
    Admin(state): Admin,
    Ids((name, label)): Ids<(PolicyName, String)>,
    Parameters(owner): Parameters<Owner>,
    Body(Label { version }): Body<Label>,
) -> Result<Json<Prompt>, Failure> {
    let prompt = state.control.prompts().set_label(owner.tenant.as_ref(), &name, &label, version).await;
    Ok(Json(prompt.map_err(Failure::of_body)?))
}

/// Takes a label away that nothing refers to.
#[utoipa::path(delete, path = "/admin/v1/prompts/{name}/labels/{label}", tag = "prompts",
    params(("name" = String, Path), ("label" = String, Path), Owner), responses(
    (status = 204), (status = 404, description = "There is none."), (status = 409, description = "It is in use.")))]
pub(super) async fn delete_label(
    Admin(state): Admin,
    Ids((name, label)): Ids<(PolicyName, String)>,
    Parameters(owner): Parameters<Owner>,
) -> Result<StatusCode, Failure> {
    state.control.prompts().delete_label(owner.tenant.as_ref(), &name, &label).await?;
    Ok(StatusCode::NO_CONTENT)
}
