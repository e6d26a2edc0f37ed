//! Who sends: a service of ours, a tenant, or nobody we know.
//!
//! The answer comes from the connection's certificate, the headers and the policy snapshot alone, before a byte of the body
//! is read. A tenant is known by its key, by its certificate, or by both, which then must agree. The service key makes a
//! service whatever the certificate: it opens more than any of them.

mod certificate;
mod tenants;

pub use certificate::ClientCertificate;
pub use tenants::Tenants;

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

/// The header by which a service of ours says that it may have sent this request before.
pub const RETRY_HEADER: &str = "x-control-tower-retry";

/// Headers that may carry a tenant's key, besides `Authorization: Bearer`.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// On whose behalf spans come.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A service of ours, trusted to name tenants and to fill our own columns.
    Service {
        /// It may have sent the request before.
        again: bool,
    },
    /// A tenant.
    Tenant(Arc<TenantPolicy>),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// A certificate that verifies, but names no tenant, and no key.
    #[error(
        "the client certificate names no tenant, and there is no API key: expected {}",
        certificate::EXPECTED
    )]
    Nameless,
    /// A certificate of a tenant that is not there.
    #[error("the client certificate names the tenant {:?}, which is not known or has no key yet", .0.as_str())]
    UnknownTenant(TenantId),
    /// A key and a certificate of two tenants.
    #[error("the API key belongs to another tenant than the client certificate")]
    OtherTenant,
    /// The policy has not been read yet: nobody can be known.
    #[error("the collector is starting: its policy is not loaded yet")]
    NotLoaded,
}

impl AuthError {
    /// As a metric's label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing_key",
            Self::Unknown => "unknown_key",
            Self::Revoked => "revoked_key",
            Self::Expired => "expired_key",
            Self::Service => "wrong_service_key",
            Self::Nameless => "nameless_certificate",
            Self::UnknownTenant(_) => "unknown_tenant",
            Self::OtherTenant => "other_tenant",
            Self::NotLoaded => "not_loaded",
        }
    }
}

/// Recognises senders.
#[derive(Debug, Clone)]
pub struct Authenticator {
    /// Policy in force.
    pub snapshots: SnapshotHandle,
    /// Tenants by id.
    pub tenants: Tenants,
    /// What the client of this connection showed; none without TLS.
    pub certificate: Option<ClientCertificate>,
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
            let again = text(headers, RETRY_HEADER) == Some("1");
            return if right { Ok(Principal::Service { again }) } else { Err(AuthError::Service) };
        }
        let snapshot = self.snapshots.load();
        match self.tenant(&snapshot, headers) {
            // Who is not known yet is not unknown.
            Err(AuthError::Unknown | AuthError::UnknownTenant(_)) if !self.snapshots.status().loaded => {
                Err(AuthError::NotLoaded)
            }
            found => found.map(Principal::Tenant),
        }
    }

    fn tenant(&self, snapshot: &Snapshot, headers: &HeaderMap) -> Result<Arc<TenantPolicy>, AuthError> {
        let by_key = presented_key(headers).map(|secret| self.tenant_of(snapshot, secret)).transpose()?;
        let by_certificate = match &self.certificate {
            Some(ClientCertificate::Tenant(id)) => {
                let tenant = self.tenants.get(snapshot, id);
                Some(tenant.ok_or_else(|| AuthError::UnknownTenant(id.clone()))?)
            }
            Some(ClientCertificate::Nameless) | None => None,
        };
        match (by_certificate, by_key) {
            (Some(certified), Some(tenant)) if certified.id != tenant.id => Err(AuthError::OtherTenant),
            (Some(tenant), _) | (None, Some(tenant)) => Ok(tenant),
            (None, None) if self.certificate.is_some() => Err(AuthError::Nameless),
            (None, None) => self.loopback(snapshot).ok_or(AuthError::Missing),
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
        Some(self.tenants.get(snapshot, id).unwrap_or_else(|| {
            Arc::new(TenantPolicy {
                retention_days: self.default_retention_days,
                ..TenantPolicy::new(id.clone())
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
        let tenant = TenantPolicy { retention_days: 7, ..TenantPolicy::new("acme".parse().unwrap()) };
        let tenant = Arc::new(tenant);
        let key = |id: &str, expires: Option<i64>, revoked: Option<i64>| {
            Arc::new(KeyPolicy {
                expires_at: expires.map(Timestamp::from_unix_seconds),
                revoked_at: revoked.map(Timestamp::from_unix_seconds),
                ..KeyPolicy::new(id.parse().unwrap(), tenant.clone())
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
            tenants: Tenants::default(),
            certificate: None,
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
        assert!(matches!(principal, Principal::Service { again: false }));
        let mut again = headers(SERVICE_KEY_HEADER, "the-service-key");
        again.insert(RETRY_HEADER, HeaderValue::from_static("1"));
        let principal = authenticator().authenticate(&again).unwrap();
        assert!(matches!(principal, Principal::Service { again: true }));
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

    #[test]
    fn a_certificate_and_a_key_must_agree() {
        let of = |certificate| Authenticator { certificate: Some(certificate), ..authenticator() };
        let acme = of(ClientCertificate::Tenant("acme".parse().unwrap()));
        for headers in [HeaderMap::new(), headers("x-api-key", "ct-good")] {
            let principal = acme.authenticate(&headers).unwrap();
            assert!(matches!(principal, Principal::Tenant(tenant) if tenant.id.as_str() == "acme"));
        }
        // A certificate does not mend a bad key.
        assert_eq!(acme.authenticate(&headers("x-api-key", "ct-revoked")).unwrap_err(), AuthError::Revoked);
        let other = of(ClientCertificate::Tenant("globex".parse().unwrap()));
        for headers in [HeaderMap::new(), headers("x-api-key", "ct-good")] {
            let error = other.authenticate(&headers).unwrap_err();
            assert!(error.to_string().contains("\"globex\""), "{error}");
        }
        let nameless = of(ClientCertificate::Nameless);
        assert!(nameless.authenticate(&headers("x-api-key", "ct-good")).is_ok());
        assert_eq!(nameless.authenticate(&HeaderMap::new()).unwrap_err(), AuthError::Nameless);
        assert!(matches!(
            other.authenticate(&headers(SERVICE_KEY_HEADER, "the-service-key")),
            Ok(Principal::Service { .. })
        ));
    }
}
