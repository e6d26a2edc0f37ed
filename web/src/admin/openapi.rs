//! `/admin/v1/openapi.json`: the description of this API, made from the handlers themselves.

use super::{keys, models, prices, providers, routes, tenants, users};
use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, SecurityRequirement};
use utoipa::{Modify, OpenApi};

/// The admin API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Control Tower admin API",
        description = "Tenants, keys, providers, models, routes, prices and users. Changes are live within 2 seconds."
    ),
    paths(
        tenants::list, tenants::create, tenants::read, tenants::update, tenants::delete,
        keys::list, keys::create, keys::read, keys::update, keys::revoke, keys::delete,
        providers::list, providers::create, providers::read, providers::update, providers::delete,
        models::list, models::create, models::read, models::update, models::delete,
        routes::list, routes::create, routes::read, routes::update, routes::delete,
        prices::list, prices::put, prices::delete, prices::import,
        users::list, users::create, users::read, users::update, users::delete,
    ),
    modifiers(&AdminKey)
)]
struct Api;

/// Adds the bearer scheme, required everywhere.
struct AdminKey;

impl Modify for AdminKey {
    fn modify(&self, document: &mut Document) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An admin key.")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("admin_key", SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new("admin_key", Vec::<String>::new())]);
    }
}

/// The OpenAPI document.
pub(super) async fn document() -> Json<Document> {
    Json(Api::openapi())
}
