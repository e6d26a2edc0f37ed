//! `/admin/v1/plans`, `/budgets`, `/pools`, `/cascades`, `/caches`, `/guardrails` and `/experiments`: policy documents. One is named by its
//! name and, in the query string, its tenant; without tenant it is the shared one.
//!
//! Every answer with one document carries its revision as `ETag`. A change may carry it back in `If-Match`, and is refused (409) when
//! somebody else was faster; `If-None-Match: *` writes only what is not there yet.

use super::auth::Admin;
use super::body::{Body, Id, Parameters};
use super::routes::Owner;
use super::{Failure, List};
use axum::Json;
use axum::extract::Extension;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use contracts::PolicyName;
use contracts::policy::Kind;
use control::records::Document;
use serde_json::Value;

/// All documents of the kind, shared ones first; with a tenant those that it has of its own.
#[utoipa::path(get, path = "/admin/v1/plans", tag = "plans", params(Owner), responses((status = 200, body = List<Document>)))]
pub(super) async fn list(
    Extension(kind): Extension<Kind>,
    Admin(state): Admin,
    Parameters(owner): Parameters<Owner>,
) -> Result<Json<List<Document>>, Failure> {
    let data = state.control.documents().list(kind, owner.tenant.as_ref()).await?;
    Ok(Json(List { data }))
}

/// One document.
#[utoipa::path(get, path = "/admin/v1/plans/{name}", tag = "plans", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Document, headers(("ETag" = String, description = "Its revision."))),
    (status = 404, description = "There is none.")))]
pub(super) async fn read(
    Extension(kind): Extension<Kind>,
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
) -> Result<Response, Failure> {
    let document = state.control.documents().get(kind, owner.tenant.as_ref(), &name).await?;
    let document = document.ok_or_else(|| Failure::not_found(kind.as_str(), name.as_str()))?;
    Ok(tagged(StatusCode::OK, document))
}

/// Writes a document over what there is. All that it names must exist.
#[utoipa::path(put, path = "/admin/v1/plans/{name}", tag = "plans", params(("name" = String, Path), Owner,
        ("If-Match" = Option<String>, Header, description = "The revision that must be there."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: nothing must be there.")),
    request_body(content = Object, description = "What it says."), responses(
    (status = 200, body = Document, headers(("ETag" = String, description = "Its revision."))),
    (status = 400, description = "It is not valid, or names something that does not exist."),
    (status = 409, description = "It was changed by somebody else.")))]
pub(super) async fn put(
    Extension(kind): Extension<Kind>,
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
    headers: HeaderMap,
    Body(spec): Body<Value>,
) -> Result<Response, Failure> {
    let expected = expected(&headers)?;
    let (documents, now) = (state.control.documents(), state.clock.now());
    let written = documents.put(kind, owner.tenant.as_ref(), &name, &spec, expected, now).await;
    Ok(tagged(StatusCode::OK, written.map_err(Failure::of_body)?))
}

/// Deletes a document that nothing refers to.
#[utoipa::path(delete, path = "/admin/v1/plans/{name}", tag = "plans", params(("name" = String, Path), Owner,
        ("If-Match" = Option<String>, Header, description = "The revision that must be there.")), responses(
    (status = 204), (status = 404, description = "There is none."),
    (status = 409, description = "It is in use, or was changed by somebody else.")))]
pub(super) async fn delete(
    Extension(kind): Extension<Kind>,
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let expected = expected(&headers)?;
    state.control.documents().delete(kind, owner.tenant.as_ref(), &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An answer with a document, and its revision as `ETag`.
pub(super) fn tagged(status: StatusCode, document: Document) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{}\"", document.revision));
    let mut response = (status, Json(document)).into_response();
    if let Ok(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The revision that the caller has seen: 0 for none, absent when anything may be there.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (None, Some("*")) => Ok(Some(0)),
        (Some(revision), None) => {
            let digits = revision.trim_matches('"');
            let parsed = digits.parse().ok().filter(|revision| *revision > 0);
            let message =
                || format!("If-Match: {revision:?} is not valid, expected a revision such as \"12\"");
            parsed.map(Some).ok_or_else(|| Failure::invalid("If-Match", message()))
        }
        (None, Some(other)) => {
            let message = format!("If-None-Match: {other:?} is not valid, expected *");
            Err(Failure::invalid("If-None-Match", message))
        }
        (Some(_), Some(_)) => Err(Failure::invalid("If-Match", "If-Match: not together with If-None-Match")),
    }
}
