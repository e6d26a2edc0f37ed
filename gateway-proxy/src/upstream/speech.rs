//! How a request is put to a provider: its path, its credential and its headers, as the provider's protocol wants them.

use super::target::BadProvider;
use crate::endpoints::{self, COUNT_TOKENS, Endpoint};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use contracts::Timestamp;
use contracts::policy::{Protocol, Provider, ProviderSettings, Speaks, StreamUsage};
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocols::Dialect;
use std::time::{Duration, SystemTime};

/// `anthropic-version` where the provider's settings name none.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// All but what RFC 3986 (section 2.3) leaves as it is: a model's name is one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// See the module.
#[derive(Debug)]
pub(crate) struct Speech {
    pub(crate) protocol: Protocol,
    settings: ProviderSettings,
    /// Path below the origin, without a slash at its end.
    base: String,
    /// Headers that every request has.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// AWS Signature Version 4, where no header of its own lets in.
    signer: Option<Credentials>,
    /// Of endpoints whose path does not depend on the model.
    fixed: Vec<(&'static str, Uri)>,
}

/// What is asked of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addressed<'a> {
    pub(crate) endpoint: &'static Endpoint,
    /// The provider's name of the model.
    pub(crate) model: &'a str,
    pub(crate) stream: bool,
    /// For signatures.
    pub(crate) now: Timestamp,
}

impl Speech {
    /// As `provider` is set up, whose base URL has the path `base`.
    pub(super) fn new(provider: &Provider, base: String) -> Result<Self, BadProvider> {
        let Speaks { protocol, settings } =
            provider.speaks.clone().map_err(|unreadable| BadProvider::Settings(unreadable.to_string()))?;
        let mut speech =
            Self { protocol, settings, base, headers: Vec::new(), signer: None, fixed: Vec::new() };
        speech.let_in(provider)?;
        speech.introduce(provider)?;
        if matches!(protocol, Protocol::OpenAi | Protocol::Anthropic) {
            let at = |endpoint: &Endpoint| {
                let path = speech.path(endpoint, "", false);
                // The base was cut from a URL, so that anything below it is a path too.
                (endpoint.path, Uri::try_from(path).unwrap_or_default())
            };
            speech.fixed = endpoints::ALL.into_iter().map(at).collect();
        }
        Ok(speech)
    }

    /// Whether what a streamed chat used is stated only to who asks.
    pub(crate) fn asks_stream_usage(&self) -> bool {
        self.settings.stream_usage.unwrap_or_default() == StreamUsage::OnRequest
    }

    /// The credential.
    fn let_in(&mut self, provider: &Provider) -> Result<(), BadProvider> {
        let Some(secret) = &provider.secret else {
            return match self.protocol {
                // No request of it is ever answered without.
                Protocol::Bedrock => Err(BadProvider::NoSecret(provider.id.to_string())),
                _ => Ok(()),
            };
        };
        let secret = secret.expose();
        if self.protocol == Protocol::Bedrock {
            self.signer = key_pair(self.settings.access_key_id.as_deref(), secret);
            if self.signer.is_some() {
                return Ok(());
            }
        }
        let (name, text) = match self.protocol {
            Protocol::OpenAi | Protocol::Bedrock => (header::AUTHORIZATION, format!("Bearer {secret}")),
            Protocol::Azure => (HeaderName::from_static("api-key"), secret.to_owned()),
            Protocol::Anthropic => (HeaderName::from_static("x-api-key"), secret.to_owned()),
            Protocol::Gemini => (HeaderName::from_static("x-goog-api-key"), secret.to_owned()),
        };
        let mut value =
            HeaderValue::try_from(text).map_err(|_| BadProvider::Secret(provider.id.to_string()))?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(())
    }

    /// What else the protocol wants to be told.
    fn introduce(&mut self, provider: &Provider) -> Result<(), BadProvider> {
        let settings = &self.settings;
        let betas = Some(settings.betas.join(",")).filter(|betas| !betas.is_empty());
        let version = settings.api_version.as_deref().unwrap_or(ANTHROPIC_VERSION);
        let told = match self.protocol {
            Protocol::OpenAi => vec![
                ("openai-organization", settings.organization.clone()),
                ("openai-project", settings.project.clone()),
            ],
            Protocol::Anthropic => {
                vec![("anthropic-version", Some(version.to_owned())), ("anthropic-beta", betas)]
            }
            Protocol::Azure | Protocol::Gemini | Protocol::Bedrock => Vec::new(),
        };
        for (name, text) in told {
            let Some(text) = text else { continue };
            let value = HeaderValue::try_from(text)
                .map_err(|_| BadProvider::Settings(format!("provider {}: {name}", provider.id)))?;
            self.headers.push((HeaderName::from_static(name), value));
        }
        Ok(())
    }

    /// Where a request goes, below the origin.
    pub(super) fn uri(&self, to: Addressed<'_>) -> Uri {
        if let Some((_, uri)) = self.fixed.iter().find(|(path, _)| *path == to.endpoint.path) {
            return uri.clone();
        }
        Uri::try_from(self.path(to.endpoint, to.model, to.stream)).unwrap_or_default()
    }

    fn path(&self, endpoint: &Endpoint, model: &str, stream: bool) -> String {
        // What a client says in Anthropic's protocol is said in the provider's own.
        let own = if endpoint.dialect == Some(Dialect::Anthropic) {
            "/chat/completions"
        } else {
            endpoint.upstream_path
        };
        let (base, below) = (&self.base, own);
        let model = utf8_percent_encode(model, SEGMENT);
        if endpoint.path == COUNT_TOKENS.path {
            return match self.protocol {
                Protocol::Gemini => format!("{base}/models/{model}:countTokens"),
                Protocol::Bedrock => format!("{base}/model/{model}/count-tokens"),
                _ => format!("{base}{}", endpoint.upstream_path),
            };
        }
        match (self.protocol, &self.settings.api_version) {
            (Protocol::OpenAi, _) => format!("{base}{below}"),
            (Protocol::Anthropic, _) => format!("{base}/messages"),
            (Protocol::Azure, Some(version)) if endpoint.has_background => {
                format!("{base}/openai{below}?api-version={version}")
            }
            (Protocol::Azure, Some(version)) => {
                format!("{base}/openai/deployments/{model}{below}?api-version={version}")
            }
            (Protocol::Azure, None) => format!("{base}/openai/v1{below}"),
            (Protocol::Gemini, _) if stream => format!("{base}/models/{model}:streamGenerateContent?alt=sse"),
            (Protocol::Gemini, _) => format!("{base}/models/{model}:generateContent"),
            (Protocol::Bedrock, _) if stream => format!("{base}/model/{model}/converse-stream"),
            (Protocol::Bedrock, _) => format!("{base}/model/{model}/converse"),
        }
    }

    /// Adds the headers that the provider wants, a signature of the request among them where it wants one.
    pub(super) fn sign(
        &self,
        method: &Method,
        headers: &mut HeaderMap,
        origin: (&Scheme, &Authority),
        uri: &Uri,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), BadProvider> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let Some(credentials) = &self.signer else { return Ok(()) };
        let failed =
            |error: String| BadProvider::Settings(format!("the request could not be signed: {error}"));
        let identity = credentials.clone().into();
        let nanos = u64::try_from(now.unix_nanos()).unwrap_or_default();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(self.settings.region.as_deref().unwrap_or_default())
            .name("bedrock")
            .time(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(error.to_string()))?
            .into();
        let (scheme, authority) = origin;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let signed = content_type.map(|value| ("content-type", value));
        let url = format!("{scheme}://{authority}{uri}");
        let request =
            SignableRequest::new(method.as_str(), url, signed.into_iter(), SignableBody::Bytes(body))
                .map_err(|error| failed(error.to_string()))?;
        let output = sign(request, &params).map_err(|error| failed(error.to_string()))?;
        for (name, value) in output.output().headers() {
            let name = HeaderName::try_from(name).map_err(|error| failed(error.to_string()))?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|error| failed(error.to_string()))?);
        }
        Ok(())
    }
}

/// What to sign with: `SECRET` or `SECRET:SESSION_TOKEN` of the access key `id`, or the same after the id of the key. `None` for a bearer
/// token, which has no colon (RFC 6750, section 2.1).
fn key_pair(id: Option<&str>, secret: &str) -> Option<Credentials> {
    let (id, secret) = id.map(|id| (id, secret)).or_else(|| secret.split_once(':'))?;
    let (secret, token) =
        secret.split_once(':').map_or((secret, None), |(secret, token)| (secret, Some(token)));
    Some(Credentials::new(id, secret, token.map(ToOwned::to_owned), None, "control-tower"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{CHAT_COMPLETIONS, RESPONSES};
    use contracts::policy::Secret;
    use std::sync::Arc;

    fn provider(protocol: Protocol, settings: ProviderSettings) -> Provider {
        let provider = Provider::new("p".parse().unwrap(), "https://host/base".into());
        Provider {
            secret: Some(Secret::new("s3cret")),
            speaks: Ok(Speaks { protocol, settings }),
            ..provider
        }
    }

    fn speech(protocol: Protocol, settings: ProviderSettings) -> Speech {
        Speech::new(&provider(protocol, settings), "/base".into()).unwrap()
    }

    fn uri(speech: &Speech, endpoint: &'static Endpoint, model: &str, stream: bool) -> String {
        speech.uri(Addressed { endpoint, model, stream, now: Timestamp::default() }).to_string()
    }

    fn header(speech: &Speech, name: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        let (scheme, authority) = (Scheme::HTTPS, Authority::from_static("host"));
        let uri = Uri::from_static("/base/x");
        speech
            .sign(&Method::POST, &mut headers, (&scheme, &authority), &uri, b"{}", Timestamp::default())
            .unwrap();
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_protocol_has_its_paths_and_its_credential() {
        let none = ProviderSettings::default;
        let dated = || ProviderSettings { api_version: Some("2024-10-21".into()), ..none() };
        let open = speech(Protocol::OpenAi, none());
        assert_eq!(uri(&open, &CHAT_COMPLETIONS, "m", true), "/base/chat/completions");
        assert_eq!(header(&open, "authorization").unwrap(), "Bearer s3cret");

        let azure = speech(Protocol::Azure, dated());
        let expected = "/base/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21";
        assert_eq!(uri(&azure, &CHAT_COMPLETIONS, "my gpt", false), expected);
        assert_eq!(uri(&azure, &RESPONSES, "m", false), "/base/openai/responses?api-version=2024-10-21");
        assert_eq!(header(&azure, "api-key").unwrap(), "s3cret");
        let azure = speech(Protocol::Azure, none());
        assert_eq!(uri(&azure, &CHAT_COMPLETIONS, "m", false), "/base/openai/v1/chat/completions");

        let claude = speech(Protocol::Anthropic, none());
        assert_eq!(uri(&claude, &CHAT_COMPLETIONS, "m", false), "/base/messages");
        assert_eq!(header(&claude, "x-api-key").unwrap(), "s3cret");
        assert_eq!(header(&claude, "anthropic-version").unwrap(), "2023-06-01");

        let gemini = speech(Protocol::Gemini, none());
        assert_eq!(
            uri(&gemini, &CHAT_COMPLETIONS, "gemini-2.5-pro", true),
            "/base/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
        );
        assert_eq!(header(&gemini, "x-goog-api-key").unwrap(), "s3cret");
    }

    #[test]
    fn bedrock_is_signed() {
        let region = Some("eu-central-1".into());
        let keyed = ProviderSettings {
            region: region.clone(),
            access_key_id: Some("AKID".into()),
            ..ProviderSettings::default()
        };
        let bedrock = speech(Protocol::Bedrock, keyed);
        let expected = "/base/model/anthropic.claude%3A0/converse-stream";
        assert_eq!(uri(&bedrock, &CHAT_COMPLETIONS, "anthropic.claude:0", true), expected);
        let signature = header(&bedrock, "authorization").unwrap();
        assert!(
            signature
                .starts_with("AWS4-HMAC-SHA256 Credential=AKID/19700101/eu-central-1/bedrock/aws4_request"),
            "{signature}"
        );
        assert!(!signature.contains("s3cret"));
        let bearer = speech(Protocol::Bedrock, ProviderSettings { region, ..ProviderSettings::default() });
        assert_eq!(header(&bearer, "authorization").unwrap(), "Bearer s3cret");
    }

    #[test]
    fn bedrock_is_signed_with_a_session_token_where_there_is_one() {
        let said = |id: Option<&str>, secret: &str| {
            let settings = ProviderSettings {
                region: Some("eu-central-1".into()),
                access_key_id: id.map(ToOwned::to_owned),
                ..ProviderSettings::default()
            };
            let provider =
                Provider { secret: Some(Secret::new(secret)), ..provider(Protocol::Bedrock, settings) };
            let speech = Speech::new(&provider, "/base".into()).unwrap();
            (header(&speech, "authorization").unwrap(), header(&speech, "x-amz-security-token"))
        };
        let (plain, token) = said(Some("ASIA"), "s3cret");
        assert_eq!(token, None);
        assert_eq!(said(None, "ASIA:s3cret"), (plain, None));
        let (signature, token) = said(None, "ASIA:s3cret:t0ken/+==");
        assert_eq!(token.as_deref(), Some("t0ken/+=="));
        assert!(signature.contains("Credential=ASIA/"), "{signature}");
        assert!(signature.contains("x-amz-security-token"), "the token is signed: {signature}");
        assert_eq!(said(Some("ASIA"), "s3cret:t0ken/+=="), (signature, token));
    }

    #[test]
    fn bedrock_without_a_secret_is_not_called() {
        let settings =
            ProviderSettings { region: Some("eu-central-1".into()), ..ProviderSettings::default() };
        let provider = Provider { secret: None, ..provider(Protocol::Bedrock, settings) };
        let error = Speech::new(&provider, String::new()).unwrap_err();
        assert_eq!(error, BadProvider::NoSecret("p".into()));
    }

    #[test]
    fn a_provider_whose_settings_cannot_be_read_is_not_called() {
        let unreadable = contracts::policy::Unreadable {
            kind: "provider",
            tenant: None,
            name: "p".into(),
            reason: "region: missing".into(),
        };
        let provider = Provider {
            speaks: Err(Arc::new(unreadable)),
            ..provider(Protocol::OpenAi, ProviderSettings::default())
        };
        let error = Speech::new(&provider, String::new()).unwrap_err().to_string();
        assert!(error.contains("region: missing"), "{error}");
    }
}
