//! Whether a request may ask: each protocol carries its key in a header of its own.

use crate::error::SimError;
use crate::sigv4::{self, Signed};
use crate::sim::Sim;
use http::{HeaderMap, Method, Uri, header};

/// The versions of the Anthropic API that are spoken here: the one that most clients name, and the latest one.
pub(crate) const ANTHROPIC_VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];

impl Sim {
    /// Refuses an OpenAI request without the key, when there is one.
    pub(crate) fn authorise(&self, headers: &HeaderMap) -> Result<(), SimError> {
        self.holds(bearer(headers)).then_some(()).ok_or_else(SimError::unauthorised)
    }

    /// The same of Azure, which takes `api-key` too.
    pub(crate) fn authorise_azure(&self, headers: &HeaderMap) -> Result<(), SimError> {
        if self.holds(text(headers, "api-key").or_else(|| bearer(headers))) {
            return Ok(());
        }
        let message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key \
                       for an active subscription and use a correct regional API endpoint for your resource.";
        Err(SimError { message: message.to_owned(), ..SimError::unauthorised() })
    }

    /// Refuses an Anthropic request without version, without any key, or without the key.
    pub(crate) fn authorise_anthropic(&self, headers: &HeaderMap) -> Result<(), SimError> {
        let key = text(headers, "x-api-key").or_else(|| bearer(headers)).filter(|key| !key.is_empty());
        if key.is_none() {
            let message = "x-api-key header is required".to_owned();
            return Err(SimError { message, ..SimError::unauthorised() });
        }
        if !self.holds(key) {
            return Err(SimError { message: "invalid x-api-key".to_owned(), ..SimError::unauthorised() });
        }
        match text(headers, "anthropic-version") {
            Some(version) if ANTHROPIC_VERSIONS.contains(&version) => Ok(()),
            Some(other) => Err(SimError::invalid(
                "anthropic-version",
                format!("anthropic-version: \"{other}\" is not a valid version"),
            )),
            None => Err(SimError::invalid("anthropic-version", "anthropic-version: header is required")),
        }
    }

    /// Refuses a Gemini request without the key, when there is one.
    pub(crate) fn authorise_gemini(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), SimError> {
        let query = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("key="));
        let given = text(headers, "x-goog-api-key").or(query);
        if self.holds(given) {
            return Ok(());
        }
        Err(match given {
            Some(_) => SimError::invalid("key", "API key not valid. Please pass a valid API key."),
            None => SimError {
                message: "Method doesn't allow unregistered callers (callers without established identity)."
                    .to_owned(),
                ..SimError::of_status(403)
            },
        })
    }

    /// Refuses a Bedrock request that is not signed, or not rightly when there is a key; an API key serves too.
    pub(crate) fn authorise_bedrock(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        body: &[u8],
    ) -> Result<(), SimError> {
        if self.config().api_key.is_some() && bearer(headers).is_some() {
            return self.holds(bearer(headers)).then_some(()).ok_or_else(|| SimError {
                message: "The security token included in the request is invalid.".to_owned(),
                ..SimError::of_status(403)
            });
        }
        let check = |path: &str| {
            let query = uri.query().unwrap_or_default();
            let signed = Signed { method: &Method::POST, path, query, headers, body };
            sigv4::check(&signed, self.config().aws.as_ref(), self.clock().now())
        };
        // A deployment with a port of its own is reached without its base there.
        let based = format!("{}{}", self.deployment().base, uri.path());
        check(&based).or_else(|error| check(uri.path()).map_err(|_| error))
    }

    /// Whether this is the key, or none is needed.
    fn holds(&self, given: Option<&str>) -> bool {
        self.config().api_key.as_deref().is_none_or(|key| given == Some(key))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ")
}
