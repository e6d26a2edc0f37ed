//! Who makes a request: a user by session cookie, or a program by admin key.

use super::AppState;
use super::errors::{Refusal, from_control, not_admin, signed_out};
use super::session;
use crate::api::types::TenantName;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use contracts::{ApiError, TenantId};
use control::records::Role;
use control::{Actor, Control};
use http::request::Parts;
use http::{HeaderMap, Method, header};

/// Somebody who got in, and what they may see.
#[derive(Clone)]
pub struct Viewer {
    pub(crate) state: AppState,
    /// Whom the audit log names for what they change.
    actor: Actor,
    /// Sign-in name, or the admin key's name.
    pub name: String,
    /// Whether they may change things.
    pub admin: bool,
    /// The tenants they may see; `None` for all.
    limited_to: Option<Vec<TenantId>>,
}

impl Viewer {
    /// The control database, on their behalf.
    pub(crate) fn control(&self) -> Control {
        self.state.parts.control.as_actor(self.actor.clone())
    }

    /// The tenants they may see that exist.
    pub(crate) async fn tenants(&self) -> Result<Vec<TenantName>, ApiError> {
        let all = self.state.parts.control.tenants().list().await.map_err(from_control)?;
        let visible =
            all.into_iter().filter(|t| self.limited_to.as_ref().is_none_or(|ids| ids.contains(&t.id)));
        Ok(visible.map(|t| TenantName { id: t.id.to_string(), name: t.name }).collect())
    }

    /// Their ids.
    pub(crate) async fn visible(&self) -> Result<Vec<TenantId>, ApiError> {
        if let Some(ids) = &self.limited_to {
            return Ok(ids.clone());
        }
        let all = self.state.parts.control.tenants().list().await.map_err(from_control)?;
        Ok(all.into_iter().map(|t| t.id).collect())
    }

    /// Refuses who may only look.
    pub(crate) fn require_admin(&self) -> Result<(), ApiError> {
        if self.admin { Ok(()) } else { Err(not_admin()) }
    }
}

/// Lets programs and signed-in users through to the API; everybody else gets 401.
pub(crate) async fn require_for_api(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match identify(&state, request).await {
        Ok((request, true)) => next.run(request).await,
        Ok((_, false)) => Refusal(signed_out()).into_response(),
        Err(error) => Refusal(error).into_response(),
    }
}

/// Lets signed-in users through to the pages; everybody else is led to the sign-in and back.
pub(crate) async fn require_for_pages(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let here = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let is_get = request.method() == Method::GET;
    match identify(&state, request).await {
        Ok((request, true)) => next.run(request).await,
        Ok((_, false)) if is_get && here != "/" => {
            let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
            Redirect::to(&format!("/sign-in?next={next}")).into_response()
        }
        Ok((_, false)) => Redirect::to("/sign-in").into_response(),
        Err(error) => Refusal(error).into_response(),
    }
}

/// Puts the [`Viewer`] into the request's extensions, where the page's reads find it; false when there is none.
async fn identify(state: &AppState, request: Request) -> Result<(Request, bool), ApiError> {
    let (mut parts, body) = request.into_parts();
    let viewer = viewer(state, &parts).await?;
    let found = viewer.is_some();
    if let Some(viewer) = viewer {
        parts.extensions.insert(viewer);
    }
    Ok((Request::from_parts(parts, body), found))
}

async fn viewer(state: &AppState, parts: &Parts) -> Result<Option<Viewer>, ApiError> {
    let control = &state.parts.control;
    if let Some(secret) = bearer(&parts.headers) {
        let key = control.admin_keys().find_by_secret(secret).await.map_err(from_control)?;
        return Ok(key.map(|key| Viewer {
            state: state.clone(),
            actor: Actor::admin_key(&key),
            name: key.name,
            admin: true,
            limited_to: None,
        }));
    }
    let Some(token) = session::token(&parts.headers, state.parts.config.is_secure()) else { return Ok(None) };
    let session = control.sessions().find(token, state.parts.clock.now()).await.map_err(from_control)?;
    Ok(session.map(|session| Viewer {
        state: state.clone(),
        actor: Actor::user(&session.user),
        name: session.user.username,
        admin: session.user.role == Role::Admin,
        limited_to: session.user.tenants,
    }))
}

/// The secret of an `Authorization: Bearer` header. Where there is one, the cookie is not looked at.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}
