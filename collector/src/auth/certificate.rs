//! The tenant that a client's certificate names.
//!
//! The rule: the one URI `control-tower://tenant/<id>` among the certificate's subject alternative names; where it has no URI
//! of this kind, its one DNS name, taken as the tenant's id. The subject's common name is not looked at: it has no defined
//! meaning (RFC 9525, section 2). A certificate that names two tenants names none.

use contracts::TenantId;
use runtime::tls::CertificateDer;
use webpki::EndEntityCert;

/// What a certificate should have, for errors.
pub const EXPECTED: &str =
    "a subject alternative name that is the URI control-tower://tenant/<id> or the tenant's id as DNS name";

const TENANT_URI: &str = "control-tower://tenant/";

/// A client's certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It names this tenant, known or not.
    Tenant(TenantId),
    /// It names no tenant, or more than one.
    Nameless,
}

impl ClientCertificate {
    /// Reads the names of a certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Self {
        let named = EndEntityCert::try_from(certificate).ok().and_then(|certificate| {
            tenant_named(certificate.valid_uri_names(), certificate.valid_dns_names())
        });
        named.map_or(Self::Nameless, Self::Tenant)
    }
}

fn tenant_named<'a>(
    uris: impl Iterator<Item = &'a str>,
    dns_names: impl Iterator<Item = &'a str>,
) -> Option<TenantId> {
    let mut ids = uris.filter_map(|uri| uri.strip_prefix(TENANT_URI)).peekable();
    let id = if ids.peek().is_some() { only(ids) } else { only(dns_names) };
    id?.parse().ok()
}

fn only<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = names.next();
    first.filter(|_| names.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(uris: &[&str], dns_names: &[&str]) -> Option<String> {
        tenant_named(uris.iter().copied(), dns_names.iter().copied()).map(String::from)
    }

    #[test]
    fn the_uri_goes_before_the_dns_name() {
        let acme = Some("acme/eu".to_owned());
        assert_eq!(named(&["control-tower://tenant/acme/eu"], &["globex"]), acme);
        assert_eq!(named(&["spiffe://cluster/agent", "control-tower://tenant/acme/eu"], &[]), acme);
        assert_eq!(named(&["spiffe://cluster/agent"], &["acme"]), Some("acme".to_owned()));
    }

    #[test]
    fn what_is_not_clear_names_nobody() {
        assert_eq!(named(&[], &[]), None);
        assert_eq!(named(&[], &["acme", "globex"]), None);
        assert_eq!(named(&[], &["*.acme"]), None);
        let (acme, globex) = ("control-tower://tenant/acme", "control-tower://tenant/globex");
        assert_eq!(named(&[acme, globex], &["acme"]), None);
        // A URI that is meant for us and is not valid does not make room for a guess.
        assert_eq!(named(&["control-tower://tenant/"], &["acme"]), None);
        assert_eq!(named(&["control-tower://tenant/a b"], &["acme"]), None);
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        assert_eq!(
            ClientCertificate::read(&CertificateDer::from(vec![1, 2, 3])),
            ClientCertificate::Nameless
        );
    }
}
