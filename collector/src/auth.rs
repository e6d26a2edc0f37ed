//! Who sends: a service of ours, a tenant, or nobody we know.
//!
//! The answer comes from the headers and the policy snapshot alone, before a byte of the body is read.

use contracts::policy::{Snapshot, TenantPolicy};
use contracts::{TenantId, Timestamp};
use control::SnapshotHandle;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use runtime::Clock;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// The header that carries the service key.
pub const SERVICE_KEY_HEADER: &str = "x-control-tower-service-key";

/// Headers that may carry a tenant's key, besides `Authorization: Bearer`.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// On whose behalf spans come.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A service of ours, trusted to name tenants and to fill our own columns.
    Service,
    /// A tenant.
    Tenant(Arc<TenantPolicy>),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key at all.
    #[error("no API key: expected `Authorization: Bearer <key>` or `x-api-key: <key>`")]
    Missing,
    /// A key that nobody has.
    #[error("the API key is not known")]
    Unknown,
    /// A revoked key.
    #[error("the API key was revoked")]
    Revoked,
    /// An expired key.
    #[error("the API key has expired")]
    Expired,
    /// A wrong service key.
    #[error("the key in x-control-tower-service-key is not that of [collector] service_key")]
    Service,
    /// The policy has not been read yet: nobody can be known.
    #[error("the collector is starting: its policy is not loaded yet")]
    NotLoaded,
}

impl AuthError {
    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_key",
            Self::Unknown => "unknown_key",
            Self::Revoked => "revoked_key",
            Self::Expired => "expired_key",
            Self::Service => "wrong_service_key",
            Self::NotLoaded => "not_loaded",
        }
    }
}

/// Recognises senders.
#[derive(Debug, Clone)]
pub struct Authenticator {
    /// Policy in force.
    pub snapshots: SnapshotHandle,
    /// SHA-256 of the service key: comparing digests takes the same time whatever the lengths.
    pub service_key: Option<[u8; 32]>,
    /// Tenant of keyless requests; set only where the listener is bound to loopback.
    pub loopback_tenant: Option<TenantId>,
    /// For a loopback tenant that has no policy yet.
    pub default_retention_days: u16,
    /// The time that keys expire by.
    pub clock: Clock,
}

impl Authenticator {
    /// The digest of a service key.
    pub fn digest(service_key: &str) -> [u8; 32] {
        Sha256::digest(service_key.as_bytes()).into()
    }

    /// Who sent these headers.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        if let Some(presented) = text(headers, SERVICE_KEY_HEADER) {
            let right = self.service_key.is_some_and(|key| bool::from(Self::digest(presented).ct_eq(&key)));
            return if right { Ok(Principal::Service) } else { Err(AuthError::Service) };
        }
        let snapshot = self.snapshots.load();
        let found = match presented_key(headers) {
            Some(secret) => self.tenant_of(&snapshot, secret),
            None => self.loopback(&snapshot).ok_or(AuthError::Missing),
        };
        match found {
            // A key that is not known yet is not a wrong key.
            Err(AuthError::Unknown) if !self.snapshots.status().loaded => Err(AuthError::NotLoaded),
            found => found.map(Principal::Tenant),
        }
    }

    fn tenant_of(&self, snapshot: &Snapshot, secret: &str) -> Result<Arc<TenantPolicy>, AuthError> {
        let key = snapshot.keys.get(&control::secrets::hash(secret)).ok_or(AuthError::Unknown)?;
        let now: Timestamp = self.clock.now();
        if key.revoked_at.is_some_and(|at| at <= now) {
            return Err(AuthError::Revoked);
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(AuthError::Expired);
        }
        Ok(key.tenant.clone())
    }

    fn loopback(&self, snapshot: &Snapshot) -> Option<Arc<TenantPolicy>> {
        let id = self.loopback_tenant.as_ref()?;
        let known = snapshot.keys.values().map(|key| &key.tenant).find(|tenant| tenant.id == *id);
        Some(known.cloned().unwrap_or_else(|| {
            Arc::new(TenantPolicy {
                id: id.clone(),
                retention_days: self.default_retention_days,
                capture_content: true,
            })
        }))
    }
}

fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    bearer
        .or_else(|| KEY_HEADERS.into_iter().find_map(|name| text(headers, name)))
        .filter(|secret| !secret.is_empty())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::policy::KeyPolicy;
    use http::HeaderValue;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn authenticator() -> Authenticator {
        let tenant =
            Arc::new(TenantPolicy { id: "acme".parse().unwrap(), retention_days: 7, capture_content: true });
        let key = |id: &str, expires: Option<i64>, revoked: Option<i64>| {
            Arc::new(KeyPolicy {
                id: id.parse().unwrap(),
                tenant: tenant.clone(),
                allowed_models: None,
                expires_at: expires.map(Timestamp::from_unix_seconds),
                revoked_at: revoked.map(Timestamp::from_unix_seconds),
            })
        };
        let mut snapshot = Snapshot { version: 1, ..Snapshot::default() };
        for (secret, policy) in [
            ("ct-good", key("good", None, None)),
            ("ct-expired", key("expired", Some(1_700_000_000), None)),
            ("ct-revoked", key("revoked", None, Some(1_700_000_000))),
        ] {
            snapshot.keys.insert(control::secrets::hash(secret), policy);
        }
        Authenticator {
            snapshots: SnapshotHandle::fixed(snapshot),
            service_key: Some(Authenticator::digest("the-service-key")),
            loopback_tenant: None,
            default_retention_days: 30,
            clock: Clock::manual(NOW),
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_tenants_key_is_taken_from_three_headers() {
        for headers in [
            headers("authorization", "Bearer ct-good"),
            headers("authorization", "bearer ct-good"),
            headers("x-api-key", "ct-good"),
            headers("api-key", "ct-good"),
        ] {
            let principal = authenticator().authenticate(&headers).unwrap();
            assert!(matches!(principal, Principal::Tenant(tenant) if tenant.id.as_str() == "acme"));
        }
    }

    #[test]
    fn a_bad_key_says_what_is_wrong_with_it() {
        let refuse = |headers: &HeaderMap| authenticator().authenticate(headers).unwrap_err();
        assert_eq!(refuse(&HeaderMap::new()), AuthError::Missing);
        assert_eq!(refuse(&headers("authorization", "Bearer ")), AuthError::Missing);
        assert_eq!(refuse(&headers("authorization", "Basic ct-good")), AuthError::Missing);
        assert_eq!(refuse(&headers("x-api-key", "ct-other")), AuthError::Unknown);
        assert_eq!(refuse(&headers("x-api-key", "ct-expired")), AuthError::Expired);
        assert_eq!(refuse(&headers("x-api-key", "ct-revoked")), AuthError::Revoked);
    }

    #[test]
    fn only_the_service_key_makes_a_service() {
        let principal =
            authenticator().authenticate(&headers(SERVICE_KEY_HEADER, "the-service-key")).unwrap();
        assert!(matches!(principal, Principal::Service));
        let wrong = authenticator().authenticate(&headers(SERVICE_KEY_HEADER, "another")).unwrap_err();
        assert_eq!(wrong, AuthError::Service);
        let off = Authenticator { service_key: None, ..authenticator() };
        assert_eq!(off.authenticate(&headers(SERVICE_KEY_HEADER, "")).unwrap_err(), AuthError::Service);
    }

    #[test]
    fn without_a_key_only_a_configured_loopback_tenant_is_taken() {
        let open = Authenticator { loopback_tenant: Some("acme".parse().unwrap()), ..authenticator() };
        let principal = open.authenticate(&HeaderMap::new()).unwrap();
        assert!(matches!(principal, Principal::Tenant(tenant) if tenant.retention_days == 7));
        assert_eq!(open.authenticate(&headers("x-api-key", "ct-other")).unwrap_err(), AuthError::Unknown);
    }
}
