//! Who may use the admin API: whoever presents an admin key. What they change is noted under the key's id.

use super::{AdminState, Failure};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use control::Actor;

/// Refuses a request without a valid admin key, whatever it asks for.
pub(super) async fn require_admin_key(
    State(state): State<AdminState>,
    mut request: Request,
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
        Some(key) => {
            request.extensions_mut().insert(Actor::admin_key(&key));
            Ok(next.run(request).await)
        }
        None => Err(Failure::unauthorized("wrong admin key")),
    }
}

/// What the admin API works on, on behalf of whoever asks.
pub(super) struct Admin(pub(super) AdminState);

impl FromRequestParts<AdminState> for Admin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Failure> {
        // No handler is reached without a key; should one be, it does nothing.
        let actor = parts.extensions.get::<Actor>().cloned();
        let actor = actor.ok_or_else(|| Failure::unauthorized("no admin key"))?;
        Ok(Self(AdminState { control: state.control.as_actor(actor), ..state.clone() }))
    }
}

/// The credential of a `Bearer` header; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credential) = header.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}
