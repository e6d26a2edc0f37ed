//! A provider's base URL, read once.

use super::pool::Pool;
use crate::endpoints::{self, Endpoint};
use contracts::policy::Provider;
use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use std::sync::Arc;

/// Where a provider is and how to be let in.
#[derive(Debug)]
pub(crate) struct Target {
    /// What this was made from, to notice changes.
    pub(super) provider: Arc<Provider>,
    /// Connections; providers at one address share them.
    pub(super) pool: Arc<Pool>,
    /// Below the base URL, the path of each endpoint.
    pub(super) uris: Vec<(&'static str, Uri)>,
    /// `host[:port]`, as the `host` header.
    pub(super) host: HeaderValue,
    /// `Bearer …` of the provider's own secret.
    pub(super) authorization: Option<HeaderValue>,
}

/// Scheme and authority: what connections are shared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

/// A provider cannot be called as it is set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadProvider {
    #[error(
        "provider {0}: its base URL is not valid: expected an http or https URL, such as https://api.openai.com/v1"
    )]
    BaseUrl(String),
    #[error("provider {0}: its secret holds characters that a header cannot carry")]
    Secret(String),
}

/// A base URL's origin and path.
pub(super) fn split(provider: &Provider) -> Result<(Origin, String), BadProvider> {
    let bad = || BadProvider::BaseUrl(provider.id.to_string());
    let parts = provider.base_url.parse::<Uri>().map_err(|_| bad())?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(bad()) };
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err(bad());
    }
    let path = parts.path_and_query.map_or_else(String::new, |p| p.path().trim_end_matches('/').to_owned());
    Ok((Origin { scheme, authority }, path))
}

/// The path of each endpoint below `base`, a path without a slash at its end.
pub(super) fn uris(base: &str) -> Vec<(&'static str, Uri)> {
    let below = |endpoint: &Endpoint| {
        let uri = Uri::try_from(format!("{base}{}", endpoint.upstream_path));
        // The base was cut from a URL, so that anything below it is a path too.
        (endpoint.upstream_path, uri.unwrap_or_default())
    };
    endpoints::ALL.into_iter().map(below).collect()
}

/// The `authorization` header for a provider.
pub(super) fn authorization(provider: &Provider) -> Result<Option<HeaderValue>, BadProvider> {
    let Some(secret) = &provider.secret else { return Ok(None) };
    let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
        .map_err(|_| BadProvider::Secret(provider.id.to_string()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl Target {
    /// Where requests for the endpoint with this path go.
    pub(super) fn uri(&self, upstream_path: &str) -> Uri {
        let uri = self.uris.iter().find(|(path, _)| *path == upstream_path);
        uri.map_or_else(Uri::default, |(_, uri)| uri.clone())
    }

    /// `server.address`.
    pub(crate) fn address(&self) -> &str {
        self.pool.origin.authority.host()
    }

    /// `server.port`.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.pool.origin.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.pool.origin.authority.port_u16().unwrap_or(default)
    }
}
