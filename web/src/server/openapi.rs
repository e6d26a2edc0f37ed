//! `/api/v1/openapi.json`: the description of the read API, made from the handlers themselves.

use super::api;
use axum::Json;
use serde::Serialize;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::{Modify, OpenApi, ToSchema};

/// Every error of the API.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    /// What went wrong.
    error: ErrorBody,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// One sentence that names the field, the value and what is expected.
    message: String,
    /// Class of the error, such as `invalid_request_error`.
    r#type: String,
    /// The parameter at fault.
    param: Option<String>,
    /// More exact class, such as `not_found`.
    code: Option<String>,
    /// `client`, `policy`, `upstream` or `internal`.
    fault: String,
    /// Whether the same request may succeed later.
    retryable: bool,
}

/// The read API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Control Tower read API",
        description = "What the console's pages show, as JSON. Times are milliseconds since the epoch, amounts decimal \
                       strings in USD. Programs send an admin key as `Authorization: Bearer`; browsers their session."
    ),
    servers((url = "/api/v1")),
    paths(
        api::me, api::overview, api::outcomes, api::signals, api::calls, api::call, api::facets, api::models, api::keys, api::create_key,
        api::revoke_key
    ),
    modifiers(&Credentials)
)]
struct Api;

/// Adds the two ways to get in.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An admin key.")).build();
        components.add_security_scheme("admin_key", SecurityScheme::Http(bearer));
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("ct_session")));
        components.add_security_scheme("session", cookie);
        let alternatives =
            ["admin_key", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
        document.security = Some(alternatives.to_vec());
    }
}

/// The document.
pub(crate) async fn document() -> Json<Document> {
    Json(Api::openapi())
}
