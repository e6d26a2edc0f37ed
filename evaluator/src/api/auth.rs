//! Who asks: a tenant, by an API key in force in the policy snapshot.

use super::Api;
use super::errors::Refusal;
use axum::extract::FromRequestParts;
use contracts::TenantId;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

/// The tenant whose key came with the request.
#[derive(Debug, Clone)]
pub struct Caller(pub TenantId);

impl FromRequestParts<Api> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        let Some(secret) = presented(&parts.headers) else {
            return Err(Refusal::unauthorized("no API key: expected `Authorization: Bearer <key>`"));
        };
        let snapshots = &api.shared.snapshots;
        let snapshot = snapshots.load();
        let Some(key) = snapshot.keys.get(&control::secrets::hash(secret)) else {
            if !snapshots.status().loaded {
                return Err(Refusal::unavailable("the policy is not loaded yet".to_owned()));
            }
            return Err(Refusal::unauthorized("the API key is not known"));
        };
        let now = api.shared.clock.now();
        if key.revoked_at.is_some_and(|at| at <= now) {
            return Err(Refusal::unauthorized("the API key was revoked"));
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::unauthorized("the API key has expired"));
        }
        Ok(Self(key.tenant.id.clone()))
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim()).or_else(|| headers.get("x-api-key")?.to_str().ok())
}
