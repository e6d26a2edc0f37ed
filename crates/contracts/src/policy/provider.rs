//! How a provider is spoken to.

use super::InvalidPolicy;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The protocol that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `OpenAI`'s, as vLLM, `SGLang`, llama.cpp, Ollama, TGI and Mistral speak it too.
    #[default]
    OpenAi,
    /// `OpenAI`'s in Azure's dress: `api-key`, `api-version`, deployments in the path.
    Azure,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Bedrock's Converse.
    Bedrock,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OpenAi, Self::Azure, Self::Anthropic, Self::Gemini, Self::Bedrock];

    /// `openai`, `azure` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == text).ok_or_else(|| {
            format!("protocol {text:?} is not known: expected {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// When a provider states what a streamed chat used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamUsage {
    /// When `stream_options.include_usage` asks for it, as `OpenAI`'s protocol has it.
    #[default]
    OnRequest,
    /// Always. It is not asked: servers that state it unasked, such as Mistral's, have refused requests with `stream_options`.
    Always,
}

impl StreamUsage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::OnRequest, Self::Always];

    /// `on_request` or `always`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnRequest => "on_request",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for StreamUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StreamUsage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|usage| usage.as_str() == text).ok_or_else(|| {
            format!(
                "stream_usage {text:?} is not known: expected {}",
                Self::ALL.map(Self::as_str).join(" or ")
            )
        })
    }
}

/// What a protocol needs to know beside the base URL and the credential. Nothing here is secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// Azure: `api-version`, such as `2024-10-21`; its versionless API when absent. Anthropic: `anthropic-version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Bedrock: the region that requests are signed for, such as `eu-central-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Bedrock: the id of the access key whose secret is the provider's credential, followed by `:` and the session token where there is
    /// one. Absent: the credential begins with that id and `:`, or it is an API key, which is sent as a bearer token. Without a
    /// credential nothing is sent: the machine's own are not looked for, and a proxy that signs in our place takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// `OpenAI`: `OpenAI-Organization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// `OpenAI`: `OpenAI-Project`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `OpenAI`: when a streamed chat's usage is stated; on request when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_usage: Option<StreamUsage>,
    /// Anthropic: what to ask for in `anthropic-beta`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub betas: Vec<String>,
}

impl ProviderSettings {
    /// Refuses what `protocol` has no use for, what it lacks, and what does not fit a header.
    pub fn validate(&self, protocol: Protocol) -> Result<(), InvalidPolicy> {
        let stream_usage = self.stream_usage.map(|usage| usage.to_string());
        let texts = [
            ("api_version", &self.api_version, &[Protocol::Azure, Protocol::Anthropic] as &[Protocol]),
            ("region", &self.region, &[Protocol::Bedrock]),
            ("access_key_id", &self.access_key_id, &[Protocol::Bedrock]),
            ("organization", &self.organization, &[Protocol::OpenAi]),
            ("project", &self.project, &[Protocol::OpenAi]),
            ("stream_usage", &stream_usage, &[Protocol::OpenAi]),
        ];
        for (field, text, protocols) in texts {
            if let Some(text) = text {
                check(field, text, protocol, protocols)?;
            }
        }
        for (n, beta) in self.betas.iter().enumerate() {
            check(&format!("betas[{n}]"), beta, protocol, &[Protocol::Anthropic])?;
        }
        if protocol == Protocol::Bedrock && self.region.is_none() {
            return Err(InvalidPolicy::new("region", "", "the region that requests are signed for"));
        }
        Ok(())
    }
}

fn check(field: &str, text: &str, protocol: Protocol, of: &[Protocol]) -> Result<(), InvalidPolicy> {
    if !of.contains(&protocol) {
        let of: Vec<&str> = of.iter().map(|protocol| protocol.as_str()).collect();
        let expected = format!("nothing: {protocol} has no use for it, only {}", of.join(" and "));
        return Err(InvalidPolicy::new(field, text, expected));
    }
    if (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(InvalidPolicy::new(field, text, "1 to 256 visible ASCII characters without spaces"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_their_protocol() {
        let region =
            || ProviderSettings { region: Some("eu-central-1".into()), ..ProviderSettings::default() };
        assert_eq!(region().validate(Protocol::Bedrock), Ok(()));
        assert_eq!(region().validate(Protocol::Azure).unwrap_err().field, "region");
        assert_eq!(ProviderSettings::default().validate(Protocol::Bedrock).unwrap_err().field, "region");
        let always: ProviderSettings = serde_json::from_str(r#"{"stream_usage": "always"}"#).unwrap();
        assert_eq!(always.stream_usage, Some(StreamUsage::Always));
        assert_eq!(always.validate(Protocol::OpenAi), Ok(()));
        assert_eq!(always.validate(Protocol::Azure).unwrap_err().field, "stream_usage");
        let error = "never".parse::<StreamUsage>().unwrap_err();
        assert_eq!(error, "stream_usage \"never\" is not known: expected on_request or always");
        for usage in StreamUsage::ALL {
            assert_eq!(usage.as_str().parse(), Ok(usage));
            assert_eq!(serde_json::to_value(usage).unwrap(), usage.as_str());
        }
        let betas = ProviderSettings { betas: vec!["a".into(), "b c".into()], ..ProviderSettings::default() };
        assert_eq!(betas.validate(Protocol::Anthropic).unwrap_err().field, "betas[1]");
        for protocol in Protocol::ALL {
            assert_eq!(protocol.as_str().parse(), Ok(protocol));
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
    }
}
