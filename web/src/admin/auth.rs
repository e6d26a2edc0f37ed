//! Who may use the admin API: whoever presents an admin key.

use super::{AdminState, Failure};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

/// Refuses a request without a valid admin key, whatever it asks for.
pub(super) async fn require_admin_key(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let secret = request
        .headers()
        .get(AUTHORIZATION)
        .ok_or_else(|| {
            Failure::unauthorized("no admin key: expected the header Authorization: Bearer ct-admin-…")
        })?
        .to_str()
        .ok()
        .and_then(bearer)
        .ok_or_else(|| Failure::unauthorized("malformed Authorization header: expected Bearer ct-admin-…"))?;
    match state.control.admin_keys().find_by_secret(secret).await? {
        Some(_) => Ok(next.run(request).await),
        None => Err(Failure::unauthorized("wrong admin key")),
    }
}

/// The credential of a `Bearer` header; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credential) = header.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}
