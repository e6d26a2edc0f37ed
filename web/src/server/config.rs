//! Section `[web]` of the configuration.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

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
            session_hours: 168,
            drain_seconds: 10,
        }
    }
}

impl Config {
    /// Refuses what cannot work; the error names key, value and what is expected.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(url) = &self.public_url {
            check_url("web.public_url", url)?;
            if url.trim_end_matches('/').matches('/').count() > 2 {
                return Err(format!("web.public_url {url:?} is not valid: expected no path after the host"));
            }
        }
        check_url("web.gateway_url", &self.gateway_url)?;
        if !(1..=720).contains(&self.session_hours) {
            return Err(format!("web.session_hours {} is not valid: expected 1 to 720", self.session_hours));
        }
        Ok(())
    }

    /// Whether browsers reach us over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }
}

fn check_url(key: &str, url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace) => {
            Ok(())
        }
        _ => Err(format!("{key} {url:?} is not valid: expected http://host or https://host")),
    }
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
            config.validate().unwrap_err()
        };
        assert!(bad(|c| c.public_url = Some("console".into())).contains("web.public_url \"console\""));
        assert!(bad(|c| c.public_url = Some("https://a/b".into())).contains("no path"));
        assert!(bad(|c| c.gateway_url = "ftp://x".into()).contains("web.gateway_url"));
        assert!(bad(|c| c.session_hours = 0).contains("expected 1 to 720"));
    }
}
