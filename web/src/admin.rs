//! The admin API under `/admin/v1/`: what the console and the command line can change, over HTTP.
//!
//! Every request carries `Authorization: Bearer <admin key>`, the OpenAPI document's too. Bodies are JSON; lists come as
//! `{"data": […]}`; errors have OpenAI's shape with a `request_id` and name the field at fault. Ids that contain `/` are
//! percent-encoded in paths.

mod audit;
mod auth;
mod body;
mod caches;
mod documents;
mod experiments;
mod failure;
mod gateways;
mod keys;
mod live;
mod models;
mod openapi;
mod prices;
mod prompts;
mod providers;
mod routes;
mod tenants;
mod users;

#[cfg(test)]
mod tests;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use contracts::policy::Kind;
use control::Control;
use failure::Failure;
pub use gateways::Gateways;
use runtime::Clock;
use serde::Serialize;
use utoipa::ToSchema;

/// The largest body: a public price list with some room (16 MiB).
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// What the admin API works on.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The control database.
    pub control: Control,
    /// What time it is.
    pub clock: Clock,
    /// Whom to ask what goes on.
    pub gateways: Gateways,
}

/// A list of things.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The things.
    data: Vec<T>,
}

/// The routes of the admin API, to be nested at `/admin/v1`.
pub fn router(state: AdminState) -> Router {
    let documents = Kind::DOCUMENTS.into_iter().fold(Router::new(), |all, kind| {
        let one = get(documents::read).put(documents::put).delete(documents::delete);
        let of_kind = Router::new()
            .route(&format!("/{}", kind.plural()), get(documents::list))
            .route(&format!("/{}/{{name}}", kind.plural()), one)
            .layer(Extension(kind));
        all.merge(of_kind)
    });
    Router::new()
        .merge(documents)
        .route("/caches/{name}/purge", post(caches::purge))
        .route("/experiments/{name}/shares", get(experiments::shares))
        .route("/experiments/{name}/pause", post(experiments::pause))
        .route("/experiments/{name}/resume", post(experiments::resume))
        .route("/prompts", get(prompts::list))
        .route("/prompts/{name}", get(prompts::read).post(prompts::create))
        .route("/prompts/{name}/versions/{version}", get(prompts::version).delete(prompts::delete_version))
        .route("/prompts/{name}/labels/{label}", put(prompts::set_label).delete(prompts::delete_label))
        .route("/live", get(live::live))
        .route("/budgets/{name}/use", get(live::budget_use))
        .route("/pools/{name}/health", get(live::pool_health))
        .route("/audit", get(audit::list))
        .route("/openapi.json", get(openapi::document))
        .route("/tenants", get(tenants::list).post(tenants::create))
        .route("/tenants/{id}", get(tenants::read).patch(tenants::update).delete(tenants::delete))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", get(keys::read).patch(keys::update).delete(keys::delete))
        .route("/keys/{id}/revoke", post(keys::revoke))
        .route("/providers", get(providers::list).post(providers::create))
        .route("/providers/{id}", get(providers::read).patch(providers::update).delete(providers::delete))
        .route("/models", get(models::list).post(models::create))
        .route("/models/{name}", get(models::read).patch(models::update).delete(models::delete))
        .route("/routes", get(routes::list).post(routes::create))
        .route("/routes/{name}", get(routes::read).patch(routes::update).delete(routes::delete))
        .route("/prices", get(prices::list).put(prices::put).delete(prices::delete))
        .route("/prices/import", post(prices::import))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{id}", get(users::read).patch(users::update).delete(users::delete))
        .fallback(async || Failure::no_such_endpoint())
        .method_not_allowed_fallback(async || Failure::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn_with_state(state.clone(), auth::require_admin_key))
        .with_state(state)
}
