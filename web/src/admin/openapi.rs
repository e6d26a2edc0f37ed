//! `/admin/v1/openapi.json`: the description of this API, made from the handlers themselves.

use super::{
    audit, caches, documents, experiments, keys, live, models, prices, prompts, providers, routes, tenants,
    users,
};
use axum::Json;
use contracts::policy::Kind;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, SecurityRequirement};
use utoipa::{Modify, OpenApi};

/// The admin API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Control Tower admin API",
        description = "Tenants, keys, providers, models, routes, prices, users; plans, budgets, pools, cascades, caches, guardrails, \
                       experiments, prompts; who changed what; and what goes on in the gateways. Changes are live within 2 seconds."
    ),
    paths(
        tenants::list, tenants::create, tenants::read, tenants::update, tenants::delete,
        keys::list, keys::create, keys::read, keys::update, keys::revoke, keys::delete,
        providers::list, providers::create, providers::read, providers::update, providers::delete,
        models::list, models::create, models::read, models::update, models::delete,
        routes::list, routes::create, routes::read, routes::update, routes::delete,
        prices::list, prices::put, prices::delete, prices::import,
        users::list, users::create, users::read, users::update, users::delete,
        documents::list, documents::read, documents::put, documents::delete,
        caches::purge,
        experiments::pause, experiments::resume, experiments::shares,
        prompts::list, prompts::read, prompts::create, prompts::version, prompts::delete_version,
        prompts::set_label, prompts::delete_label,
        audit::list,
        live::live, live::budget_use, live::pool_health,
    ),
    modifiers(&AdminKey, &EveryKind)
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

/// The paths of policy documents, written once for plans, are those of every kind.
struct EveryKind;

impl Modify for EveryKind {
    fn modify(&self, document: &mut Document) {
        let templates = ["/admin/v1/plans", "/admin/v1/plans/{name}"];
        let templates = templates.map(|path| (path, document.paths.paths.remove(path).unwrap_or_default()));
        for kind in Kind::DOCUMENTS {
            for (path, item) in &templates {
                let mut item = item.clone();
                let operations = [&mut item.get, &mut item.put, &mut item.delete];
                for operation in operations.into_iter().filter_map(Option::as_mut) {
                    operation.tags = Some(vec![kind.plural().to_owned()]);
                    let id = operation.operation_id.take().unwrap_or_default();
                    operation.operation_id = Some(format!("{id}_{}", kind.plural()));
                }
                let path = path.replace(Kind::Plan.plural(), kind.plural());
                document.paths.paths.insert(path, item);
            }
        }
    }
}

/// The OpenAPI document.
pub(super) async fn document() -> Json<Document> {
    Json(Api::openapi())
}
