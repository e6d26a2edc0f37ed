//! Section `[web]` of the configuration.

use runtime::config::{InvalidSetting, Section};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

const SECTION: Section = Section("web");

/// Settings of the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the console listens.
    pub listen: SocketAddr,
    /// The console's URL as browsers see it, when a proxy stands in front: `https://console.example.com`. With https,
    /// cookies are marked `Secure`.
    pub public_url: Option<String>,
    /// Base URL that SDKs are pointed at; shown in hints, never called.
    pub gateway_url: String,
    /// Base URLs of the gateways that are asked what goes on in them, with the admin key of whoever asks.
    pub gateways: Vec<String>,
    /// PEM file of authorities that gateways' certificates may come from, besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Hours until a session ends, 1 to 720.
    pub session_hours: u32,
    /// Seconds that requests in flight may go on after shutdown began.
    pub drain_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            public_url: None,
            gateway_url: String::from("http://127.0.0.1:8080/v1"),
            gateways: vec![String::from("http://127.0.0.1:8080")],
            ca_file: None,
            session_hours: 168,
            drain_seconds: 10,
        }
    }
}

impl Config {
    /// Refuses what cannot work; the error names key, value and what is expected.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        if let Some(url) = &self.public_url {
            check_url("public_url", url)?;
            let has_path = url.trim_end_matches('/').matches('/').count() > 2;
            SECTION.check(!has_path, "public_url", url, "no path after the host")?;
        }
        check_url("gateway_url", &self.gateway_url)?;
        for url in &self.gateways {
            check_url("gateways", url)?;
        }
        SECTION.check(
            (1..=720).contains(&self.session_hours),
            "session_hours",
            self.session_hours,
            "1 to 720",
        )
    }

    /// Whether browsers reach us over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

fn check_url(key: &'static str, url: &str) -> Result<(), InvalidSetting> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
    let has_host = !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace);
    SECTION.check(has_host, key, url, "http://host or https://host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn errors_name_key_and_value() {
        let bad = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(
            bad(|c| c.public_url = Some("console".into())).contains("web.public_url: console is not valid")
        );
        assert!(bad(|c| c.public_url = Some("https://a/b".into())).contains("no path"));
        assert!(bad(|c| c.gateway_url = "ftp://x".into()).contains("web.gateway_url"));
        assert!(bad(|c| c.gateways = vec!["localhost:8080".into()]).contains("web.gateways: localhost:8080"));
        assert!(bad(|c| c.session_hours = 0).contains("expected 1 to 720"));
    }
}
