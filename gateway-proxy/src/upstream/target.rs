//! A provider's base URL, read once.

use super::pool::Pool;
use super::speech::Speech;
use bytes::Bytes;
use contracts::Timestamp;
use contracts::policy::Provider;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use std::sync::Arc;

/// Where a provider is and how to be let in.
#[derive(Debug)]
pub(crate) struct Target {
    /// What this was made from, to notice changes.
    pub(super) provider: Arc<Provider>,
    /// Connections; providers at one address share them.
    pub(super) pool: Arc<Pool>,
    /// How it is spoken to.
    pub(crate) speech: Speech,
    /// `host[:port]`, as the `host` header.
    pub(super) host: HeaderValue,
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
    #[error(
        "provider {0}: it has no secret: expected for bedrock an API key, ACCESS_KEY_ID:SECRET_ACCESS_KEY, or \
         ACCESS_KEY_ID:SECRET_ACCESS_KEY:SESSION_TOKEN"
    )]
    NoSecret(String),
    #[error("{0}")]
    Settings(String),
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

impl Target {
    /// `server.address`.
    pub(crate) fn address(&self) -> &str {
        self.pool.origin.authority.host()
    }

    /// A request for `path`, at the root of the origin, that carries what calls carry to be let in.
    pub(crate) fn probe(&self, path: &str, now: Timestamp) -> Result<Request<Full<Bytes>>, BadProvider> {
        let bad = |_| BadProvider::Settings(format!("provider {}: {path:?} is not a path", self.provider.id));
        let at = Uri::from(PathAndQuery::try_from(path).map_err(bad)?);
        let mut request = Request::<Full<Bytes>>::default();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        let Origin { scheme, authority } = &self.pool.origin;
        self.speech.sign(&Method::GET, headers, (scheme, authority), &at, &[], now)?;
        let mut parts = at.into_parts();
        (parts.scheme, parts.authority) = (Some(scheme.clone()), Some(authority.clone()));
        // A whole URL cannot be made of whole parts and fail; the fallback keeps this function total.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        Ok(request)
    }

    /// `server.port`.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.pool.origin.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.pool.origin.authority.port_u16().unwrap_or(default)
    }
}
