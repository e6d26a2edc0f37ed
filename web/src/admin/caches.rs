//! `/admin/v1/caches/{name}/purge`: what a cache has beside what every policy document has.

use super::Failure;
use super::auth::Admin;
use super::body::{Id, Parameters};
use super::documents::tagged;
use super::routes::Owner;
use axum::http::StatusCode;
use axum::response::Response;
use contracts::PolicyName;
use control::records::Document;

/// Purges a cache: no gateway that has its new revision gives an answer that was kept before.
#[utoipa::path(post, path = "/admin/v1/caches/{name}/purge", tag = "caches", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Document, headers(("ETag" = String, description = "Its revision."))),
    (status = 404, description = "There is none.")))]
pub(super) async fn purge(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Response, Failure> {
    let (caches, now) = (state.control.caches(), state.clock.now());
    Ok(tagged(StatusCode::OK, caches.purge(owner.tenant.as_ref(), &name, now).await?))
}
