//! The API's own description.

use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Control Tower evaluator",
        description = "Judges, back-fills and annotations. Every request carries a tenant's API key."
    ),
    paths(
        super::judge::evaluate,
        super::judge::score,
        super::judge::judges,
        super::backfills::create,
        super::backfills::list,
        super::annotations::create,
        super::annotations::sample,
        super::annotations::open,
        super::annotations::label,
        super::annotations::skip,
        super::annotations::agreement,
    )
)]
struct Document;

/// `GET /v1/openapi.json`: says nothing that the source does not, so it needs no key.
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
